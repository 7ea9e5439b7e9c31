"""What every Caffe layer's module is made of, and the table that finds a module by its Caffe type.

A layer type of your own takes two registrations: fields and shapes with prototxt_import.layer_type, and here
what it computes:

    @module("Mish")
    class Mish(CaffeLayer):
        def forward(self, x):
            return F.mish(x * self.options.scale)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from deeplab_repro.layers.fillers import fill_
from prototxt_import import Filler, LayerSpec, NetSpec

_MODULES: dict[str, type[CaffeLayer]] = {}
_Class = TypeVar("_Class", bound="type[CaffeLayer]")


class CaffeLayer(nn.Module):
    """Base of the modules that run Caffe layers.

    `forward` takes one tensor per bottom and returns one tensor, or a tuple with one per top. It never writes into a
    bottom, and `train()` and `eval()` mean nothing to it: Caffe fixes the phase when a net is built.

    A class says by its attributes what it can do. `takes_mask`: `forward` accepts the keyword `mask`, as Dropout does.
    What a prepared net may do with the module (False is always right) is said by three more. `fresh_top`: its tops are
    memory of its own, so that what follows may work on them in place. `any_layout`: it takes and gives channels_last
    memory as well as contiguous. `low_precision`: bfloat16 is good enough for it.

    Args:
        layer: The layer.
        spec: The net it belongs to, for phase, dialect, file name and parameter shapes.

    Raises:
        ValueError: The shapes of its parameters depend on inputs of unknown size.

    Source:
        Caffe's Layer (layer.hpp).

    Example:
        >>> import torch
        >>> from deeplab_repro.layers import CaffeLayer, build_module
        >>> from prototxt_import import layer, make_net
        >>> net = make_net("n", {"x": (1, 2)}, [layer("Power", "p", "x", "y", power=2.0)])
        >>> power = build_module(net.layers[0], net)
        >>> isinstance(power, CaffeLayer), power(torch.tensor([[2.0, 3.0]]))
        (True, tensor([[4., 9.]]))
    """

    takes_mask = False
    fresh_top = False
    any_layout = False
    low_precision = False

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__()
        self.layer = layer
        self.options = layer.options
        self.force_backward = spec.force_backward
        self.shapes = spec.param_shapes.get(layer.name, ())
        if len(self.shapes) != len(layer.params):
            raise self.fail(
                "the shapes of its parameters depend on inputs of unknown size; give weights, or the sizes with "
                "NetSpec.with_inputs"
            )
        self._fillers: list[Filler] = []

    def add_blob(self, name: str, filler: Filler | None = None) -> None:
        """Declare the next learnable blob, in Caffe's order; uninitialised until `reset_parameters` or `load`.

        A blob with lr_mult 0 does not require a gradient: Caffe computes none for it, unless the net says
        force_backward.

        Args:
            name: The attribute that holds the blob.
            filler: What draws it; None for zeros.
        """
        i = len(self._fillers)
        trainable = self.layer.params[i].lr_mult != 0 or self.force_backward
        value = torch.empty(self.shapes[i], dtype=torch.float32)
        self.register_parameter(name, nn.Parameter(value, requires_grad=trainable))
        self._fillers.append(filler or Filler())

    def blobs(self) -> list[nn.Parameter]:
        """The learnable blobs in Caffe's order.

        Returns:
            The parameters.
        """
        return [blob for blob in self._parameters.values() if blob is not None]

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every blob anew from its filler.

        Args:
            generator: What the fillers draw from; torch's by default.

        Raises:
            ValueError: A filler is unknown, or cannot fill a blob of that shape.
        """
        for blob, filler in zip(self.blobs(), self._fillers, strict=True):
            try:
                fill_(blob, filler, generator)
            except ValueError as error:
                raise self.fail(str(error)) from None

    @property
    def writes(self) -> bool:
        """Whether a pass leaves files, so that the layer runs though nobody reads it."""
        return False

    def share_blob(self, attribute: str, blob: nn.Parameter) -> None:
        """Take another layer's blob for one of this layer's; one of another shape is read in this layer's own.

        Args:
            attribute: The name of this layer's blob.
            blob: Of as many numbers.
        """
        shape = getattr(self, attribute).shape
        if blob.shape != shape:
            # share_mode PERMISSIVE. A property of the class stands before what torch registers under the name.
            view = property(lambda module: module._parameters[attribute].view(shape))
            self.__class__ = type(type(self).__name__, (type(self),), {attribute: view})
            self._parameters[attribute] = blob
            return
        setattr(self, attribute, blob)

    def load(self, arrays: Sequence[np.ndarray]) -> None:
        """Copy arrays into the blobs.

        Args:
            arrays: One per blob in Caffe's order, of as many numbers.
        """
        for blob, array in zip(self.blobs(), arrays, strict=True):
            with torch.no_grad():
                np.copyto(blob.numpy(), np.asarray(array).reshape(blob.shape), casting="same_kind")

    def channel_map(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Factor and summand per channel of an affine layer with one bottom (LayerType.affine).

        Returns:
            Two tensors [C], float64.

        Raises:
            ValueError: The module does not say.

        Example:
            >>> import torch
            >>> from deeplab_repro.layers import build_module
            >>> from prototxt_import import layer, make_net
            >>> net = make_net("n", {"x": (1, 2, 4, 4)}, [layer("Scale", "s", "x", "y")])
            >>> scale = build_module(net.layers[0], net)
            >>> scale.reset_parameters()
            >>> [each.tolist() for each in scale.channel_map()]
            [[1.0, 1.0], [0.0, 0.0]]
        """
        raise self.fail("its module does not say its channel_map(), which an affine type needs")

    def fail(self, fault: str) -> ValueError:
        """An error about this layer, to be raised.

        Args:
            fault: What is wrong, in words.

        Returns:
            A ValueError that names the layer.
        """
        return ValueError(f"layer {self.layer.name!r} ({self.layer.type}): {fault}")

    def extra_repr(self) -> str:
        """What `print` shows between the module's brackets: bottoms and tops.

        Returns:
            The text.
        """
        return f"{', '.join(self.layer.bottoms)} -> {', '.join(self.layer.tops) or '(no top)'}"


def module(*types: str) -> Callable[[_Class], _Class]:
    """Class decorator: the module that runs Caffe layers of some types.

    Args:
        types: Their V2 names.

    Returns:
        The decorator.

    Raises:
        ValueError: A type has a module already.

    Example:
        >>> from dataclasses import dataclass
        >>> from deeplab_repro.layers import CaffeLayer, has_module, module
        >>> from prototxt_import import Options, layer_type
        >>> @layer_type("ExampleDouble")
        ... @dataclass(frozen=True)
        ... class ExampleDoubleOptions(Options):
        ...     pass
        >>> @module("ExampleDouble")
        ... class ExampleDouble(CaffeLayer):
        ...     def forward(self, x):
        ...         return 2 * x
        >>> has_module("ExampleDouble")
        True
    """

    def register(cls: _Class) -> _Class:
        for name in types:
            if name in _MODULES:
                raise ValueError(f"layer type {name!r} is run by {_MODULES[name].__qualname__} already")
            _MODULES[name] = cls
        return cls

    return register


def has_module(type_name: str) -> bool:
    """Whether layers of a Caffe type can run.

    Args:
        type_name: The V2 name.

    Returns:
        The answer.

    Example:
        >>> from deeplab_repro.layers import has_module
        >>> has_module("Interp")
        True
    """
    return type_name in _MODULES


def module_class(type_name: str) -> type[CaffeLayer]:
    """The class that runs layers of a Caffe type.

    Args:
        type_name: The V2 name.

    Returns:
        The class; CaffeLayer itself, which promises nothing, where there is none.
    """
    return _MODULES.get(type_name, CaffeLayer)


def require_modules(layers: Iterable[LayerSpec]) -> None:
    """Make sure that all layers can run.

    Args:
        layers: The layers.

    Raises:
        ValueError: Types have no module; the message lists every layer of them.

    Example:
        >>> from deeplab_repro.layers import require_modules
        >>> from prototxt_import import layer
        >>> require_modules([layer("ReLU", "relu1", "x", "y")])
    """
    unknown: dict[str, list[str]] = {}
    for layer in layers:
        if not has_module(layer.type):
            unknown.setdefault(layer.type, []).append(layer.name)
    if unknown:
        listed = "; ".join(f"{kind} ({', '.join(map(repr, names))})" for kind, names in unknown.items())
        raise ValueError(f"no module runs these layer types: {listed}; register one with deeplab_repro.layers.module")


def build_module(layer: LayerSpec, spec: NetSpec) -> CaffeLayer:
    """The module of one layer, its parameters uninitialised.

    Args:
        layer: The layer.
        spec: The net it belongs to.

    Returns:
        The module.

    Raises:
        ValueError: No module runs layers of this type.

    Example:
        >>> import torch
        >>> from deeplab_repro.layers import build_module
        >>> from prototxt_import import layer, make_net
        >>> net = make_net("n", {"x": (1, 2)}, [layer("ReLU", "r", "x", "y")])
        >>> build_module(net.layers[0], net)(torch.tensor([[1.0, -1.0]]))
        tensor([[1., 0.]])
    """
    require_modules([layer])
    if layer.phase not in ("", spec.phase):
        spec = dataclasses.replace(spec, phase=layer.phase)
    return _MODULES[layer.type](layer, spec)
