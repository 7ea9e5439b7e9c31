"""A classifier, or any net, made dense: fully connected layers to convolutions, the last strides to rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from deeplab_repro.net.blobs import at_size
from prototxt_import import CaffeFormatError, Filler, LayerSpec, NetSpec, ParamSpec
from prototxt_import import layer as make_layer
from prototxt_import.layers import lookup
from prototxt_import.spec import finish
from prototxt_import.values import Array, Shape
from prototxt_import.wiring import problem

Pair = tuple[int, int]

POOLINGS = ("exact", "window")
# Sizes tried beyond the net's own before its failure to fit is reported, in steps of the output stride.
_LARGER = 64
# One layer for each tap of a maximum that has a rate.
_MOST_TAPS = 32

_FROZEN = ParamSpec(lr_mult=0, decay_mult=0)


@dataclass(frozen=True)
class _Blob:
    """A blob of the dense net. stride: input pixels between elements in the original, (h, w); rate: how many times
    denser they are now; name: what it is called in the dense net; shape: the original's, before it was flattened."""

    name: str
    shape: Shape
    stride: Pair = (1, 1)
    rate: Pair = (1, 1)

    @property
    def is_map(self) -> bool:
        return len(self.shape) == 4


@dataclass
class _Dense:
    """The dense net under construction."""

    target: int
    pooling: str
    source: NetSpec
    layers: list[LayerSpec] = field(default_factory=list)
    blobs: dict[str, _Blob] = field(default_factory=dict)
    weights: dict[str, list[Array]] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)  # labels of layers left out

    def reads(self, blob: str) -> bool:
        return any(blob in layer.bottoms for layer in self.layers)

    def prune(self) -> None:
        """Take out the layers that worked for layers left out alone, such as what shrinks a loss's labels."""
        for layer in reversed(self.layers):
            if layer.tops and self.dropped.issuperset(layer.tops) and not any(map(self.reads, layer.tops)):
                self.layers.remove(layer)
                self.dropped.update(layer.bottoms)


def densify(spec: NetSpec, output_stride: int = 8, pooling: str = "exact", size: Pair | None = None) -> NetSpec:
    """The dense form of a net: one score every `output_stride` input pixels, from the same weights.

    An InnerProduct on maps becomes a Convolution of their size, global pooling a window of the size it had; where the
    stride would pass output_stride it goes, and every later kernel and its padding get a rate instead. Losses and
    accuracies of what has become a map are left out. An Interp that only zooms does so by as much less.

    Score (i, j) equals the original's on the image moved by (i, j) * output_stride, which is what shift-and-stitch
    computes, wherever its receptive field lies inside the image. Beyond the edges both see padding, but the original
    that of a moved image. Windows that Caffe's rounding up lets hang over the end have no score in the dense net.

    Args:
        spec: The net.
        output_stride: Input pixels from one score to the next.
        pooling: Caffe's has no rate. "exact" writes one of a rate as shifts (frozen depthwise convolutions of one tap,
            whose blobs join the weights) and their maximum, averages as a depthwise convolution; "window" takes all of
            the window's extent instead, as DeepLab did: the same receptive field, other values.
        size: (height, width) of the inputs; by default the net's own, or the next larger one that fits.

    Returns:
        The dense net.

    Raises:
        ValueError: output_stride is below 1, the pooling is another, or a size is given for a net without input maps.
        CaffeFormatError: A layer has no dense form, or a stride that output_stride neither divides nor is a multiple
            of; the message names it.

    Source:
        Chen et al. 2015, section 3.1, "hole algorithm".
    """
    if output_stride < 1:
        raise ValueError(f"output_stride is {output_stride}; it must be at least 1")
    if pooling not in POOLINGS:
        raise ValueError(f"pooling is {pooling!r}; known are {', '.join(POOLINGS)}")
    dense = _Dense(output_stride, pooling, spec, weights=dict(spec.weights))
    for name, shape in _sources(spec).items():
        dense.blobs[name] = _Blob(name, tuple(shape))
    for layer in spec.layers:
        if layer.bottoms:
            _add(dense, layer)
        else:
            dense.layers.append(layer)
    dense.prune()
    inputs = {name: shape for name, shape in spec.inputs.items() if name not in dense.dropped or dense.reads(name)}
    weights = {layer.name: dense.weights[layer.name] for layer in dense.layers if layer.name in dense.weights}
    unsized = replace(spec, inputs=inputs, layers=tuple(dense.layers), weights=weights, blobs={}, param_shapes={})
    return _sized(unsized, size, output_stride)


