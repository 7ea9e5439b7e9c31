"""What a solver's `debug_info: true` logs, in Caffe's words: the mean magnitude of every blob, layer by layer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from deeplab_repro.layers import CaffeLayer
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.train.optimizer import Learnable
from prototxt_import import LayerSpec
from prototxt_import.layers import is_source

# A layer and the place of one of its bottoms or learnable blobs.
_Place = tuple[str, int]


class DebugInfo:
    """Listens to the layers of a net and says Caffe's lines about them; the results stay the same, bit for bit.

    Blobs go by the names of the file: Caffe's Split layers, and lines about them, do not occur.

    Args:
        net: The net.
        say: Gets each line.
        always: Whether every forward pass is listened to, as for a test net; else those inside `forward`.

    Source:
        Caffe's Net::ForwardDebugInfo, BackwardDebugInfo and UpdateDebugInfo (net.cpp).
    """

    def __init__(self, net: CaffeNet, say: Callable[[str], None], always: bool = False) -> None:
        self._net, self._say, self._listening = net, say, always
        # Mean magnitudes of bottoms' diffs, and what each layer adds to the diff of a blob that others use, too.
        self._bottoms: dict[_Place, float] = {}
        self._parts: dict[_Place, Tensor] = {}
        self._own: dict[str, Mapping[str, nn.Parameter]] = {}
        users = Counter(id(blob) for blobs in net.params.values() for blob in blobs)
        self._shared = {blob for blob, count in users.items() if count > 1}
        net.register_forward_pre_hook(self._fed, with_kwargs=True)
        for layer in net.spec.layers:
            if not is_source(layer):
                module = net.module_of(layer.name)
                module.register_forward_pre_hook(partial(self._before, layer))
                module.register_forward_hook(partial(self._after, layer))

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Listen to the forward pass in the block; activations that `backward` computes again are not heard."""
        self._bottoms.clear()
        self._parts.clear()
        self._listening = True
        try:
            yield
        finally:
            self._listening = False

    def _fed(self, net: nn.Module, args: tuple[()], given: Mapping[str, Any]) -> None:
        if self._listening:
            for layer in filter(is_source, self._net.spec.layers):
                for top in filter(given.__contains__, layer.tops):
                    self._say(f"    [Forward] Layer {layer.name}, top blob {top} data: {_mean(given[top]):g}")

    def _before(self, layer: LayerSpec, module: CaffeLayer, bottoms: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """The bottoms, and in the module its shared blobs, by names of this layer's own, so that their diffs are."""
        if not self._listening or not torch.is_grad_enabled():
            return None
        own = {name: blob for name, blob in module.named_parameters(recurse=False)}
        self._own[layer.name] = own
        for index, (name, blob) in enumerate(own.items()):
            if id(blob) in self._shared:
                heard = _heard(blob, partial(self._keep_part, (layer.name, index)))
                module._parameters[name] = cast(nn.Parameter, heard)  # for this pass
        return tuple(_heard(x, partial(self._keep_mean, (layer.name, i))) for i, x in enumerate(bottoms))

    def _keep_mean(self, place: _Place, diff: Tensor) -> None:
        self._bottoms[place] = _mean(diff)

    def _keep_part(self, place: _Place, diff: Tensor) -> None:
        self._parts[place] = diff.detach().clone()

    def _after(self, layer: LayerSpec, module: CaffeLayer, bottoms: tuple[Tensor, ...], out: Any) -> None:
        if not self._listening:
            return
        module._parameters.update(self._own.pop(layer.name, {}))
        # A loss without a top has an automatic one.
        tops = zip((*layer.tops, "(automatic)"), out if isinstance(out, tuple) else (out,), strict=False)
        for name, top in tops:
            self._say(f"    [Forward] Layer {layer.name}, top blob {name} data: {_mean(top):g}")
        for index, blob in enumerate(module.blobs()):
            name = _display_name(layer, index)
            self._say(f"    [Forward] Layer {layer.name}, param blob {name} data: {_mean(blob):g}")

    def backward(self, learnables: Sequence[Learnable]) -> None:
        """Say what the backward pass just done left: diffs of a blob in the order in which layers add to them.

        Args:
            learnables: The net's learnable blobs.
        """
        to_come: dict[int, Tensor] = {}
        for (name, index), part in self._parts.items():
            key = id(self._net.params[name][index])
            to_come[key] = to_come[key] + part if key in to_come else part
        for layer in reversed(self._net.spec.layers):
            for index, bottom in enumerate(layer.bottoms):
                if (layer.name, index) in self._bottoms:
                    mean = self._bottoms[layer.name, index]
                    self._say(f"    [Backward] Layer {layer.name}, bottom blob {bottom} diff: {mean:g}")
            for index, blob in enumerate(self._net.params.get(layer.name, ())):
                if blob.grad is None:
                    continue
                diff = blob.grad
                if (layer.name, index) in self._parts:
                    to_come[id(blob)] = to_come[id(blob)] - self._parts[layer.name, index]
                    diff = diff - to_come[id(blob)]
                self._say(f"    [Backward] Layer {layer.name}, param blob {index} diff: {_mean(diff):g}")
        data = [learnable.blob.detach() for learnable in learnables]
        diffs = [learnable.blob.grad for learnable in learnables if learnable.blob.grad is not None]
        self._say(
            f"    [Backward] All net params (data, diff): L1 norm = ({_norm(data, 1):g}, {_norm(diffs, 1):g}); "
            f"L2 norm = ({_norm(data, 2):g}, {_norm(diffs, 2):g})"
        )

    def update(self, learnable: Learnable, change: Tensor | None) -> None:
        """Say what is about to be subtracted from a blob.

        Args:
            learnable: The blob.
            change: What is subtracted, None for nothing.
        """
        name = _display_name(self._net.module_of(learnable.layer).layer, learnable.index)
        data, diff = _mean(learnable.blob), 0.0 if change is None else _mean(change)
        self._say(f"    [Update] Layer {learnable.layer}, param {name} data: {data:g}; diff: {diff:g}")


def _heard(x: Tensor, keep: Callable[[Tensor], None]) -> Tensor:
    """The same numbers, of whose diff `keep` is told what comes by this name."""
    if not x.requires_grad:
        return x
    alias = x.view_as(x)
    alias.register_hook(keep)
    return alias


def _display_name(layer: LayerSpec, index: int) -> str:
    return layer.params[index].name or str(index)


def _mean(x: Tensor) -> float:
    return _norm([x.detach()], 1) / x.numel() if x.numel() else math.nan


def _norm(blobs: Sequence[Tensor], order: int) -> float:
    total = sum(float(torch.linalg.vector_norm(blob, order, dtype=torch.float64)) ** order for blob in blobs)
    return total ** (1 / order)
