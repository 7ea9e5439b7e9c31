"""Nets as ONNX files of plain operators, for other runtimes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from deeplab_repro.export.onnx_nodes import TABLE, Call, OnnxGraph, window
from deeplab_repro.files.atomic import check_output_file, replacing
from deeplab_repro.net.fold import Stage, fold, is_channel_map
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.net.prepared import WeightFolding
from prototxt_import.values import LayerSpec, Shape

OPSET = 17
# The oldest format with that operator set, which older runtimes read too.
IR_VERSION = 8


def export_onnx(
    net: CaffeNet,
    path: str | os.PathLike[str],
    inputs: Mapping[str, Shape] | None = None,
    blobs: Sequence[str] | None = None,
) -> None:
    """Write a net of phase TEST as one ONNX file; whole, or not at all. The package `onnx` is needed.

    Inputs and outputs keep their names. Only operators of the default domain (opset 17) are used, single precision
    throughout; frozen BatchNorm, Scale and Bias are folded into convolutions as in CaffeNet.prepare, and Dropout is
    gone.

    Args:
        net: The net.
        path: The file.
        inputs: Shapes that the file is for, by name; else the net's own.
        blobs: Its outputs; else the net's.

    Raises:
        ValueError: Layers have no such form (DenseCRF, losses, ...); the message names all of them.
        CaffeFormatError: The shapes do not fit.
        ImportError: The package `onnx` is missing.
        OSError: The file cannot be written.

    Example:
        >>> from pathlib import Path
        >>> from deeplab_repro import CaffeNet, export_onnx
        >>> from prototxt_import import layer, make_net
        >>> net = CaffeNet(make_net("n", {"x": (1, 3, 8, 8)}, [layer("ReLU", "r", "x", "y")]))
        >>> export_onnx(net, "net.onnx")
        >>> Path("net.onnx").exists()
        True
    """
    check_output_file(path)
    model = onnx_model(net, inputs, blobs)
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def onnx_model(net: CaffeNet, inputs: Mapping[str, Shape] | None = None, blobs: Sequence[str] | None = None) -> Any:
    """The model that `export_onnx` writes.

    Args:
        net: As of `export_onnx`.
        inputs: As of `export_onnx`.
        blobs: As of `export_onnx`.

    Returns:
        An onnx.ModelProto.

    Raises:
        ImportError: The package onnx is missing.
        ValueError: The net cannot be said in ONNX.
    """
    try:
        import onnx
        from onnx import TensorProto, helper
    except ImportError as error:
        raise ImportError("the export to ONNX needs the package onnx: pip install 'deeplab-repro[onnx]'") from error
    if net.spec.phase != "TEST":
        raise ValueError(f"only nets of phase TEST can be exported to ONNX, this one is {net.spec.phase}")
    wanted = tuple(blobs if blobs is not None else net.spec.outputs)
    layers, needed = net.layers_for(wanted)
    fed = [name for name in wanted if name in net.inputs]
    if fed:
        raise ValueError(f"blob {fed[0]!r} is an input of the net; name other blobs to export")
    shapes: dict[str, Shape] = {name: tuple((inputs or {}).get(name, net.inputs[name])) for name in needed}
    writer = _Writer(net, layers, wanted, shapes)
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        writer.graph.nodes,
        net.spec.name or "net",
        [tensor(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [tensor(name, TensorProto.FLOAT, writer.shapes[name]) for name in wanted],
        list(writer.graph.initializers.values()),
    )
    model = helper.make_model(
        graph, producer_name="deeplab-repro", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class _Writer:
    """Writes layers in order; `shapes` grows by the last shape of every blob."""

    def __init__(self, net: CaffeNet, layers: Sequence[LayerSpec], wanted: Sequence[str], shapes: dict[str, Shape]):
        self.net, self.graph, self.shapes = net, OnnxGraph(), dict(shapes)
        self.folding = WeightFolding(net)
        self._names: dict[tuple[int, ...], str] = {}  # the layer under whose name shared weights stand
        stages = fold(layers, net.spec.param_shapes, net.spec.phase, wanted)
        merged = [stage.merged() for stage in stages]
        self._refuse(stages)
        last = {top: i for i, layer in enumerate(merged) for top in layer.tops}
        names = {name: name for name in shapes}
        for i, (stage, layer) in enumerate(zip(stages, merged, strict=True)):
            bottoms = [names[name] for name in layer.bottoms]
            bottom_shapes = [self.shapes[name] for name in layer.bottoms]
            # In ONNX every value has one name: a blob's goes to its last value, an input's to what is fed.
            final = (last[top] == i and top not in shapes for top in layer.tops)
            tops = [top if is_final else f"{top}@{layer.name}" for top, is_final in zip(layer.tops, final, strict=True)]
            for top, shape in zip(layer.tops, layer.options.shapes(bottom_shapes, len(layer.tops)), strict=False):
                self.shapes[top] = tuple(shape)
            self._stage(stage, bottoms, tops, bottom_shapes)
            names.update(zip(layer.tops, tops, strict=True))

    def _refuse(self, stages: Sequence[Stage]) -> None:
        shapes = self.net.spec.param_shapes
        parts = [layer for stage in stages for layer in (stage.layer, *stage.before)]
        missing = [layer for layer in parts if layer.type not in TABLE and not is_channel_map(layer, shapes)]
        if missing:
            told = ", ".join(f"{layer.name!r} ({layer.type})" for layer in missing)
            raise ValueError(f"no plain ONNX operators compute these layers: {told}; name other blobs to export")

    def _stage(self, stage: Stage, bottoms: list[str], tops: list[str], shapes: list[Shape]) -> None:
        relu = next((layer for layer in stage.after if layer.type == "ReLU"), None)
        outs = tops if relu is None else [f"{tops[0]}:{stage.layer.name}"]
        if stage.layer.type == "Convolution" and (stage.before or len(stage.after) > (relu is not None)):
            self._folded(stage, bottoms, outs)
        elif is_channel_map(stage.layer, self.net.spec.param_shapes):
            self._channel_map(stage, bottoms, outs, len(shapes[0]))
        else:
            self._emit(stage.layer, bottoms, outs, shapes)
        if relu is not None:
            self._emit(relu, outs, tops, shapes)

    def _emit(self, layer: LayerSpec, bottoms: list[str], tops: list[str], shapes: list[Shape]) -> None:
        blobs = [
            self._shared(blob, f"{layer.name}/{i}") for i, blob in enumerate(self.net.module_of(layer.name).blobs())
        ]
        try:
            TABLE[layer.type](Call(self.graph, layer, blobs, bottoms, tops, shapes))
        except LookupError as error:
            raise ValueError(
                f"layer {layer.name!r} ({layer.type}): no plain ONNX operators compute {error.args[0]}"
            ) from None

    def _shared(self, blob: nn.Parameter, name: str) -> tuple[str, np.ndarray]:
        """A learnable blob with the name it has in the file: the first layer's that uses it."""
        return self._names.setdefault((id(blob),), name), _array(blob)

    def _folded(self, stage: Stage, bottoms: list[str], tops: list[str]) -> None:
        key, name = self.folding.key(stage), stage.layer.name
        owner = self._names.setdefault(key, name)
        weights = [f"{owner}/folded_{mark}" for mark in ("weight", "bias")]
        if owner == name:
            for constant, values in zip(weights, self.folding.convolution(stage), strict=True):
                self.graph.constant(constant, _array(values))
        self.graph.node("Conv", [*bottoms, *weights], tops, **window(stage.layer.options))

    def _channel_map(self, stage: Stage, bottoms: list[str], tops: list[str], dim: int) -> None:
        shape = (-1, *[1] * (dim - 2))
        scale, shift = self.folding.channel_map([stage.layer, *stage.after])
        steps: list[tuple[str, list[str], dict[str, object]]] = [
            (op, [self.graph.constant(f"{stage.layer.name}/{op}", _array(values).reshape(shape))], {})
            for op, values in (("Mul", scale), ("Add", shift))
        ]
        self.graph.chain(bottoms[0], steps, tops[0])


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().float().numpy()