def _sources(spec: NetSpec) -> Mapping[str, Shape]:
    tops = [top for layer in spec.layers if not layer.bottoms for top in layer.tops]
    return {**spec.inputs, **{top: spec.blobs.get(top, ()) for top in tops}}


def _sized(spec: NetSpec, size: Pair | None, step: int) -> NetSpec:
    """`spec` with shapes inferred, at the size asked for, or at its own or the next larger one at which it fits."""

    def at(height: int, width: int) -> NetSpec:
        return finish(replace(spec, inputs=at_size(spec.inputs, (height, width))))

    own = next((shape[2:] for shape in spec.inputs.values() if len(shape) == 4), None)
    if own is None:
        if size is not None:
            raise ValueError(
                f"size is {size[0]}x{size[1]}, but the net has no input maps: its data layers give the size"
            )
        return finish(spec)
    if size is not None:
        return at(*size)
    try:
        return finish(spec)
    except CaffeFormatError as error:
        for more in range(step, _LARGER * step + 1, step):
            try:
                return at(own[0] + more, own[1] + more)
            except CaffeFormatError:
                continue
        raise error from None


def _add(dense: _Dense, layer: LayerSpec) -> None:
    """Append the dense form of a layer, whatever it becomes."""
    if any(name not in dense.blobs for name in layer.bottoms):  # a top of a layer left out
        return
    bottoms = [dense.blobs[name] for name in layer.bottoms]
    row = lookup(layer.type)
    scored = row is not None and (row.loss or row.scorer)
    labels = [name for blob, name in zip(bottoms, layer.bottoms, strict=True) if not _changed(dense, blob, name)]
    if scored and len(labels) < len(bottoms):
        dense.dropped.update(labels)
    elif layer.type == "InnerProduct" and bottoms[0].is_map:
        _inner_product(dense, layer, bottoms[0])
    elif layer.type == "Convolution":
        _convolution(dense, layer, bottoms)
    elif layer.type == "Pooling":
        _pooling(dense, layer, bottoms[0])
    elif _flattens(layer) and bottoms[0].is_map:
        # What reads a flattened map reads the map: only fully connected layers can.
        dense.blobs[layer.tops[0]] = bottoms[0]
    elif layer.type == "Interp":
        _interp(dense, layer, bottoms[0])
    else:
        _other(dense, layer, bottoms)


def _changed(dense: _Dense, blob: _Blob, name: str) -> bool:
    return blob.rate != (1, 1) or (blob.is_map and len(dense.source.blobs.get(name, ())) != 4)


def _flattens(layer: LayerSpec) -> bool:
    if layer.type == "Reshape":
        return bool(layer.options.dims == (0, -1) and layer.options.axis == 0)
    return layer.type == "Flatten" and layer.options.axis == 1 and layer.options.end_axis in (-1, 3)


def _put(dense: _Dense, layer: LayerSpec, bottoms: Sequence[_Blob], options: object, above: Sequence[_Blob]) -> None:
    """Append a layer under its own name with other options; `above`: a blob for each of its tops."""
    dense.layers.append(replace(layer, bottoms=tuple(blob.name for blob in bottoms), options=options))
    dense.blobs.update(zip(layer.tops, above, strict=True))


