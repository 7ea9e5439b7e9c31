"""The atrous convolution as a module that packs its weight once."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual

from deeplab_repro.ops.conv import PACKED_METHODS, atrous_conv2d, atrous_conv2d_packed, pack_weight, plan


class AtrousConv2d(nn.Module):
    """`ops.atrous_conv2d` as a module with its parameters.

    Initial values, parameter names and state_dict are those of `torch.nn.Conv2d` with zero padding, so that either
    loads the other's checkpoint.

    Where no gradient is asked for, the weight is packed at the first call, again once it has changed, and kept beside
    it (as large as the weight, or 16/9 to 4 times that for a Winograd method). Changes that torch cannot see, as
    through `weight.data`, need `repack`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the result.
        kernel_size: Taps of the window; like stride, padding and dilation, one number or (h, w).
        stride: Pixels from one output to the next.
        padding: Zeros around the maps, in pixels on each side; "same" or "valid" as `torch.nn.Conv2d` has them.
        dilation: The rate: pixels from one tap to the next.
        groups: Groups of channels that are convolved each on its own.
        bias: Whether there is a bias.
        method: As for `ops.atrous_conv2d`.
        relu: Whether max(0, .) follows.
        device: Where the parameters are made.
        dtype: The parameters' floating dtype.
        padding_mode: "zeros", as Caffe pads; others are refused.

    Raises:
        ValueError: The groups do not divide the channels, a size is not positive, or two like sides cannot give "same".

    Source:
        Chen et al. 2015, section 3.1; Caffe's Convolution layer.

    Example:
        >>> import torch
        >>> from deeplab_repro import AtrousConv2d
        >>> fc6 = AtrousConv2d(16, 32, 3, padding=12, dilation=12)
        >>> fc6(torch.rand(1, 16, 41, 41)).shape
        torch.Size([1, 32, 41, 41])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        method: str = "auto",
        relu: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        if padding_mode != "zeros":
            raise ValueError(f"AtrousConv2d: padding_mode must be 'zeros', as in Caffe, got {padding_mode!r}")
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if groups < 1 or channels < 1 or channels % groups:
                raise ValueError(f"AtrousConv2d: {name} must be a positive multiple of groups {groups}, got {channels}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair("kernel_size", kernel_size, 1)
        self.stride = _pair("stride", stride, 1)
        self.dilation = _pair("dilation", dilation, 1)
        self.padding = self._sides(padding) if isinstance(padding, str) else _pair("padding", padding, 0)
        self.groups = groups
        self.method = method
        self.relu = relu
        self._packed: dict[str, _Packed] = {}
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, method: str = "auto", relu: bool = False) -> "AtrousConv2d":
        """A convolution of torch's as one of these, with the same parameters.

        Args:
            conv: The convolution.
            method: As for `ops.atrous_conv2d`.
            relu: Whether max(0, .) follows.

        Returns:
            The module; it shares the parameters.

        Raises:
            ValueError: It pads with something else than zeros, or its sides differ.

        Example:
            >>> import torch
            >>> from deeplab_repro import AtrousConv2d
            >>> conv = torch.nn.Conv2d(4, 8, 3, padding=2, dilation=2)
            >>> AtrousConv2d.from_conv(conv).weight is conv.weight
            True
        """
        padding = conv.padding if isinstance(conv.padding, str) else tuple(conv.padding)
        made = cls(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, padding, conv.dilation, conv.groups,
            conv.bias is not None, method, relu, "meta", conv.weight.dtype, conv.padding_mode,
        )  # fmt: skip
        made.weight, made.bias = cast(nn.Parameter, conv.weight), cast(nn.Parameter | None, conv.bias)
        return made.train(conv.training)

    def to_conv(self) -> nn.Conv2d:
        """The module as torch's own, with the same parameters.

        Returns:
            The convolution; it shares the parameters.

        Raises:
            ValueError: A ReLU follows, which torch's has not.
        """
        if self.relu:
            raise ValueError("AtrousConv2d: relu is part of this module and of no torch.nn.Conv2d; put one behind it")
        conv = nn.Conv2d(
            self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding, self.dilation,
            self.groups, self.bias is not None, device="meta", dtype=self.weight.dtype,
        )  # fmt: skip
        conv.weight, conv.bias = self.weight, self.bias
        return conv.train(self.training)

    def _sides(self, padding: str) -> tuple[int, int]:
        """The padding that torch.nn.Conv2d means by a word; Caffe pads both sides alike."""
        if padding == "valid":
            return 0, 0
        if padding != "same":
            raise ValueError(f"AtrousConv2d: padding must be a number, (h, w), 'same' or 'valid', got {padding!r}")
        if self.stride != (1, 1):
            raise ValueError(f"AtrousConv2d: padding 'same' needs stride 1, got {self.stride}")
        whole = [rate * (side - 1) for rate, side in zip(self.dilation, self.kernel_size, strict=True)]
        if any(total % 2 for total in whole):
            raise ValueError(
                f"AtrousConv2d: padding 'same' takes {whole[0]} rows and {whole[1]} columns in all, which two like "
                "sides cannot give; choose an odd kernel_size or an even dilation"
            )
        return whole[0] // 2, whole[1] // 2

    def reset_parameters(self) -> None:
        """Draw weight and bias as `torch.nn.Conv2d` does: uniform within 1 / sqrt(fan in)."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve maps.

        Args:
            x: Maps [N, in_channels, H, W] of the parameters' dtype.

        Returns:
            Maps [N, out_channels, Ho, Wo].

        Raises:
            RuntimeError: As `ops.atrous_conv2d` does.
        """
        window = self.stride, self.padding, self.dilation, self.groups
        if self._may_pack(x):
            method = plan(x, self.weight, *window, method=self.method, packed=True)
            if method in PACKED_METHODS:
                packed = self._packed_weight(method)
                return atrous_conv2d_packed(x, self.weight, packed, self.bias, *window, method, self.relu)
        y = atrous_conv2d(x, self.weight, self.bias, *window, self.method)
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
            kept = _Packed(state, pack_weight(weight, self.groups, method))
            self._packed[method] = kept
        return kept.weight

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": {}}

    def extra_repr(self) -> str:
        """What `print` shows between the module's brackets.

        Returns:
            The arguments that are not at their defaults.
        """
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


class _Packed(NamedTuple):
    state: tuple[Any, ...]  # of the weight it was made from
    weight: Tensor


def _pair(name: str, value: int | Sequence[int], least: int) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or min(pair) < least:
        raise ValueError(f"AtrousConv2d: {name} must be a number or (h, w), each at least {least}, got {value}")
    return pair
