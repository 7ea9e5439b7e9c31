"""Nets made ready for inference: layers folded into one another, laid out and packed once."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from deeplab_repro.layers import CaffeLayer
from deeplab_repro.layers.base import module_class
from deeplab_repro.net.blobs import Blobs
from deeplab_repro.net.fold import Stage, fold, is_affine, is_channel_map, is_sum, values
from deeplab_repro.net.fused import (
    Activated,
    ChannelMap,
    FusedConvolution,
    Residual,
    Sum,
    SummedConvolutions,
    Weights,
    Window,
    choosing_methods,
)
from deeplab_repro.net.graph import Graph, Step
from deeplab_repro.ops import _C
from prototxt_import import LayerSpec

# The convolution method of each precision.
METHODS = {"exact": "auto", "fast": "fast", "bf16": "fast"}


def low_type(parameter: Tensor) -> torch.dtype:
    """What precision "bf16" computes in: the net's own type on processors that multiply bfloat16 more slowly."""
    return torch.bfloat16 if parameter.device.type != "cpu" or _C.has_bfloat16() else parameter.dtype


class PreparedNet(Graph):
    """A net for inference, as `CaffeNet.prepare` makes it: same inputs, blob names and calls, no gradients.

    Blobs that layers were folded across are gone (`folded`); an error tells which. The weights are copies: later
    changes to the original do not reach them, and `params` has nothing to show.

    Args:
        net: The net it is made from.
        precision: As for `CaffeNet.prepare`.
        keep: Names of blobs to keep.

    Example:
        >>> import torch
        >>> from deeplab_repro import CaffeNet
        >>> from prototxt_import import layer, make_net
        >>> conv = layer("Convolution", "c", "x", "c", num_output=2, kernel=(1, 1))
        >>> net = CaffeNet(make_net("n", {"x": (1, 2, 4, 4)}, [conv, layer("ReLU", "r", "c", "y")]))
        >>> ready = net.prepare(torch.rand(1, 2, 4, 4))
        >>> ready.folded, ready(x=torch.rand(1, 2, 9, 9))["y"].shape
        (('c',), torch.Size([1, 2, 9, 9]))
    """

    def __init__(self, net: Graph, precision: str, keep: Sequence[str]) -> None:
        parameter = next(net.parameters(), torch.empty(0))
        compute = low_type(parameter) if precision == "bf16" else parameter.dtype
        # cuDNN's float32 kernels are made for NCHW, oneDNN's and all for bfloat16 for NHWC.
        last = parameter.device.type == "cpu" or compute == torch.bfloat16
        stages = fold(net.running_layers(), net.spec.param_shapes, net.spec.phase, keep, sums=True)
        builder = _Builder(net, precision, last)
        super().__init__(net.spec, [(stage.merged(), builder.build(stage)) for stage in stages])
        self.precision = precision
        self._dtype, self._compute, self._last = parameter.dtype, compute, last
        self._originals = {stage.layer.name: [layer.name for layer in stage.layers()] for stage in stages}
        self._anywhere = {key for layer, key in self._running if module_class(layer.type).any_layout}
        self._low = {key for layer, key in self._running if module_class(layer.type).low_precision}
        self._spare = _spare(self.running_layers(), list(self.layers.values()))
        self.folded = tuple(name for name in net.blob_names if name not in self.blob_names)
        self.requires_grad_(False)

    @property
    def params(self) -> Mapping[str, list[nn.Parameter]]:
        """No blobs: ValueError, since the weights are folded and packed."""
        raise ValueError("a prepared net's weights are folded and packed; use the net it was made from")

    def forward(
        self,
        value: Tensor | None = None,
        /,
        *,
        blobs: str | Sequence[str] | None = None,
        masks: Mapping[str, Tensor] | None = None,
        **inputs: Tensor,
    ) -> Blobs:
        """As `Graph.forward`, without gradients.

        Args:
            value: As there.
            blobs: As there.
            masks: As there; none apply, as Dropout is the identity.
            inputs: As there.

        Returns:
            The blobs by name.

        Raises:
            ValueError: A blob was folded away, and as there.
        """
        asked = () if blobs is None or blobs == "all" else (blobs,) if isinstance(blobs, str) else blobs
        for name in asked:
            if name in self.folded:
                raise ValueError(
                    f"blob {name!r} was folded away; keep it with prepare(..., blobs=[{name!r}]) or ask the original"
                )
        with torch.no_grad():
            out = super().forward(value, blobs=blobs, masks=None, **inputs)
        for name, value in out.items():
            out[name] = (value.to(self._dtype) if value.is_floating_point() else value).contiguous()
        return out

    def prepare(self, *arguments: object, **options: object) -> PreparedNet:
        """Refuse: the net is prepared already.

        Args:
            arguments: Ignored.
            options: Ignored.

        Returns:
            Nothing.

        Raises:
            ValueError: Always.
        """
        raise ValueError("the net is prepared already; prepare the one it was made from")

    def _run(self, step: Step, values: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        low, anywhere = step.module in self._low, step.module in self._anywhere
        bottoms = []
        for name in step.layer.bottoms:
            x = values[name]
            if x.is_floating_point():
                x = x.to(self._compute if low else self._dtype)
            if x.dim() == 4:
                form = torch.channels_last if self._last and anywhere else torch.contiguous_format
                x = x.contiguous(memory_format=form)
            bottoms.append(x)
        module, spare = self.layers[step.module], self._spare.get(step.layer.name)
        if spare is not None and step.layer.bottoms[spare] in step.free:
            tops = module(*bottoms, into=bottoms[spare])
        else:
            tops = module(*bottoms)
        return tops if isinstance(tops, tuple) else (tops,)

    def _names_in(self, step: Step) -> list[str]:
        return self._originals[step.layer.name]

    def _input_dtype(self) -> torch.dtype:
        return self._dtype

    def extra_repr(self) -> str:
        """What `print` shows between the module's brackets: name, phase and precision."""
        return f"{super().extra_repr()}, prepared {self.precision}"


def prepare(
    net: Graph,
    inputs: Tensor | Mapping[str, Tensor],
    precision: str = "exact",
    blobs: Sequence[str] = (),
) -> PreparedNet:
    """`CaffeNet.prepare`, which see.

    Args:
        net: The net.
        inputs: As there.
        precision: As there.
        blobs: As there.

    Returns:
        The net for inference.

    Raises:
        ValueError: As there.
    """
    if precision not in METHODS:
        raise ValueError(f"precision must be one of {', '.join(METHODS)}, got {precision!r}")
    if net.spec.phase != "TEST":
        raise ValueError(f"only nets of phase TEST can be prepared for inference, this one is {net.spec.phase}")
    if isinstance(inputs, Tensor):
        if len(net.inputs) != 1:
            raise ValueError(f"the net has the inputs {', '.join(net.inputs)}; give a dict of tensors by name")
        inputs = {next(iter(net.inputs)): inputs}
    net.layers_for(blobs)
    ready = PreparedNet(net, precision, blobs)
    if set(ready.inputs) <= set(inputs):
        with choosing_methods():
            ready(**inputs)
    return ready


class WeightFolding:
    """Weights of folded layers, from a net's own, in double precision."""

    def __init__(self, net: Graph) -> None:
        self.net = net

    def key(self, stage: Stage) -> tuple[int, ...]:
        """What a stage's folded weights are made from; stages of equal keys have equal weights."""
        affine = [layer for layer in stage.after if is_affine(layer)]
        layers = (stage.layer, *stage.before, *affine)
        return tuple(id(blob) for layer in layers for blob in self.net.module_of(layer.name).blobs())

    def convolution(self, stage: Stage) -> tuple[Tensor, Tensor]:
        """Weight and bias of a stage's convolution with its affine layers folded in, float64."""
        group = stage.layer.options.group
        weight, *biases = (blob.detach().double() for blob in self.net.module_of(stage.layer.name).blobs())
        bias = biases[0].flatten() if biases else weight.new_zeros(weight.shape[0])
        if stage.before:
            # Rows of the weight belong to groups, its columns to the channels of the row's group.
            scale, shift = (
                factor.reshape(group, -1).repeat_interleave(weight.shape[0] // group, 0)[:, :, None, None]
                for factor in self.channel_map(stage.before)
            )
            bias = bias + (weight * shift).sum((1, 2, 3))
            weight = weight * scale
        if any(is_affine(layer) for layer in stage.after):
            scale, shift = self.channel_map(stage.after)
            weight, bias = weight * scale[:, None, None, None], bias * scale + shift
        return weight, bias

    def channel_map(self, layers: Sequence[LayerSpec]) -> tuple[Tensor, Tensor]:
        """Factor and summand per channel, float64, of the affine ones of layers one after the other."""
        maps = [self.net.module_of(layer.name).channel_map() for layer in layers if is_affine(layer)]
        scale, shift = maps[0]
        for factor, summand in maps[1:]:
            scale, shift = scale * factor, shift * factor + summand
        return scale, shift


class _Builder:
    """Makes the module of each stage from copies of the net's weights; layers that share weights go on sharing them."""

    def __init__(self, net: Graph, precision: str, last: bool) -> None:
        self.net, self.precision, self.last = net, precision, last
        self.folding = WeightFolding(net)
        self._weights: dict[tuple[int, ...], Weights] = {}

    def build(self, stage: Stage) -> nn.Module:
        """The module that runs a stage."""
        layer = stage.layer
        slope = stage.slope
        if layer.type == "Convolution":
            return self._convolution(stage, slope)
        if stage.inner:
            convolutions = [self._convolution(inner, None) for inner in stage.inner]
            if len(convolutions) == len(layer.bottoms):
                return SummedConvolutions(convolutions, slope)
            return Residual(convolutions[0], slope)
        if is_channel_map(layer, self.net.spec.param_shapes):
            return ChannelMap(*self.folding.channel_map([layer, *stage.after]), slope)
        if is_sum(layer):
            return Sum(slope)
        module = copy.deepcopy(self.net.module_of(layer.name))
        return module if slope is None else Activated(module, slope)

    def _convolution(self, stage: Stage, slope: float | None) -> FusedConvolution:
        o = stage.layer.options
        window = Window(o.stride, o.pad, o.dilation, o.group)
        return FusedConvolution(self._shared(stage), window, METHODS[self.precision], slope)

    def _shared(self, stage: Stage) -> Weights:
        key = self.folding.key(stage)
        if key not in self._weights:
            own = self.net.module_of(stage.layer.name).blobs()[0]
            dtype = low_type(own) if self.precision == "bf16" else own.dtype
            form = torch.channels_last if self.last else torch.contiguous_format
            weight, bias = self.folding.convolution(stage)
            self._weights[key] = Weights(weight.to(dtype).contiguous(memory_format=form), bias.to(dtype))
        return self._weights[key]


# Modules whose top is memory of its own.
_FRESH = (FusedConvolution, SummedConvolutions, Residual, Sum)


def _spare(layers: Sequence[LayerSpec], modules: Sequence[nn.Module]) -> dict[str, int]:
    """By the name of a layer that adds, a term in whose memory it may do so once nobody else reads it.

    No reader of such a term may hand on a view of it under another name."""
    _, sources, results, _ = values(layers)
    fresh = {tops[0] for tops, module in zip(results, modules, strict=True) if isinstance(module, _FRESH)}
    for bottoms, module in zip(sources, modules, strict=True):
        fresh_top = isinstance(module, CaffeLayer) and module.fresh_top
        if not isinstance(module, _FRESH) and not fresh_top:
            fresh.difference_update(bottoms)
    spare = {}
    for layer, bottoms, module in zip(layers, sources, modules, strict=True):
        terms = range(len(bottoms)) if isinstance(module, Sum) else range(1, len(bottoms))
        own = [i for i in terms if bottoms[i] in fresh]
        if isinstance(module, Sum | Residual) and own:
            spare[layer.name] = own[-1]
    return spare
