"""The text of a net, in any dialect and one net state, to a NetSpec."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from prototxt_import import schema
from prototxt_import.errors import CaffeFormatError, complain
from prototxt_import.layers import Context
from prototxt_import.layers.data import TransformOptions
from prototxt_import.layers.messages import plain
from prototxt_import.layers.shapes import count
from prototxt_import.prototxt.drafts import draft, shared
from prototxt_import.prototxt.families import LATE_FORKS, decided, settled, stated_rules
from prototxt_import.prototxt.ignored import ignored_notes
from prototxt_import.prototxt.text import MAX_BYTES, parse, scan
from prototxt_import.prototxt.unknown import check_types, check_v1_types, check_v2_types
from prototxt_import.prototxt.upgrade import PLAIN_V1, detect, upgraded
from prototxt_import.spec import NetSpec, finish, fit
from prototxt_import.values import Array, Shape
from prototxt_import.wiring import check_shape, problem

DIALECTS = ("v0", *schema.FORKS)
# A layer's message as LayerParameter, and the line it begins on where that is known.
Placed = tuple[Any, int | None]


def net_of_text(
    text: str,
    source: str,
    phase: str,
    variables: Mapping[str, str] | None,
    dialect: str,
    level: int,
    stages: Sequence[str],
    stored: Callable[[str], int] = lambda name: 0,
) -> NetSpec:
    """The net of a prototxt's text in one state, without weights.

    Args:
        text: As in `parse_net`, like all that follow.
        source: What stands for the file name in errors.
        phase: "TRAIN" or "TEST".
        variables: What the placeholders were replaced by.
        dialect: "auto", or one of DIALECTS.
        level: The state's level.
        stages: The state's stages.
        stored: How many blobs the weights have for a layer, asked only where the text does not tell.

    Returns:
        The net.

    Raises:
        CaffeFormatError: As `parse_net` does.
    """
    if phase not in ("TRAIN", "TEST"):
        raise complain(f"phase is {phase!r}; it must be TRAIN or TEST")
    if dialect not in ("auto", *DIALECTS):
        raise complain(f"dialect is {dialect!r}; known are auto, {', '.join(DIALECTS)}")
    if len(text) > MAX_BYTES:
        raise complain(f"is larger than {MAX_BYTES // 2**20} MiB; that is no prototxt", source=source)
    net, block_lines = _parsed(text, source)
    asked = dialect != "auto"
    spoken, evidence = (dialect, "as asked for") if asked else detect(net)
    messages, lines = upgraded(net, source, block_lines)
    # As in Caffe the caller's phase stands for the file's, and its stages come on top of the file's.
    stages = tuple(dict.fromkeys((*net.state.stage, *stages)))
    state = (phase, level or net.state.level, stages)
    if not messages and not net.input:
        raise complain("holds no layers", source=source)
    loose = {id(new) for new, old in zip(messages, net.layers, strict=False) if not old.strict_dim}
    included: list[Placed] = []
    dropped: list[Any] = []
    for message, line in zip(messages, lines, strict=True):
        if _included(message, state, source, line):
            included.append((message, line))
        else:
            dropped.append(message)
    check_types(included, source)
    inputs = _inputs(net, included, source, late=spoken in LATE_FORKS)
    _check_dropped(net, inputs, included, dropped, source)
    placed = [(message, line) for message, line in included if message.type != "Input"]
    transforms = [
        message.transform_param
        for message, _ in included
        if message.type == "Input" and message.HasField("transform_param")
    ]
    stated = TransformOptions.of(transforms[0]) if transforms else None
    rules = stated_rules(text)

    def made(four_axes: bool) -> NetSpec:
        def context(message: Any) -> Context:
            return Context(
                phase=plain(message, "phase") if message.HasField("phase") else phase,
                dialect=spoken,
                bottoms=len(message.bottom),
                tops=len(message.top),
                asked=asked,
                stored=partial(stored, message.name),
                rule=rules.get(message.type, ""),
                strict_dim=id(message) not in loose,
                four_axes=four_axes,
            )

        drafts = [draft(message, line, context(message), source) for message, line in placed]
        layers, notes = settled(shared(drafts), spoken, asked, source)
        notes += ignored_notes(net, [message for message, _ in placed], spoken)
        spec = NetSpec(
            name=net.name,
            inputs=inputs,
            layers=layers,
            phase=phase,
            level=state[1],
            stages=stages,
            dialect=spoken,
            evidence=evidence,
            notes=notes,
            force_backward=net.force_backward,
            source=source,
            variables=dict(variables or {}),
            input_transform=stated,
        )
        return _with_text_blobs(decided(_with_nominal_sources(finish(spec))), [message for message, _ in placed])

    if "axes" in rules:
        return made(rules["axes"] == "four")
    # Every blob of the v1 fork has four axes; `layers` blocks that may be BVLC's get them where they must.
    if spoken != "v1" or evidence != PLAIN_V1:
        return made(spoken == "v1")
    try:
        return made(False)
    except CaffeFormatError:
        try:
            return made(True)
        except CaffeFormatError:
            pass
        raise


def _parsed(text: str, source: str) -> tuple[Any, list[int | None]]:
    """The text as a NetParameter, and the line on which each of its layers begins."""
    blocks = scan(text, source)
    check_v1_types(blocks, source)
    try:
        net = parse(text, "NetParameter", source, blocks)
    except CaffeFormatError:
        # A type nobody knows brings a parameter field nobody knows, at which the parser stops.
        check_v2_types(blocks, source)
        raise
    lines: list[int | None] = [block.line for block in blocks if block.keyword in ("layer", "layers")]
    layer_count = len(net.layer) + len(net.layers)
    # Only a file that writes its layers as a bracketed list keeps scan from seeing each on its own.
    return net, lines if len(lines) == layer_count else [None] * layer_count


def _with_text_blobs(spec: NetSpec, messages: Sequence[Any]) -> NetSpec:
    """`spec` with the blobs that stand in the text itself, which Caffe takes in place of fillers."""
    weights: dict[str, list[Array]] = {}
    for layer, message in zip(spec.layers, messages, strict=True):
        if not message.blobs:
            continue
        try:
            if len(message.blobs) != len(layer.params):
                raise ValueError(f"holds {len(message.blobs)} blobs for the {len(layer.params)} that it has")
            weights[layer.name] = [_text_blob(blob) for blob in message.blobs]
        except ValueError as error:
            raise problem(layer, spec.source, error) from None
    return fit(dataclasses.replace(spec, weights=weights), "the file's own blobs") if weights else spec


def _text_blob(message: Any) -> Array:
    values = np.array(message.double_data or message.data, np.float32)
    legacy = any(message.HasField(name) for name in ("num", "channels", "height", "width"))
    shape = (message.num, message.channels, message.height, message.width) if legacy else tuple(message.shape.dim)
    if count(check_shape(shape)) != values.size:
        raise ValueError(f"a blob of shape {list(shape)} has {values.size} numbers, not {count(shape)}")
    return values.reshape(shape)


def _with_nominal_sources(spec: NetSpec) -> NetSpec:
    """`spec` with likely shapes of sources that do not tell theirs, where they make the parameters' shapes known."""
    if all(layer.name in spec.param_shapes for layer in spec.layers if layer.params):
        return spec
    likely: dict[str, Shape] = {}
    for layer in spec.layers:
        if not layer.bottoms and any(top not in spec.blobs for top in layer.tops):
            likely.update(zip(layer.tops, layer.options.nominal(layer.tops) or (), strict=False))
    try:
        return finish(spec, {**spec.blobs, **likely}) if likely else spec
    except CaffeFormatError:
        return spec


