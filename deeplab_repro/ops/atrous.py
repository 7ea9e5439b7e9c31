"""The atrous convolution as a module that packs its weight once."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual

from deeplab_repro import ops


class AtrousConv2d(nn.Module):
    """`ops.atrous_conv2d` with its parameters: [N, in_channels, H, W] -> [N, out_channels, Ho, Wo].

    Arguments, initial values, parameter names and state_dict are those of `torch.nn.Conv2d` with zero padding, so that
    either loads the other's checkpoint; `method` is that of `ops.atrous_conv2d`, `relu` adds max(0, .) to the result.

    Where no gradient is asked for, the weight is packed at the first call, again once it has changed, and kept beside
    it (as large as the weight, or 16/9 to 4 times that for a Winograd method). Changes that torch cannot see, as
    through `weight.data`, need `repack`.

    Raises ValueError where groups does not divide the channels or a size is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        method: str = "auto",
        relu: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if groups < 1 or channels < 1 or channels % groups:
                raise ValueError(f"AtrousConv2d: {name} must be a positive multiple of groups {groups}, got {channels}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair("kernel_size", kernel_size, 1)
        self.stride = _pair("stride", stride, 1)
        self.padding = _pair("padding", padding, 0)
        self.dilation = _pair("dilation", dilation, 1)
        self.groups = groups
        self.method = method
        self.relu = relu
        self._packed: dict[str, _Packed] = {}
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias as `torch.nn.Conv2d` does: uniform within 1 / sqrt(fan in)."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        window = self.stride, self.padding, self.dilation, self.groups
        if self._may_pack(x):
            method = ops.plan(x, self.weight, *window, method=self.method, packed=True)
            if method in ops.PACKED_METHODS:
                packed = self._packed_weight(method)
                return ops.atrous_conv2d_packed(x, self.weight, packed, self.bias, *window, method, self.relu)
        y = ops.atrous_conv2d(x, self.weight, self.bias, *window, self.method)
        return torch.relu(y) if self.relu else y

    def repack(self) -> None:
        """Forget the packed weights; the next call packs again."""
        self._packed.clear()

    def _may_pack(self, x: Tensor) -> bool:
        """Whether this is plain inference: nothing traced, converted or differentiated."""
        weight, bias = self.weight, self.bias
        device = x.device.type
        if device == "cuda" and x.dtype not in (torch.float32, torch.float64):
            return False  # packed weights are float32, products of reduced types are not
        if device not in ("cpu", "cuda") or torch.compiler.is_compiling() or torch.is_autocast_enabled(device):
            return False
        if any(type(t) not in (Tensor, nn.Parameter) or unpack_dual(t).tangent is not None for t in (x, weight)):
            return False
        differentiated = x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
        return not (torch.is_grad_enabled() and differentiated)

    def _packed_weight(self, method: str) -> Tensor:
        weight = self.weight
        # Inference tensors count no versions, nor can they be changed outside of inference mode.
        version = None if weight.is_inference() else weight._version
        state = weight.data_ptr(), version, weight.dtype, weight.device, weight.stride()
        kept = self._packed.get(method)
        if kept is None or kept.state != state:
            kept = _Packed(state, ops.pack_weight(weight, self.groups, method))
            self._packed[method] = kept
        return kept.weight

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": {}}

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0, 0):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.relu:
            text += ", relu=True"
        return f"{text}, method={self.method!r}"


def aspp(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    rates: Sequence[int],
    summed: bool = True,
    method: str = "auto",
) -> Tensor | list[Tensor]:
    """Atrous spatial pyramid pooling: parallel atrous convolutions of one input that keep its size.

    x [N, C, H, W]; per branch weights [F, C, k, k] with odd k, biases [F] or None, and a rate. Returns the branches'
    sum [N, F, H, W] if `summed`, as DeepLab's classifiers do (Chen et al. 2016, section 3.3), else a list of them.
    With few filters (`F` at most 32) the sum is one matrix product over all distinct taps, those in the branches'
    centres added up beforehand, then `ops.shift_add`; otherwise each branch is an `ops.atrous_conv2d` by `method`.
    Any dtype and device that those take; differentiable.

    Raises ValueError where branches do not match each other, RuntimeError where one does not match x.
    """
    if not weights or not len(weights) == len(biases) == len(rates):
        raise ValueError(
            f"aspp: needs a weight, a bias or None, and a rate per branch, got {len(weights)}, {len(biases)}, "
            f"{len(rates)}"
        )
    for weight, rate in zip(weights, rates, strict=True):
        if weight.dim() != 4 or weight.shape[2] != weight.shape[3] or weight.shape[2] % 2 == 0 or rate < 1:
            raise ValueError(
                f"aspp: weights must be [F, C, k, k] with odd k, rates positive, got {list(weight.shape)}, {rate}"
            )
    if summed and len({weight.shape[0] for weight in weights}) > 1:
        raise ValueError(f"aspp: summed branches need equal filters, got {[weight.shape[0] for weight in weights]}")
    if summed and weights[0].shape[0] <= _MERGED_FILTERS and not torch.is_autocast_enabled(x.device.type):
        return _merged_aspp(x, weights, biases, rates)
    branches = [
        ops.atrous_conv2d(x, weight, bias, 1, rate * (weight.shape[2] // 2), rate, method=method)
        for weight, bias, rate in zip(weights, biases, rates, strict=True)
    ]
    if not summed:
        return branches
    total = branches[0]
    for branch in branches[1:]:
        total = total + branch
    return total


# One filter block of a product is then half empty tap by tap, and full over all taps.
_MERGED_FILTERS = 32


def _merged_aspp(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], rates: Sequence[int]) -> Tensor:
    if x.device.type == "cpu" and x.dtype in (torch.bfloat16, torch.float16):
        # As `ops.atrous_conv2d` does: one rounding, not one per tap.
        wide = [weight.float() for weight in weights], [None if bias is None else bias.float() for bias in biases]
        return _merged_aspp(x.float(), *wide, rates).to(x.dtype)
    taps: dict[tuple[int, int], Tensor] = {}
    for weight, rate in zip(weights, rates, strict=True):
        side = weight.shape[2]
        for i in range(side):
            for j in range(side):
                offset = ((i - side // 2) * rate, (j - side // 2) * rate)
                tap = weight[:, :, i, j]
                taps[offset] = taps[offset] + tap if offset in taps else tap
    batch, channels, height, width = x.shape
    # A tap that never meets the map adds nothing.
    met = [offset for offset in taps if abs(offset[0]) < height and abs(offset[1]) < width]
    merged = torch.stack([taps[offset] for offset in met])  # [T, F, C]
    pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)
    values = pixels @ merged.flatten(0, 1).T
    y = ops.shift_add(values.view(batch, height, width, *merged.shape[:2]), met)
    given = [bias for bias in biases if bias is not None]
    return y + torch.stack(given).sum(0).view(-1, 1, 1) if given else y


class _Packed(NamedTuple):
    state: tuple[Any, ...]  # of the weight it was made from
    weight: Tensor


def _pair(name: str, value: int | Sequence[int], least: int) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or min(pair) < least:
        raise ValueError(f"AtrousConv2d: {name} must be a number or (h, w), each at least {least}, got {value}")
    return pair
