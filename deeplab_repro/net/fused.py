"""The modules of prepared nets: layers with what was folded into them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab_repro import ops
from deeplab_repro.ops.aspp import distinct_taps, sum_of_taps

Pair = tuple[int, int]
_Name = TypeVar("_Name")

# What `choosing_methods` tries on the CPU, by policy; the errors of each stay within what the policy promises.
_CANDIDATES = {
    "auto": ("library", "direct", "winograd2"),
    "fast": ("library", "direct", "winograd2", "winograd4"),
}
# Timed runs of each candidate, the fastest counts: neighbours on the machine seldom disturb all.
_ROUNDS = 4
# Outputs up to which merged branches win where nothing was timed.
_FEW_OUTPUTS = 64
_choosing: ContextVar[dict[tuple[object, ...], Any] | None] = ContextVar("choosing", default=None)


@contextlib.contextmanager
def choosing_methods() -> Iterator[None]:
    """Within it, convolutions on the CPU time their methods on the maps they meet and stay with the fastest.

    Elsewhere, and for sizes not met here, the cost model behind `ops.plan` chooses."""
    token = _choosing.set({})
    try:
        yield
    finally:
        _choosing.reset(token)


def _is_choosing(x: Tensor) -> bool:
    return _choosing.get() is not None and x.device.type == "cpu"


def _fastest(key: tuple[object, ...], calls: Mapping[_Name, Callable[[], object]]) -> _Name:
    """The name of the fastest call; the one found earlier where `key`, which stands for the problem, is known."""
    known = _choosing.get()
    assert known is not None
    if key not in known:
        best = dict.fromkeys(calls, float("inf"))
        for call in calls.values():
            call()
        for _ in range(_ROUNDS if len(calls) > 1 else 0):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                best[name] = min(best[name], time.perf_counter() - start)
        known[key] = min(best, key=best.__getitem__)
    return known[key]


class Window(NamedTuple):
    """Where a convolution samples, in the order in which `ops` takes it."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


_POINTWISE = Window((1, 1), (0, 0), (1, 1), 1)
# A 1x1 convolution as one matrix product of the whole map.
_PRODUCT = "product"


class Weights(nn.Module):
    """A convolution's weight and bias, and the weight packed for each method in use."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self._packed: dict[str, Tensor] = {}

    def packed(self, method: str, groups: int) -> Tensor:
        if method not in self._packed:
            self._packed[method] = ops.pack_weight(self.weight, groups, method)
        return self._packed[method]

    def matrix(self) -> Tensor:
        """The weight of a 1x1 convolution, [channels, filters]."""
        if _PRODUCT not in self._packed:
            self._packed[_PRODUCT] = self.weight[:, :, 0, 0].t().contiguous()
        return self._packed[_PRODUCT]

    def forget(self, method: str) -> None:
        """Free the weight packed for a method; it is packed again when needed."""
        self._packed.pop(method, None)

    def _apply(self, *arguments, **options):
        # Moved or converted, the weight has to be packed again.
        self._packed.clear()
        return super()._apply(*arguments, **options)

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_packed": {}}


class _Fused(nn.Module):
    """Base: `slope` is that of the ReLU taken in, None without one; `methods` the way chosen for each input size."""

    takes_mask = False

    def __init__(self, slope: float | None) -> None:
        super().__init__()
        self.slope = slope
        self.methods: dict[torch.Size, Any] = {}

    def _apply(self, *arguments, **options):
        # What was fastest on one device or for one type says nothing about others.
        self.methods.clear()
        return super()._apply(*arguments, **options)

    def extra_repr(self) -> str:
        return "" if self.slope is None else f"ReLU, slope {self.slope:g}"


def _activate(y: Tensor, slope: float | None) -> Tensor:
    """ReLU of a tensor nobody else holds."""
    if slope is None:
        return y
    return F.leaky_relu_(y, slope) if slope else y.relu_()


def _finish(y: Tensor, bias: Tensor, slope: float | None) -> Tensor:
    """Bias and ReLU of a tensor nobody else holds."""
    ops.add_bias_(y, bias, slope == 0)
    return y if slope == 0 else _activate(y, slope)


def _rows(x: Tensor) -> Tensor:
    """Pixels of channels_last maps, [N H W, C]."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


class FusedConvolution(_Fused):
    """A convolution with bias and ReLU; policy: the method of `ops.atrous_conv2d` that chooses for it."""

    def __init__(self, weights: Weights, window: Window, policy: str, slope: float | None) -> None:
        super().__init__(slope)
        self.weights, self.window, self.policy = weights, window, policy

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        tops = tuple(self._run(x, self._method(x)) for x in bottoms)
        return tops[0] if len(tops) == 1 else tops

    def _run(self, x: Tensor, method: str) -> Tensor:
        weight, bias = self.weights.weight, self.weights.bias
        if method in ops.PACKED_METHODS:
            packed = self.weights.packed(method, self.window.groups)
            y = ops.atrous_conv2d_packed(x, weight, packed, bias, *self.window, method, self.slope == 0)
            return y if self.slope == 0 else _activate(y, self.slope)
        if method == _PRODUCT:
            y = x.new_empty(x.shape[0], *x.shape[2:], weight.shape[0])
            torch.mm(_rows(x), self.weights.matrix(), out=y.view(-1, weight.shape[0]))
            return _finish(y.permute(0, 3, 1, 2), bias, self.slope)
        if method == "library":
            return _activate(F.conv2d(x, weight, bias, *self.window), self.slope)
        return _activate(ops.atrous_conv2d(x, weight, bias, *self.window, method), self.slope)

    def _method(self, x: Tensor) -> str:
        if _is_choosing(x) and x.dtype == torch.float32:
            self.methods[x.shape] = self._fastest(x)
        elif x.shape not in self.methods:
            packed = x.device.type == "cpu"
            self.methods[x.shape] = ops.plan(x, self.weights.weight, *self.window, method=self.policy, packed=packed)
        return self.methods[x.shape]

    def _fastest(self, x: Tensor) -> str:
        weight = self.weights.weight
        tried = {ops.plan(x, weight, *self.window, method=name, packed=True) for name in _CANDIDATES[self.policy]}
        if weight.shape[2:] == (1, 1) and self.window == _POINTWISE:
            tried.add(_PRODUCT)
        key = (x.shape, weight.shape, self.window, self.policy)
        chosen = _fastest(key, {name: partial(self._run, x, name) for name in sorted(tried)})
        for method in tried - {chosen}:
            self.weights.forget(method)
        return chosen

    def extra_repr(self) -> str:
        window = ", ".join(f"{name}={value}" for name, value in self.window._asdict().items())
        return ", ".join(filter(None, [f"{tuple(self.weights.weight.shape)}, {window}", super().extra_repr()]))