def _included(message: Any, state: tuple[str, int, tuple[str, ...]], source: str, line: int | None) -> bool:
    if message.include and message.exclude:
        raise complain(
            "has both include and exclude rules; give one kind",
            source=source,
            line=line,
            layer=message.name,
            type_name=message.type,
        )
    if message.include:
        return any(_met(rule, state) for rule in message.include)
    return not any(_met(rule, state) for rule in message.exclude)


def _met(rule: Any, state: tuple[str, int, tuple[str, ...]]) -> bool:
    phase, level, stages = state
    return (
        (not rule.HasField("phase") or plain(rule, "phase") == phase)
        and (not rule.HasField("min_level") or level >= rule.min_level)
        and (not rule.HasField("max_level") or level <= rule.max_level)
        and all(stage in stages for stage in rule.stage)
        and not any(stage in stages for stage in rule.not_stage)
    )


def _check_dropped(
    net: Any, inputs: Mapping[str, Shape], included: Sequence[Placed], dropped: Sequence[Any], source: str
) -> None:
    """CaffeFormatError where a layer reads an input without shape, or what only a layer makes that the net's state
    leaves out."""
    makers = {top: message for message in dropped for top in message.top}
    made = {*inputs, *(top for message, _ in included for top in message.top)}
    for message, line in included:
        for bottom in message.bottom:
            if bottom in net.input and bottom not in made:
                raise complain(
                    f"bottom {bottom!r} is an input without a shape; give input_shape {{ dim: ... }} beside `input`",
                    source=source,
                    line=line,
                    layer=message.name,
                    type_name=message.type,
                )
            if bottom in makers and bottom not in made:
                maker = makers[bottom]
                kind = "include" if maker.include else "exclude"
                rules = " or ".join(f"{{ {' '.join(str(rule).split())} }}" for rule in getattr(maker, kind))
                raise complain(
                    f"bottom {bottom!r} comes from layer {maker.name!r} ({maker.type}), which {kind} {rules} leaves "
                    "out here; another phase, stage or level keeps it",
                    source=source,
                    line=line,
                    layer=message.name,
                    type_name=message.type,
                )


