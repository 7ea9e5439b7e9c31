"""The text of a net, in any dialect and one net state, to a NetSpec."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from prototxt_import.errors import CaffeFormatError, complain, nearest
from prototxt_import.layers import Context, layer_types, lookup
from prototxt_import.layers.base import LayerType
from prototxt_import.layers.messages import plain
from prototxt_import.layers.python import python_type
from prototxt_import.layers.shapes import count
from prototxt_import.prototxt.families import decided, settled, stated_rules
from prototxt_import.prototxt.text import MAX_BYTES, Block, parse, scan
from prototxt_import.prototxt.upgrade import PLAIN_V1, detect, upgraded, v1_names
from prototxt_import.spec import NetSpec, finish, fit
from prototxt_import.values import Array, LayerSpec, ParamSpec, Shape
from prototxt_import.wiring import check_shape, default_loss_weights, default_param, problem

DIALECTS = ("v0", "v1", "v2", "x2", "bvlc", "hed", "segnet", "enet", "pspnet", "crfrnn")
# Forks that make an Input layer of `input` fields, and drop them where no shape is given.
_LATE = ("x2", "bvlc", "enet")
# Unknown types, and layers of each, that an error names.
MAX_NAMES = 40


def net_of_text(
    text: str,
    source: str,
    phase: str,
    variables: Mapping[str, str] | None,
    dialect: str,
    level: int,
    stages: Sequence[str],
    stored: Callable[[str], int] | None = None,
) -> NetSpec:
    """The net of a prototxt's text in one state, without weights; arguments and errors as parse_net's.

    stored: how many blobs the weights have for a layer, asked only where the text does not tell."""
    if phase not in ("TRAIN", "TEST"):
        raise complain(f"phase is {phase!r}; it must be TRAIN or TEST")
    if dialect not in ("auto", *DIALECTS):
        raise complain(f"dialect is {dialect!r}; known are auto, {', '.join(DIALECTS)}")
    if len(text) > MAX_BYTES:
        raise complain(f"is larger than {MAX_BYTES // 2**20} MiB; that is no prototxt", source=source)
    blocks = scan(text, source)
    _check_v1_types(blocks, source)
    try:
        message = parse(text, "NetParameter", source, blocks)
    except CaffeFormatError:
        # A type nobody knows brings a parameter field nobody knows, at which the parser stops.
        _check_v2_types(blocks, source)
        raise
    spoken, evidence, asked = _dialect(message, dialect)
    lines: list[int | None] = [one.line for one in blocks if one.keyword in ("layer", "layers")]
    count = len(message.layer) + len(message.layers)
    # Only a file that writes its layers as a bracketed list keeps scan from seeing each on its own.
    messages, lines = upgraded(message, source, lines if len(lines) == count else [None] * count)
    # As in Caffe the caller's phase stands for the file's, and its stages come on top of the file's.
    stages = tuple(dict.fromkeys((*message.state.stage, *stages)))
    state = (phase, level or message.state.level, stages)
    if not messages and not message.input:
        raise complain("holds no layers", source=source)
    loose = {id(one) for one, old in zip(messages, message.layers, strict=False) if not old.strict_dim}
    kept: list[tuple[Any, int | None]] = []
    dropped: list[tuple[Any, int | None]] = []
    for one, line in zip(messages, lines, strict=True):
        (kept if _included(one, state, source, line) else dropped).append((one, line))
    _check_types(kept, source)
    inputs = _inputs(message, kept, source, late=spoken in _LATE)
    _check_dropped(message, kept, [one for one, _ in dropped], source)
    rules = stated_rules(text)

    def made(four_axes: bool) -> NetSpec:
        base = Context(phase, spoken, 0, 0, asked, four_axes=four_axes)
        drafts = [
            _layer(one, line, _context(base, one, stored, rules, id(one) not in loose), source)
            for one, line in kept
            if one.type != "Input"
        ]
        layers, notes = settled(_share(drafts), spoken, asked, source)
        spec = NetSpec(
            name=message.name,
            inputs=inputs,
            layers=layers,
            phase=phase,
            level=state[1],
            stages=stages,
            dialect=spoken,
            evidence=evidence,
            notes=notes,
            force_backward=message.force_backward,
            source=source,
            variables=dict(variables or {}),
        )
        return _with_text_blobs(decided(_with_nominal_sources(finish(spec))), kept)

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


def _with_text_blobs(spec: NetSpec, kept: Sequence[tuple[Any, int | None]]) -> NetSpec:
    """`spec` with the blobs that stand in the text itself, which Caffe takes in place of fillers."""
    found: dict[str, list[Array]] = {}
    messages = [one for one, _ in kept if one.type != "Input"]
    for layer, message in zip(spec.layers, messages, strict=True):
        if not message.blobs:
            continue
        try:
            if len(message.blobs) != len(layer.params):
                raise ValueError(f"holds {len(message.blobs)} blobs for the {len(layer.params)} that it has")
            found[layer.name] = [_text_blob(one) for one in message.blobs]
        except ValueError as error:
            raise problem(layer, spec.source, error) from None
    return fit(dataclasses.replace(spec, weights=found), "the file's own blobs") if found else spec


def _text_blob(message: Any) -> Array:
    values = np.array(message.double_data or message.data, np.float32)
    legacy = any(message.HasField(name) for name in ("num", "channels", "height", "width"))
    shape = (message.num, message.channels, message.height, message.width) if legacy else tuple(message.shape.dim)
    if count(check_shape(shape)) != values.size:
        raise ValueError(f"a blob of shape {list(shape)} has {values.size} numbers, not {count(shape)}")
    return values.reshape(shape)


def _dialect(net: Any, asked_for: str) -> tuple[str, str, bool]:
    """The dialect, what tells it, and whether the caller named it."""
    return (*detect(net), False) if asked_for == "auto" else (asked_for, "as asked for", True)


def _context(
    base: Context, message: Any, stored: Callable[[str], int] | None, rules: Mapping[str, str], strict_dim: bool
) -> Context:
    return dataclasses.replace(
        base,
        phase=plain(message, "phase") if message.HasField("phase") else base.phase,
        strict_dim=strict_dim,
        bottoms=len(message.bottom),
        tops=len(message.top),
        stored=stored(message.name) if stored is not None and message.type == "BN" else 0,
        rule=rules.get(message.type, ""),
    )


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


def _check_v1_types(blocks: list[Block], source: str) -> None:
    """V1 types are enum values, at the first of which protobuf would stop; so all unknown ones are told here."""
    named = [one for one in blocks if one.keyword == "layers" and one.words.get("type", "").isidentifier()]
    _check_block_types(named, {*v1_names(), "NONE"}, source)


def _check_v2_types(blocks: list[Block], source: str) -> None:
    named = [one for one in blocks if one.keyword == "layer" and one.words.get("type", "")[:1] in ("'", '"')]
    _check_block_types(named, {*(one.name for one in layer_types()), "Input"}, source)


def _check_block_types(blocks: Sequence[Block], known: set[str], source: str) -> None:
    told = [(_word(one, "type"), _word(one, "name"), one.line) for one in blocks]
    wrong = [one for one in told if one[0] not in known]
    if wrong:
        raise _unknown_types(wrong, known, source)


def _word(block: Block, name: str) -> str:
    return block.words.get(name, "").strip("\"'")


def _check_types(kept: list[tuple[Any, int | None]], source: str) -> None:
    known = {one.name for one in layer_types()}
    wrong = [(one.type, one.name, line) for one, line in kept if one.type not in known and one.type != "Input"]
    if wrong:
        raise _unknown_types(wrong, known, source)


def _unknown_types(wrong: Sequence[tuple[str, str, int | None]], known: set[str], source: str) -> CaffeFormatError:
    by_type: dict[str, list[str]] = {}
    for kind, name, _ in wrong:
        by_type.setdefault(kind, []).append(repr(name))
    told = []
    for kind, names in list(by_type.items())[:MAX_NAMES]:
        shown = ", ".join(names[:MAX_NAMES]) + (f" and {len(names) - MAX_NAMES} more" if names[MAX_NAMES:] else "")
        hint = nearest(kind, known).removeprefix("; ").rstrip("?")
        told.append(f"{kind or 'no type'} (layer{'s' * (len(names) > 1)} {shown}{'; ' + hint if hint else ''})")
    if len(by_type) > MAX_NAMES:
        told.append(f"and {len(by_type) - MAX_NAMES} more types")
    return complain(
        f"unknown layer type{'s' if len(told) > 1 else ''}: {'; '.join(told)}; "
        "prototxt_import.layer_type registers a type of your own",
        source=source,
        line=wrong[0][2],
    )


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
        and all(one in stages for one in rule.stage)
        and not any(one in stages for one in rule.not_stage)
    )


def _check_dropped(net: Any, kept: list[tuple[Any, int | None]], dropped: Sequence[Any], source: str) -> None:
    """CaffeFormatError where a layer reads what only a layer makes that the net's state leaves out."""
    makers = {top: one for one in dropped for top in one.top}
    made = {*net.input, *(top for one, _ in kept for top in one.top)}
    for one, line in kept:
        for bottom in one.bottom:
            if bottom in makers and bottom not in made:
                maker = makers[bottom]
                kind = "include" if maker.include else "exclude"
                rules = " or ".join(f"{{ {' '.join(str(rule).split())} }}" for rule in getattr(maker, kind))
                raise complain(
                    f"bottom {bottom!r} comes from layer {maker.name!r} ({maker.type}), which {kind} {rules} leaves "
                    "out here; another phase, stage or level keeps it",
                    source=source,
                    line=line,
                    layer=one.name,
                    type_name=one.type,
                )