def _stepped(dense: _Dense, layer: LayerSpec, below: _Blob, stride: Pair, top: str) -> tuple[Pair, _Blob]:
    """The stride that remains of a layer's, and the blob above it."""
    steps, strides, rates = [], [], []
    for before, rate, step in zip(below.stride, below.rate, stride, strict=True):
        after = before * step
        kept = math.gcd(after, dense.target)
        if kept not in (after, dense.target):
            raise _unfit(
                dense, layer, f"brings the stride to {after}, which output_stride {dense.target} does not divide"
            )
        steps.append(kept // (before // rate))
        strides.append(after)
        rates.append(after // kept)
    shape = dense.source.blobs[top]
    return (steps[0], steps[1]), _Blob(top, shape, (strides[0], strides[1]), (rates[0], rates[1]))


def _scaled(values: Pair, rate: Pair) -> Pair:
    return values[0] * rate[0], values[1] * rate[1]


def _dilation(kernel: Pair, dilation: Pair, rate: Pair) -> Pair:
    """The dilation at a rate; a single tap has none."""
    height, width = (own * by if side > 1 else 1 for side, own, by in zip(kernel, dilation, rate, strict=True))
    return height, width


def _convolution(dense: _Dense, layer: LayerSpec, bottoms: Sequence[_Blob]) -> None:
    _alike(dense, layer, bottoms)
    rate, options = bottoms[0].rate, layer.options
    above = [_stepped(dense, layer, below, options.stride, top) for below, top in zip(bottoms, layer.tops, strict=True)]
    if len({step for step, _ in above}) > 1:
        raise _unfit(dense, layer, "reads maps of different strides, which would need different ones")
    options = replace(
        options,
        stride=above[0][0],
        pad=_scaled(options.pad, rate),
        dilation=_dilation(options.kernel, options.dilation, rate),
    )
    _put(dense, layer, bottoms, options, [blob for _, blob in above])


def _inner_product(dense: _Dense, layer: LayerSpec, below: _Blob) -> None:
    options = layer.options
    if options.axis not in (1, -3):
        raise _unfit(dense, layer, f"is fully connected from axis {options.axis} on; only 1 has a convolution's form")
    channels, *kernel = below.shape[1:]
    dense.layers.append(
        make_layer(
            "Convolution",
            layer.name,
            below.name,
            layer.tops,
            params=layer.params,
            loss_weights=layer.loss_weights,
            propagate_down=layer.propagate_down,
            num_output=options.num_output,
            kernel=tuple(kernel),
            dilation=_dilation((kernel[0], kernel[1]), (1, 1), below.rate),
            bias_term=options.bias_term,
            weight_filler=options.weight_filler,
            bias_filler=options.bias_filler,
        )
    )
    shape = (below.shape[0], options.num_output, 1, 1)
    dense.blobs[layer.tops[0]] = replace(below, name=layer.tops[0], shape=shape)
    if layer.name in dense.weights:
        weight, *bias = dense.weights[layer.name]
        rows = weight.T if options.transpose else weight
        dense.weights[layer.name] = [np.ascontiguousarray(rows).reshape(-1, channels, *kernel), *bias]


def _pooling(dense: _Dense, layer: LayerSpec, below: _Blob) -> None:
    options = layer.options
    if options.global_pooling:
        height, width = below.shape[2:]
        options = replace(options, kernel=(height, width), global_pooling=False)
    stride, above = _stepped(dense, layer, below, options.stride, layer.tops[0])
    extent = tuple(rate * (side - 1) + 1 for side, rate in zip(options.kernel, below.rate, strict=True))
    pad = _scaled(options.pad, below.rate)
    if below.rate == (1, 1) or dense.pooling == "window":
        options = replace(options, kernel=extent, stride=stride, pad=pad)
        _put(dense, layer, [below], options, [above, *[replace(above, name=top) for top in layer.tops[1:]]])
        return
    if len(layer.tops) > 1 or options.method == "STOCHASTIC":
        raise _unfit(dense, layer, 'pools at random or with a mask, which has no form of a rate but pooling "window"')
    if max(options.kernel) > _MOST_TAPS:
        raise _unfit(
            dense, layer, f'pools {max(options.kernel)} elements a side; of a rate that has no form but "window"'
        )
    if options.method == "AVE":
        window = options.kernel[0] * options.kernel[1]
        mean = Filler(value=1 / window)
        weight = np.full((below.shape[1], 1, *options.kernel), 1 / window, np.float32)
        _depthwise(dense, layer.name, below.name, layer.tops[0], weight, stride, pad, below.rate, mean)
    else:
        # The maximum of a rectangle is that of its rows' maxima.
        rows = f"{layer.name}_rows"
        _maxima(dense, (f"{layer.name}_row", rows, rows), below, below.name, options.kernel[0], stride, pad, 0)
        _maxima(
            dense, (f"{layer.name}_column", layer.name, layer.tops[0]), below, rows, options.kernel[1], stride, pad, 1
        )
    dense.blobs[layer.tops[0]] = above


def _maxima(
    dense: _Dense,
    names: tuple[str, str, str],
    below: _Blob,
    bottom: str,
    taps: int,
    stride: Pair,
    pad: Pair,
    axis: int,
) -> None:
    """The maximum over `taps` elements of an axis, a rate apart. names: of the shifts, of the maximum, of its blob.

    Zeros of the padding count, which changes nothing behind a ReLU."""
    shift, name, top = names
    along, steps, pads = ([least] * 2 for least in (1, 1, 0))
    along[axis], steps[axis], pads[axis] = taps, stride[axis], pad[axis]
    shifted = []
    for i in range(taps):
        kernel = np.zeros((below.shape[1], 1, taps), np.float32)
        kernel[:, :, i] = 1
        # Of one element there is no Eltwise: it is its own maximum.
        made, blob = (f"{shift}{i}", f"{shift}{i}") if taps > 1 else (name, top)
        window = kernel.reshape(-1, 1, *along)
        _depthwise(dense, made, bottom, blob, window, (steps[0], steps[1]), (pads[0], pads[1]), below.rate, Filler())
        shifted.append(blob)
    if taps > 1:
        dense.layers.append(make_layer("Eltwise", name, shifted, top, operation="MAX"))


def _depthwise(
    dense: _Dense,
    name: str,
    bottom: str,
    top: str,
    weight: Array,
    stride: Pair,
    pad: Pair,
    rate: Pair,
    filler: Filler,
) -> None:
    channels, _, height, width = weight.shape
    dense.layers.append(
        make_layer(
            "Convolution",
            name,
            bottom,
            top,
            params=[_FROZEN],
            num_output=channels,
            kernel=(height, width),
            stride=stride,
            pad=pad,
            dilation=_dilation((height, width), (1, 1), rate),
            group=channels,
            bias_term=False,
            weight_filler=filler,
        )
    )
    dense.weights[name] = [weight]


def _interp(dense: _Dense, layer: LayerSpec, below: _Blob) -> None:
    options = layer.options
    zoom, rate = options.zoom_factor, below.rate[0]
    only_zooms = zoom is not None and options.shrink_factor is None
    if below.rate != (1, 1):
        if not only_zooms or len(set(below.rate)) > 1 or zoom % rate:
            raise _unfit(dense, layer, f"resizes a map {rate} times as dense, other than by a multiple of that")
        options = replace(options, zoom_factor=zoom // rate)
    height, width = below.stride
    # Pixels of a scaled image count as the image's own.
    stride = (max(1, height // zoom), max(1, width // zoom)) if only_zooms else below.stride
    above = _Blob(layer.tops[0], dense.source.blobs[layer.tops[0]], stride)
    _put(dense, layer, [below], options, [above])


def _other(dense: _Dense, layer: LayerSpec, bottoms: Sequence[_Blob]) -> None:
    maps = [blob for blob in bottoms if blob.is_map]
    became = any(_changed(dense, blob, name) for blob, name in zip(bottoms, layer.bottoms, strict=True))
    options = layer.options
    if became:
        _alike(dense, layer, maps)
        options = options.per_position(flat=len(dense.source.blobs.get(layer.bottoms[0], ())) == 2)
        if options is None:
            raise _unfit(dense, layer, "has no dense form")
    first = maps[0] if maps else bottoms[0]
    above = []
    for top in layer.tops:
        shape = dense.source.blobs.get(top, ())
        above.append(replace(first, name=top, shape=(*shape, 1, 1) if became and len(shape) == 2 else shape))
    _put(dense, layer, bottoms, options, above)


def _alike(dense: _Dense, layer: LayerSpec, bottoms: Sequence[_Blob]) -> None:
    if len({blob.rate for blob in bottoms}) > 1:
        rates = ", ".join(f"{blob.name} {blob.rate[0]}" for blob in bottoms)
        raise _unfit(dense, layer, f"joins maps that became denser by different factors ({rates})")


def _unfit(dense: _Dense, layer: LayerSpec, reason: str) -> CaffeFormatError:
    return problem(layer, dense.source.source, reason)