class SummedConvolutions(_Fused):
    """The sum of convolutions of one input, such as ASPP's classifiers.

    Few outputs leave most of a convolution kernel idle; so one matrix product takes every distinct tap of all branches
    (their centres add up to one), and the products are added where they belong. With many outputs, or where it is
    slower when methods are chosen, the branches run one by one; `methods` tells whether they are merged."""

    taps: Tensor
    bias: Tensor

    def __init__(self, branches: list[FusedConvolution], slope: float | None) -> None:
        super().__init__(slope)
        self.branches = nn.ModuleList(branches)
        first = branches[0].weights.weight
        taps = distinct_taps(
            (branch.weights.weight.double() for branch in branches), [branch.window[1:3] for branch in branches]
        )
        self.offsets = tuple(taps)
        kernel, (pad, rate) = first.shape[2:], branches[0].window[1:3]
        self._keeps_size = all(2 * p == r * (k - 1) for p, r, k in zip(pad, rate, kernel, strict=True))
        self.register_buffer("taps", torch.cat([tap.t() for tap in taps.values()], 1).to(first.dtype), persistent=False)
        # Sums in bfloat16 would lose what its products have.
        wide = torch.promote_types(first.dtype, torch.float32)
        self.register_buffer("bias", torch.stack([b.weights.bias.to(wide) for b in branches]).sum(0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if _is_choosing(x) and self._keeps_size:
            key = (x.shape, self.taps.shape, self.offsets)
            self.methods[x.shape] = _fastest(key, {True: lambda: self._merged(x), False: lambda: self._one_by_one(x)})
        merged = self.methods.get(x.shape, self.bias.numel() <= _FEW_OUTPUTS)
        return _activate(self._merged(x) if merged and self._keeps_size else self._one_by_one(x), self.slope)

    def _one_by_one(self, x: Tensor) -> Tensor:
        y = self.branches[0](x)
        for branch in self.branches[1:]:
            y += branch(x)
        return y

    def _merged(self, x: Tensor) -> Tensor:
        y = sum_of_taps(x, self.taps, self.offsets, self.bias.dtype)
        return ops.add_bias_(y, self.bias).to(x.dtype)


class Sum(_Fused):
    """Bottoms added up; `into` is the one whose memory may take the sum, as nobody else will read it."""

    def forward(self, *bottoms: Tensor, into: Tensor | None = None) -> Tensor:
        rest: Sequence[Tensor]
        if into is None:
            y, rest = bottoms[0] + bottoms[1], bottoms[2:]
        else:
            y, rest = into, [x for x in bottoms if x is not into]
        for x in rest:
            y += x
        return _activate(y, self.slope)


class Residual(_Fused):
    """A 1x1 convolution added to its second bottom: the end of a residual block.

    As a matrix product it can add to that bottom where it lies, which saves passes over memory; `methods` tells
    whether it does. `into` is that bottom when nobody else will read it."""

    def __init__(self, convolution: FusedConvolution, slope: float | None) -> None:
        super().__init__(slope)
        self.convolution = convolution

    def forward(self, x: Tensor, other: Tensor, into: Tensor | None = None) -> Tensor:
        if _is_choosing(x):
            scratch, key = other.clone(), (x.shape, other.shape, self.slope)
            self.methods[x.shape] = _fastest(
                key, {True: lambda: self._product(x, scratch), False: lambda: self._separate(x, other)}
            )
        if into is not None and self.methods.get(x.shape, False):
            return self._product(x, into)
        return self._separate(x, other)

    def _separate(self, x: Tensor, other: Tensor) -> Tensor:
        y = self.convolution(x)
        y += other
        return _activate(y, self.slope)

    def _product(self, x: Tensor, y: Tensor) -> Tensor:
        weights = self.convolution.weights
        y.permute(0, 2, 3, 1).view(-1, y.shape[1]).addmm_(_rows(x), weights.matrix())
        return _finish(y, weights.bias, self.slope)


class ChannelMap(_Fused):
    """x times scale plus shift, per channel."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor, slope: float | None) -> None:
        super().__init__(slope)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *[1] * (x.dim() - 2))
        scale, shift = (t.to(x.dtype).view(shape) for t in (self.scale, self.shift))
        return _activate(torch.addcmul(shift, x, scale), self.slope)


class Activated(_Fused):
    """Any layer, and the ReLU behind it."""

    def __init__(self, module: nn.Module, slope: float) -> None:
        super().__init__(slope)
        self.module = module

    def forward(self, *bottoms: Tensor) -> Tensor:
        y = self.module(*bottoms)
        return _activate(y.clone() if any(y is x for x in bottoms) else y, self.slope)
