"""Which of the forks that share a text is meant: what tells them apart in a file, and what follows for its layers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from google.protobuf import text_format

from prototxt_import import schema
from prototxt_import.layers.base import Context
from prototxt_import.layers.crfrnn import aligned
from prototxt_import.layers.loss import InfogainLossOptions
from prototxt_import.layers.resize import CropOptions
from prototxt_import.layers.table import lookup
from prototxt_import.spec import NetSpec
from prototxt_import.values import LayerSpec
from prototxt_import.wiring import problem

# The comment by which a written file says which meaning is meant where its text cannot: `# rules: Accuracy MISS`.
_RULES = re.compile(r"^# rules: (.*)$", re.MULTILINE)

_PSPNET_BN = ("slope_filler", "bias_filler", "momentum", "frozen")
_SEGNET_BN = ("scale_filler", "shift_filler", "bn_mode")
# Types of late BVLC Caffe (LayerType.late) that stand in no row: Input is no layer here, the others do not run.
NO_ROW = frozenset(["Input", "RNN", "LSTM", "LSTMUnit"])
# Forks that make an Input layer of `input` fields, and drop them where no shape is given.
LATE_FORKS = ("x2", "bvlc", "enet")


def only_in(type_name: str) -> str:
    """Whose files alone have a layer type.

    Args:
        type_name: Its V2 name.

    Returns:
        What LayerType.only_in says of it, "" for a type that is not registered.
    """
    row = lookup(type_name)
    return row.only_in if row is not None else ""


def stated_rules(text: str) -> dict[str, str]:
    """The meanings that a file's comment states.

    Args:
        text: The file's text.

    Returns:
        The rule of each layer type that is named there (see Options.rule).
    """
    comment = _RULES.search(text)
    pairs = (words.split() for words in comment[1].split(";")) if comment else ()
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def rules_comment(layers: Sequence[tuple[LayerSpec, Any]], dialect: str, phase: str) -> str:
    """The comment that makes written layers mean what they do here.

    It is needed where reading the text, in that dialect or with the dialect found out, gives another meaning.

    Args:
        layers: The layers, each with its message.
        dialect: The messages' dialect.
        phase: The net's phase.

    Returns:
        The comment's line, "" where none is needed.
    """
    rules = {}
    for layer, message in layers:
        rule = layer.options.rule()
        if not rule or dialect == "v1":
            continue
        read = schema.message("text", "LayerParameter")()
        text_format.Parse(text_format.MessageToString(message), read)
        spoken = [(dialect, True), ("bvlc", False)]
        contexts = [Context(phase, name, len(layer.bottoms), len(layer.tops), asked) for name, asked in spoken]
        if dialect == "text" or any(type(layer.options).parse(read, context).rule() != rule for context in contexts):
            rules[layer.type] = rule
    axes = {layer.options.four_axes for layer, _ in layers if hasattr(layer.options, "four_axes")}
    if True in axes or (axes and dialect in ("v1", "text")):
        # Of the net as a whole: whether tops keep four axes, as in the v1 fork.
        rules["axes"] = "four" if True in axes else "two"
    return f"# rules: {'; '.join(f'{kind} {rule}' for kind, rule in rules.items())}\n" if rules else ""


def family(net: Any) -> tuple[str, str]:
    """The sibling fork whose V2 text a parsed net is.

    Args:
        net: A NetParameter of the text schema.

    Returns:
        (dialect, what tells it), both "" where nothing does.
    """
    late = next((layer for layer in net.layer if _is_late(layer)), None)
    for layer in net.layer:
        where = f"(layer {layer.name!r})"
        if only_in(layer.type) == "crfrnn":
            return "crfrnn", f"{layer.type} {where}"
        four, two = _given(layer.bn_param, _PSPNET_BN), _given(layer.bn_param, _SEGNET_BN)
        if four:
            return "pspnet", f"{four} in bn_param {where}"
        if layer.type == "Python" and layer.python_param.module == "spatial_dropout":
            return "enet", f"the Python module spatial_dropout {where}"
        sign = f"{two} in bn_param" if two else _segnet_sign(layer)
        if sign:
            enet = next((beside for beside in net.layer if beside.python_param.module == "spatial_dropout"), late)
            if enet is None:
                return "segnet", f"{sign} {where}"
            return "enet", f"{sign} {where} beside {enet.type} (layer {enet.name!r})"
    crop = next((layer for layer in net.layer if layer.type == "Crop" and not layer.HasField("crop_param")), None)
    if crop is not None and late is None:
        edges = any(layer.type in ("Sigmoid", "SigmoidCrossEntropyLoss") for layer in net.layer)
        return "hed" if edges else "crfrnn", f"Crop without crop_param (layer {crop.name!r})"
    return "", ""


def family_v1(net: Any) -> tuple[str, str]:
    """`family` for V1 layers: CRF-RNN's first release, and DeconvNet, whose BN is SegNet's.

    Args:
        net: A NetParameter of the text schema.

    Returns:
        (dialect, what tells it), both "" where nothing does.
    """
    names = net.layers[0].LayerType
    kinds = {names.MULTI_STAGE_MEANFIELD: "crfrnn", names.BN: "segnet", names.UNPOOLING: "segnet", names.CROP: "crfrnn"}
    for kind, spoken in kinds.items():
        for layer in net.layers:
            if layer.type == kind:
                return spoken, f"{names.Name(kind)} (layer {layer.name!r})"
    return "", ""


def _given(message: Any, names: Sequence[str]) -> str:
    return next((name for name in names if message.HasField(name)), "")


def _is_late(layer: Any) -> bool:
    row = lookup(layer.type)
    late = layer.type in NO_ROW if row is None else row.late
    return late or layer.HasField("crop_param") or bool(layer.convolution_param.dilation)


def _segnet_sign(layer: Any) -> str:
    if only_in(layer.type) == "segnet":
        return str(layer.type)
    if layer.loss_param.weight_by_label_freqs or layer.loss_param.class_weighting:
        return "class_weighting"
    return "sample_weights_test" if layer.dropout_param.sample_weights_test else ""


def settled(
    layers: Sequence[LayerSpec], dialect: str, asked: bool, source: str
) -> tuple[tuple[LayerSpec, ...], tuple[str, ...]]:
    """Resolve what of layers depends on other layers.

    Args:
        layers: The net's layers.
        dialect: The file's dialect.
        asked: Whether somebody named the dialect.
        source: The file's name.

    Returns:
        The layers; and notes on what their text could also mean, where nobody named the dialect.

    Raises:
        CaffeFormatError: The bottoms of a Crop do not belong together.
    """
    result = list(layers)
    notes: dict[str, str] = {}
    for index, layer in enumerate(layers):
        options: Any = layer.options
        if isinstance(options, CropOptions) and options.automatic and len(layer.bottoms) == 2:
            try:
                offset = aligned(result, index)
            except ValueError as error:
                raise problem(layer, source, error) from None
            result[index] = dataclasses.replace(layer, options=dataclasses.replace(options, offset=offset))
        elif isinstance(options, InfogainLossOptions) and not options.takes:
            makers = (earlier.type for earlier in reversed(result[:index]) if {*layer.bottoms[:1]} & {*earlier.tops})
            if next(makers, "") == "Softmax":
                probabilities = dataclasses.replace(options, takes="probabilities")
                result[index] = dataclasses.replace(layer, options=probabilities)
        if not asked and layer.type not in notes and (doubt := result[index].options.other_meaning(dialect)):
            notes[layer.type] = f"layer {layer.name!r} ({layer.type}){doubt}"
    return tuple(result), tuple(notes.values())


def decided(spec: NetSpec) -> NetSpec:
    """Decide what only shapes tell: an InfogainLoss with labels for positions takes scores.

    Args:
        spec: The net, its shapes inferred.

    Returns:
        The net.
    """
    layers = []
    for layer in spec.layers:
        options: Any = layer.options
        if isinstance(options, InfogainLossOptions) and not options.takes and set(layer.bottoms) <= set(spec.blobs):
            shapes = [spec.blobs[bottom] for bottom in layer.bottoms]
            takes = "scores" if options.softmax_inside(shapes[0], shapes[1]) else "probabilities"
            layer = dataclasses.replace(layer, options=dataclasses.replace(options, takes=takes))
        layers.append(layer)
    return dataclasses.replace(spec, layers=tuple(layers))
