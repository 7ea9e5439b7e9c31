"""The plain ONNX operators that compute each Caffe layer; onnx_export walks the net.

`nodes` registers a type. A function gets the graph under construction, the layer, the names of its inputs and outputs
there, the shapes of its bottoms, and adds nodes; LookupError says what of a layer has no such form."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeplab_repro.layers.pool import Windows
from prototxt_import.values import LayerSpec, Shape

FLOAT_MIN = float(np.finfo(np.float32).min)


# An operator, its further inputs, its attributes.
Operation = tuple[str, Sequence[str], dict[str, object]]


class OnnxGraph:
    """Nodes and initializers, named uniquely after the layer that adds them."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}

    def constant(self, name: str, values: object, dtype: type = np.float32) -> str:
        """An initializer of that name, or the one that has it already."""
        from onnx import numpy_helper

        if name not in self.initializers:
            array: np.ndarray = np.ascontiguousarray(np.asarray(values, dtype))
            self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def node(self, op: str, inputs: Sequence[str], outputs: str | Sequence[str], **attributes: Any) -> None:
        """One operator of the default domain."""
        from onnx import helper

        outputs = [outputs] if isinstance(outputs, str) else list(outputs)
        name = f"{outputs[0]}:{op}"
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=name, **attributes))

    def chain(self, value: str, steps: Sequence[Operation], top: str) -> None:
        """Operators one after the other, each with further inputs and attributes; none copies."""
        for i, (op, more, attributes) in enumerate(steps or [("Identity", (), {})]):
            out = top if i >= len(steps) - 1 else f"{top}:{i}"
            self.node(op, [value, *more], out, **attributes)
            value = out


@dataclass
class Call:
    """One layer to be written: its learnable blobs under their names in the graph, the names of its inputs and
    outputs there, and the shapes of its bottoms."""

    graph: OnnxGraph
    layer: LayerSpec
    blobs: list[tuple[str, np.ndarray]]
    bottoms: list[str]
    tops: list[str]
    shapes: list[Shape]

    @property
    def options(self) -> Any:
        """The layer's options."""
        return self.layer.options

    def blob(self, i: int, shape: Sequence[int] | None = None) -> str:
        """The layer's learnable blob as an initializer, in its own shape or another."""
        name, values = self.blobs[i]
        return self.graph.constant(name, values if shape is None else values.reshape(shape))

    def constant(self, mark: str, values: object, dtype: type = np.float32) -> str:
        """Values as an initializer under the layer's name and a mark."""
        return self.graph.constant(f"{self.layer.name}/{mark}", values, dtype)

    def node(self, op: str, inputs: Sequence[str] | None = None, **attributes: object) -> None:
        """An operator that makes the layer's tops of its bottoms, or of other inputs."""
        self.graph.node(op, self.bottoms if inputs is None else inputs, self.tops, **attributes)

    def out(self) -> list[Shape]:
        """Shapes of the tops."""
        return list(self.options.shapes(self.shapes, len(self.tops)))


Emit = Callable[[Call], None]
TABLE: dict[str, Emit] = {}


def nodes(*types: str) -> Callable[[Emit], Emit]:
    """Function decorator: writes layers of these types."""

    def register(function: Emit) -> Emit:
        for name in types:
            TABLE[name] = function
        return function

    return register


@nodes("Convolution", "Deconvolution")
def _convolution(call: Call) -> None:
    weight = call.blob(0)
    bias = [call.blob(1, (-1,))] if len(call.blobs) > 1 else []
    for bottom, top in zip(call.bottoms, call.tops, strict=True):
        op = "Conv" if call.layer.type == "Convolution" else "ConvTranspose"
        call.graph.node(op, [bottom, weight, *bias], top, **window(call.options))


def window(options: Any) -> dict[str, object]:
    """Attributes of Conv and ConvTranspose."""
    return {
        "kernel_shape": list(options.kernel),
        "strides": list(options.stride),
        "pads": [*options.pad, *options.pad],
        "dilations": list(options.dilation),
        "group": options.group,
    }


@nodes("InnerProduct")
def _inner_product(call: Call) -> None:
    axis = call.options.axis % len(call.shapes[0])
    flat, product = f"{call.tops[0]}:flat", f"{call.tops[0]}:product"
    call.graph.node("Flatten", call.bottoms, flat, axis=axis)
    bias = [call.blob(1, (-1,))] if call.options.bias_term else []
    call.graph.node("Gemm", [flat, call.blob(0), *bias], product, transB=0 if call.options.transpose else 1)
    call.node("Reshape", [product, call.constant("shape", call.out()[0], np.int64)])


