"""What a pass of a net gives: its blobs by name, and the loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from prototxt_import.values import Shape


class Blobs(dict[str, Tensor]):
    """Blobs by name; `loss` is the net's total weighted loss, None where it has none or it was not computed.

    Blobs are a pytree whose leaves are the blobs and the loss, so that torch.export, torch.func and torch.compile take
    it.

    Example:
        >>> import torch
        >>> from deeplab_repro import CaffeNet
        >>> from prototxt_import import layer, make_net
        >>> loss = layer("EuclideanLoss", "loss", ["x", "t"], "loss")
        >>> net = CaffeNet(make_net("n", {"x": (1, 2), "t": (1, 2)}, [loss]))
        >>> blobs = net(x=torch.ones(1, 2), t=torch.zeros(1, 2))
        >>> blobs["loss"], blobs.loss
        (tensor(1.), tensor(1.))
    """

    loss: Tensor | None = None


def _flatten_blobs(blobs: Blobs) -> tuple[list[Any], list[str]]:
    return [*blobs.values(), blobs.loss], list(blobs)


def _flatten_blobs_with_keys(blobs: Blobs) -> tuple[list[tuple[Any, Any]], list[str]]:
    keys = [*map(pytree.MappingKey, blobs), pytree.GetAttrKey("loss")]
    leaves, names = _flatten_blobs(blobs)
    return list(zip(keys, leaves, strict=True)), names


def _unflatten_blobs(leaves: Iterable[Any], names: list[str]) -> Blobs:
    *values, loss = leaves
    blobs = Blobs(zip(names, values, strict=True))
    blobs.loss = loss
    return blobs


# torch has no public name for this; torch.export's own messages send people here.
pytree.register_pytree_node(
    Blobs,
    _flatten_blobs,
    _unflatten_blobs,
    serialized_type_name="deeplab_repro.net.graph.Blobs",  # the name in programs exported so far
    flatten_with_keys_fn=_flatten_blobs_with_keys,
)


def at_size(shapes: Mapping[str, Shape], size: tuple[int, int]) -> dict[str, Shape]:
    """Shapes of blobs for images of another size.

    Args:
        shapes: By blob; what is no map [N, C, H, W] stays.
        size: (height, width).

    Returns:
        The shapes.
    """
    return {name: (*shape[:2], *size) if len(shape) == 4 else shape for name, shape in shapes.items()}
