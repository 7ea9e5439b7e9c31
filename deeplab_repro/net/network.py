"""CaffeNet: a NetSpec as a torch module, with Caffe's layer and blob names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from deeplab_repro.layers import build_module, require_modules
from deeplab_repro.layers.base import CaffeLayer
from deeplab_repro.net.graph import Graph
from deeplab_repro.net.prepared import PreparedNet, prepare
from prototxt_import import NetSpec
from prototxt_import.layers import is_source

# The largest published nets have 140 million; a file of a few bytes can ask for any number.
MAX_PARAMETERS = 2**30


class _Params(Mapping[str, list[nn.Parameter]]):
    """Learnable blobs by exact layer name; looked up in the modules, so that it survives moves and copies."""

    def __init__(self, layers: nn.ModuleDict, keys: Mapping[str, str]) -> None:
        self._layers, self._keys = layers, keys

    def __getitem__(self, name: str) -> list[nn.Parameter]:
        return cast(CaffeLayer, self._layers[self._keys[name]]).blobs()

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


class CaffeNet(Graph):
    """Runs a NetSpec: one submodule per Caffe layer, in `layers` (names torch refuses are percent-encoded there).

    Weights in the spec are copied into the parameters; layers without any are drawn from their fillers. Blobs that
    share a name are one Parameter, and blobs with lr_mult 0 and BatchNorm's do not require gradients. Phase and
    therefore Dropout are fixed by the spec; `train()` and `eval()` change nothing. `spec` is the net, its weights left
    out; `inputs` the shape by blob, tops of data layers included. Inputs are converted to the parameters' dtype.

    Args:
        spec: The net, as `prototxt_import` reads or makes it.
        generator: What fillers draw from; torch's by default.
        max_parameters: Numbers that all learnable blobs together may have (2^30, 4 GiB, unless told).

    Raises:
        ValueError: No module runs the type of a layer (all such are listed), or the net has too many parameters;
            nothing has taken memory then.

    Source:
        Caffe's Net (net.cpp).

    Example:
        >>> import torch
        >>> from deeplab_repro import CaffeNet
        >>> from prototxt_import import parse_net
        >>> net = CaffeNet(parse_net('input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 } '
        ...                          'layer { name: "c" type: "Convolution" bottom: "x" top: "y" '
        ...                          'convolution_param { num_output: 4 kernel_size: 3 pad: 2 dilation: 2 } }'))
        >>> net(x=torch.rand(1, 3, 33, 33))["y"].shape
        torch.Size([1, 4, 33, 33])
        >>> [list(blob.shape) for blob in net.params["c"]]
        [[4, 3, 3, 3], [4]]
    """

    def __init__(
        self, spec: NetSpec, generator: torch.Generator | None = None, max_parameters: int = MAX_PARAMETERS
    ) -> None:
        _check_size(spec, max_parameters)
        running = [layer for layer in spec.layers if not is_source(layer)]
        require_modules(running)
        bare = replace(spec, weights={})
        super().__init__(spec, ((layer, build_module(layer, bare)) for layer in running))
        self._share_and_fill(spec, generator)

    def _share_and_fill(self, spec: NetSpec, generator: torch.Generator | None) -> None:
        owners: dict[str, tuple[str, nn.Parameter]] = {}
        for layer in self.running_layers():
            module = self.module_of(layer.name)
            if layer.name in spec.weights:
                module.load(spec.weights[layer.name])
            else:
                module.reset_parameters(generator)
            blobs = list(module.named_parameters(recurse=False))
            for param, (attribute, blob) in zip(layer.params, blobs, strict=True):
                if not param.name:
                    continue
                owner, shared = owners.setdefault(param.name, (layer.name, blob))
                if shared.numel() != blob.numel() or (shared.shape != blob.shape and param.share_mode == "STRICT"):
                    raise module.fail(
                        f"parameter {param.name!r} is {tuple(blob.shape)} here and {tuple(shared.shape)} in {owner!r}"
                    )
                module.share_blob(attribute, shared)

    @property
    def params(self) -> Mapping[str, list[nn.Parameter]]:
        """The learnable blobs of each layer in Caffe's order, by exact layer name."""
        return _Params(self.layers, self._keys)

    def prepare(
        self, inputs: Tensor | Mapping[str, Tensor], precision: str = "exact", blobs: Sequence[str] = ()
    ) -> PreparedNet:
        """A new net with the same calls and blob names that only infers, faster.

        Frozen BatchNorm, Scale and Bias are folded into convolutions, ReLU into the layers before it, Dropout goes;
        the four classifiers of an ASPP head become one. Values between folded layers are gone, in-place chains keep
        their final one.

        Args:
            inputs: By name, or one tensor for the only input. For their sizes each convolution on the CPU tries its
                methods and stays with the fastest, which can differ from one preparation to the next in the last bits;
                any other size still works, by the cost model's choice.
            precision: "exact", scores within 2e-5 of the largest; "fast", within 1e-3; "bf16", within 0.1, weights and
                maps bfloat16 where the processor multiplies that, else as "fast".
            blobs: Names of blobs to keep.

        Returns:
            The net for inference.

        Raises:
            ValueError: The net is of phase TRAIN, the precision or a name is unknown, or the inputs do not fit.
        """
        return prepare(self, inputs, precision, blobs)


def _check_size(spec: NetSpec, most: int) -> None:
    sizes = {name: sum(map(math.prod, shapes)) for name, shapes in spec.param_shapes.items()}
    if sum(sizes.values()) > most:
        largest = max(sizes, key=lambda name: sizes[name])
        raise ValueError(
            f"{spec.source or spec.name or 'the net'}: asks for {sum(sizes.values()):,} parameters, "
            f"{sizes[largest]:,} of them in layer {largest!r}; max_parameters allows {most:,}"
        )