@nodes("Pooling")
def _pooling(call: Call) -> None:
    o = call.options
    if o.method == "STOCHASTIC" or len(call.tops) > 1:
        raise LookupError("stochastic pooling" if o.method == "STOCHASTIC" else "the mask of its second top")
    if o.global_pooling:
        call.node("GlobalMaxPool" if o.method == "MAX" else "GlobalAveragePool")
        return
    size, out = _map_size(call.shapes[0]), _map_size(call.out()[0])
    windows = Windows(size, out, o.kernel, o.stride, o.pad)
    # Caffe's windows may reach past the image on one side only, so that every side has a padding of its own.
    ends = [max((m - 1) * s + k - n - p, 0) for n, m, k, s, p in zip(size, out, o.kernel, o.stride, o.pad, strict=True)]
    bottom, pads = call.bottoms[0], [*o.pad, *ends]
    if any(end >= k for end, k in zip(ends, o.kernel, strict=True)):
        bottom, pads = _padded(call, pads, FLOAT_MIN if o.method == "MAX" else 0.0), [0] * 4
    attributes = {"kernel_shape": list(o.kernel), "strides": list(o.stride), "pads": pads}
    if o.method == "MAX":
        call.graph.node("MaxPool", [bottom], call.tops[0], **attributes)
        return
    steps: list[Operation] = [("AveragePool", (), {**attributes, "count_include_pad": 1})]
    areas = windows.areas().numpy()
    if (areas != math.prod(o.kernel)).any():
        # The overhang past the padding does not count.
        steps.append(("Mul", [call.constant("share", math.prod(o.kernel) / areas[None, None])], {}))
    call.graph.chain(bottom, steps, call.tops[0])


def _map_size(shape: Shape) -> tuple[int, int]:
    return shape[-2], shape[-1]


def _padded(call: Call, pads: Sequence[int], value: float) -> str:
    """The first bottom with (top, left, bottom, right) laid out as `value`."""
    name = f"{call.tops[0]}:padded"
    top, left, bottom, right = pads
    amounts = call.constant("pads", [0, 0, top, left, 0, 0, bottom, right], np.int64)
    call.graph.node("Pad", [call.bottoms[0], amounts, call.constant("fill", value)], name, mode="constant")
    return name


def _cut(call: Call, starts: dict[int, int], ends: dict[int, int], top: str, mark: str = "") -> None:
    axes = sorted(starts)
    bounds = ([starts[a] for a in axes], [ends[a] for a in axes], axes)
    names = ("starts", "ends", "axes")
    inputs = [call.constant(f"{name}{mark}", bound, np.int64) for name, bound in zip(names, bounds, strict=True)]
    call.graph.node("Slice", [call.bottoms[0], *inputs], top)


@nodes("Interp")
def _interp(call: Call) -> None:
    o, (n, c, h, w) = call.options, call.shapes[0]
    bottom, top = call.bottoms[0], call.tops[0]
    height, width = o.size(h, w)
    inner = (h + o.pad_beg + o.pad_end, w + o.pad_beg + o.pad_end)
    cropped = inner != (h, w)
    resized = inner != (height, width)
    if cropped:
        cut = f"{top}:cut" if resized else top
        _cut(call, {2: -o.pad_beg, 3: -o.pad_beg}, {2: h + o.pad_end, 3: w + o.pad_end}, cut)
        bottom = cut
    if resized:
        sizes = call.constant("sizes", [n, c, height, width], np.int64)
        mode = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
        call.graph.node("Resize", [bottom, "", "", sizes], top, **mode)
    elif not cropped:
        call.node("Identity")


@nodes("Padding")
def _padding(call: Call) -> None:
    o, (_, _, h, w) = call.options, call.shapes[0]
    if o.pad_beg < 0 or o.pad_end < 0:
        _cut(call, {2: -o.pad_beg, 3: -o.pad_beg}, {2: h + o.pad_end, 3: w + o.pad_end}, call.tops[0])
    else:
        padded = _padded(call, [o.pad_beg, o.pad_beg, o.pad_end, o.pad_end], 0.0)
        call.node("Identity", [padded])