def _inputs(net: Any, kept: list[tuple[Any, int | None]], source: str, late: bool) -> dict[str, Shape]:
    """Legacy `input` fields and Input layers, which mean the same; late: by the rules of _LATE."""
    found: dict[str, Shape] = {}

    def add(name: str, shape: Shape, line: int | None) -> None:
        if name in found:
            raise complain(f"input {name!r} is declared twice", source=source, line=line)
        found[name] = shape

    names = list(net.input)
    dims = [] if late and net.input_shape else list(net.input_dim)
    if late:
        names = names if net.input_shape or dims else []
    if net.input_shape and dims:
        raise complain("gives both input_shape and input_dim; one of them is enough", source=source)
    shapes = [tuple(one.dim) for one in net.input_shape]
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
    for message, line in kept:
        if message.type == "Input":
            shapes = [tuple(one.dim) for one in message.input_param.shape]
            if len(shapes) == 1:
                shapes *= len(message.top)
            if len(shapes) != len(message.top):
                what = f"has {len(shapes)} shapes for {len(message.top)} tops; give one for all, or one each"
                raise complain(what, source=source, line=line, layer=message.name, type_name="Input")
            for name, shape in zip(message.top, shapes, strict=True):
                add(name, shape, line)
    return found


@dataclasses.dataclass(frozen=True)
class _Draft:
    """A layer whose multipliers may yet come from a sharer: None where the file says nothing."""

    layer: LayerSpec
    row: LayerType
    multipliers: tuple[tuple[float | None, float | None], ...]
    default: ParamSpec


