"""What became of a net's windows where another was made of it, and what its outputs see."""

from __future__ import annotations

from typing import Any

from deeplab_repro.inspect.fields import receptive_fields
from prototxt_import import LayerSpec, NetSpec

# Of each option of a window, the value that need not be told.
_TRIVIAL = {"kernel": None, "stride": (1, 1), "pad": (0, 0), "dilation": (1, 1)}


def changed_windows(before: NetSpec, after: NetSpec) -> list[dict[str, str]]:
    """The layers that came, went or have other options.

    Args:
        before: A net.
        after: What was made of it.

    Returns:
        Rows of layer, type, and the window before and after, in the order of the first net.
    """
    old, new = ({layer.name: layer for layer in spec.layers} for spec in (before, after))
    return [
        {
            "layer": name,
            "type": _types(old.get(name), new.get(name)),
            "before": _window(old.get(name)),
            "after": _window(new.get(name)),
        }
        for name in dict.fromkeys((*old, *new))
        if name not in old or name not in new or old[name].options != new[name].options
    ]


def output_fields(spec: NetSpec) -> dict[str, dict[str, Any]]:
    """Shape and receptive field of each output.

    Args:
        spec: The net.

    Returns:
        By name "shape" and "field", the field's extent; None where it is the whole image.
    """
    fields = receptive_fields(spec)
    return {
        name: {"shape": spec.blobs.get(name, ()), "field": field.size if (field := fields.get(name)) else None}
        for name in spec.outputs
    }


def _types(before: LayerSpec | None, after: LayerSpec | None) -> str:
    return " -> ".join(dict.fromkeys(layer.type for layer in (before, after) if layer is not None))


def _window(layer: LayerSpec | None) -> str:
    """kernel 3x3, stride 2x2, ... of a layer, what is trivial left out; '-' for none."""
    if layer is None:
        return "-"
    told = [
        f"{name} {'x'.join(map(str, value))}"
        for name, trivial in _TRIVIAL.items()
        if (value := getattr(layer.options, name, None)) is not None and value != trivial
    ]
    return ", ".join(told) or "no window"