@nodes("Crop")
def _crop(call: Call) -> None:
    source, target = call.shapes
    offsets = call.options.offsets(call.shapes)
    axes = range(call.options.axis % len(source), len(source))
    _cut(call, {a: offsets[a] for a in axes}, {a: offsets[a] + target[a] for a in axes}, call.tops[0])


@nodes("Eltwise")
def _eltwise(call: Call) -> None:
    o, terms = call.options, list(call.bottoms)
    if o.operation == "SUM":
        for i, coeff in enumerate(o.coeffs or ()):
            if coeff != 1:
                scaled = f"{call.tops[0]}:term{i}"
                call.graph.node("Mul", [terms[i], call.constant(f"coeff{i}", coeff)], scaled)
                terms[i] = scaled
    op = {"SUM": "Add", "PROD": "Mul", "MAX": "Max"}[o.operation]
    call.graph.chain(terms[0], [(op, [term], {}) for term in terms[1:]], call.tops[0])


@nodes("Concat")
def _concat(call: Call) -> None:
    call.node("Concat", axis=call.options.axis % len(call.shapes[0]))


@nodes("Slice")
def _slice(call: Call) -> None:
    axis = call.options.axis % len(call.shapes[0])
    sizes = [shape[axis] for shape in call.out()]
    call.node("Split", [*call.bottoms, call.constant("split", sizes, np.int64)], axis=axis)


@nodes("Split")
def _split(call: Call) -> None:
    for top in call.tops:
        call.graph.node("Identity", call.bottoms, top)


@nodes("Flatten", "Reshape")
def _reshape(call: Call) -> None:
    call.node("Reshape", [*call.bottoms, call.constant("shape", call.out()[0], np.int64)])


@nodes("Permute")
def _permute(call: Call) -> None:
    call.node("Transpose", perm=list(call.options.axes(len(call.shapes[0]))))


@nodes("Softmax")
def _softmax(call: Call) -> None:
    call.node("Softmax", axis=call.options.axis % len(call.shapes[0]))


@nodes("ArgMax")
def _argmax(call: Call) -> None:
    o = call.options
    if o.top_k != 1 or o.out_max_val or (o.axis is None and not o.per_pixel):
        raise LookupError("more than the index of the largest value along an axis")
    axis = 1 if o.per_pixel else o.axis % len(call.shapes[0])
    # Among equals Caffe sorts the larger index first.
    steps = [("ArgMax", (), {"axis": axis, "keepdims": 1, "select_last_index": 1}), ("Cast", (), {"to": 1})]
    call.graph.chain(call.bottoms[0], steps, call.tops[0])


@nodes("LRN")
def _lrn(call: Call) -> None:
    o = call.options
    if o.norm_region != "ACROSS_CHANNELS":
        raise LookupError("normalisation within a channel")
    call.node("LRN", alpha=o.alpha, beta=o.beta, bias=o.k, size=o.local_size)


@nodes("Dropout")
def _dropout(call: Call) -> None:
    call.node("Identity")


@nodes("Silence")
def _silence(call: Call) -> None:
    return


@nodes("ReLU")
def _relu(call: Call) -> None:
    slope = call.options.negative_slope
    call.node("LeakyRelu", alpha=slope) if slope else call.node("Relu")


@nodes("PReLU")
def _prelu(call: Call) -> None:
    shape = (-1, *[1] * (len(call.shapes[0]) - 2))
    call.node("PRelu", [*call.bottoms, call.blob(0, shape)])


@nodes("ELU")
def _elu(call: Call) -> None:
    call.node("Elu", alpha=call.options.alpha)


@nodes("Sigmoid", "TanH", "AbsVal", "BNLL")
def _function(call: Call) -> None:
    call.node({"Sigmoid": "Sigmoid", "TanH": "Tanh", "AbsVal": "Abs", "BNLL": "Softplus"}[call.layer.type])


@nodes("Power")
def _power(call: Call) -> None:
    o = call.options
    steps: list[Operation] = []
    for op, value, neutral in (("Mul", o.scale, 1), ("Add", o.shift, 0), ("Pow", o.power, 1)):
        if value != neutral:
            steps.append((op, [call.constant(op, value)], {}))
    call.graph.chain(call.bottoms[0], steps, call.tops[0])


@nodes("Clip")
def _clip(call: Call) -> None:
    call.node("Clip", [*call.bottoms, call.constant("min", call.options.min), call.constant("max", call.options.max)])