def _layer(message: Any, line: int | None, context: Context, source: str) -> _Draft:
    if message.type == "Python":
        message.type = python_type(message)
    row = lookup(message.type)
    assert row is not None  # _check_types has seen it
    try:
        options = row.options.parse(message, context)
        blobs = options.blob_count(context.bottoms)
        entries = list(message.param)
        if row.frozen and context.dialect in _LATE:
            if len(entries) == blobs:
                # They drop these blocks, names included, when they load a file.
                entries = []
            if any(one.lr_mult for one in entries):
                raise ValueError("Caffe refuses an lr_mult other than 0 for its statistics; give lr_mult: 0, or none")
        if len(entries) > blobs:
            raise ValueError(f"has {len(entries)} param entries for {blobs} learnable blobs")
        weights = tuple(plain(message, "loss_weight")) or default_loss_weights(row, context.tops)
        if len(weights) != max(context.tops, row.loss):
            raise ValueError(f"has {len(weights)} loss_weight for {context.tops} tops")
        if message.propagate_down and len(message.propagate_down) != context.bottoms:
            raise ValueError(f"has {len(message.propagate_down)} propagate_down for {context.bottoms} bottoms")
    except (ValueError, OverflowError) as error:
        raise complain(str(error), source=source, line=line, layer=message.name, type_name=message.type) from None
    params = [ParamSpec(name=one.name, share_mode=plain(one, "share_mode")) for one in entries]
    multipliers: list[tuple[float | None, float | None]] = [
        (
            plain(one, "lr_mult") if one.HasField("lr_mult") else None,
            plain(one, "decay_mult") if one.HasField("decay_mult") else None,
        )
        for one in entries
    ]
    missing = blobs - len(entries)
    layer = LayerSpec(
        name=message.name,
        type=message.type,
        bottoms=tuple(message.bottom),
        tops=tuple(message.top),
        options=options,
        params=(*params, *[ParamSpec()] * missing),
        loss_weights=weights,
        propagate_down=tuple(message.propagate_down),
        phase=plain(message, "phase") if message.HasField("phase") else "",
        strict_dim=context.strict_dim,
        line=line,
    )
    # The v2 fork does not set the rates of BatchNorm's blobs to 0: weight decay shrinks them unless the file does.
    default = ParamSpec() if row.name == "BatchNorm" and context.dialect == "v2" else default_param(row)
    return _Draft(layer, row, (*multipliers, *[(None, None)] * missing), default)


def _share(drafts: Sequence[_Draft]) -> tuple[LayerSpec, ...]:
    """Settle multipliers: blobs of one name take what any of them is given; wiring.check_sharing judges conflicts."""
    settled: dict[tuple[str, int], float] = {}
    for draft in drafts:
        for param, given in zip(draft.layer.params, draft.multipliers, strict=True):
            for fact, value in enumerate(given):
                if param.name and value is not None:
                    settled.setdefault((param.name, fact), value)
    result = []
    for draft in drafts:
        default = draft.default
        params = []
        fixed = draft.layer.options.fixed_blobs()
        for index, (param, (rate, decay)) in enumerate(zip(draft.layer.params, draft.multipliers, strict=True)):
            if index in fixed:
                rate = decay = 0.0
            if rate is None:
                rate = settled.get((param.name, 0), default.lr_mult)
            if decay is None:
                decay = settled.get((param.name, 1), default.decay_mult)
            params.append(dataclasses.replace(param, lr_mult=rate, decay_mult=decay))
        result.append(dataclasses.replace(draft.layer, params=tuple(params)))
    return tuple(result)