def _inputs(net: Any, included: Sequence[Placed], source: str, late: bool) -> dict[str, Shape]:
    """Legacy `input` fields and Input layers, which mean the same; late: by the rules of LATE_FORKS."""
    inputs: dict[str, Shape] = {}

    def add(name: str, shape: Shape, line: int | None) -> None:
        if name in inputs:
            raise complain(f"input {name!r} is declared twice", source=source, line=line)
        inputs[name] = shape

    names = list(net.input)
    dims = [] if late and net.input_shape else list(net.input_dim)
    if late:
        names = names if net.input_shape or dims else []
    if net.input_shape and dims:
        raise complain("gives both input_shape and input_dim; one of them is enough", source=source)
    shapes = [tuple(shape.dim) for shape in net.input_shape]
    if dims:
        if len(dims) < 4 * len(names) or (len(dims) > 4 * len(names) and not late):
            raise complain(f"has {len(dims)} input_dim for {len(names)} inputs; each takes 4", source=source)
        shapes = [tuple(dims[i : i + 4]) for i in range(0, len(dims), 4)]
    if late:
        shapes = shapes[: len(names)]  # what is over is never looked at
    if len(shapes) != len(names):
        raise complain(f"has {len(shapes)} input shapes for {len(names)} inputs", source=source)
    for name, shape in zip(names, shapes, strict=True):
        add(name, shape, None)
    for message, line in included:
        if message.type == "Input":
            shapes = [tuple(shape.dim) for shape in message.input_param.shape]
            if len(shapes) == 1:
                shapes *= len(message.top)
            if len(shapes) != len(message.top):
                fault = f"has {len(shapes)} shapes for {len(message.top)} tops; give one for all, or one each"
                raise complain(fault, source=source, line=line, layer=message.name, type_name="Input")
            for name, shape in zip(message.top, shapes, strict=True):
                add(name, shape, line)
    return inputs
