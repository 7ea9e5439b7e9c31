"""Old layer formats made new: V0 to V1 to V2, all as messages of the union schema, and which dialect a text is in."""

from __future__ import annotations

from typing import Any

from prototxt_import import schema
from prototxt_import.errors import complain
from prototxt_import.layers import layer_types, lookup
from prototxt_import.prototxt.families import family, family_v1

# Types of BVLC Caffe after the v2 fork had left it that stand in no row: Input is no layer here, the others do not run.
_LATE = frozenset(["Input", "RNN", "LSTM", "LSTMUnit"])
# What tells v1 where nothing does.
PLAIN_V1 = "`layers` blocks, and nothing that only BVLC has"


def v1_names() -> dict[str, str]:
    """V2 type name of each V1 enum name."""
    return {one.v1: one.name for one in layer_types() if one.v1}


def v0_names() -> dict[str, str]:
    """V1 enum name of each V0 type name."""
    return {old: one.v1 for one in layer_types() for old in one.v0}


def detect(net: Any) -> tuple[str, str]:
    """The dialect a parsed prototxt is written in, by what only that one has; and what that is, in words.

    `layers` without further evidence is taken for the v1 fork's, `layer` for BVLC's; both agree there with the rest
    but for the details in which a layer's options differ (see Context.dialect)."""
    for one in net.layers:
        if one.HasField("layer"):
            return "v0", f"layer {one.layer.name!r} has its fields in a nested `layer`"
    spoken, told = family_v1(net) if net.layers else family(net)
    if spoken:
        return spoken, told
    if net.layers:
        return _detect_v1(net)
    fork = next((found for one in net.layer if (found := _fork_evidence(one))), "")
    late = next((f"{one.type} (layer {one.name!r})" for one in net.layer if _is_late(one.type)), "")
    if late and fork:
        return "x2", f"{fork} beside {late}"
    if late:
        return "bvlc", late
    return ("v2", fork) if fork else ("bvlc", "`layer` blocks, and nothing that only a fork has")


def _is_fork(type_name: str) -> bool:
    row = lookup(type_name)
    return row is not None and row.only_in == "forks"


def _is_late(type_name: str) -> bool:
    row = lookup(type_name)
    return type_name in _LATE or (row is not None and row.only_in == "bvlc")


def _detect_v1(net: Any) -> tuple[str, str]:
    names = net.layers[0].LayerType
    for one in net.layers:
        if one.type == names.DECONVOLUTION or one.HasField("loss_param"):
            what = "loss_param" if one.HasField("loss_param") else "DECONVOLUTION"
            return "bvlc", f"{what} (layer {one.name!r}) in `layers` blocks"
    if net.input_shape:
        return "bvlc", "input_shape with `layers` blocks"
    kinds = v1_names()
    for one in net.layers:
        kind = names.Name(one.type)
        if one.convolution_param.HasField("hole") or _is_fork(kinds.get(kind, "")):
            what = "hole" if one.convolution_param.HasField("hole") else kind
            return "v1", f"{what} (layer {one.name!r}) in `layers` blocks"
    return "v1", PLAIN_V1


def _fork_evidence(layer: Any) -> str:
    """What in a V2 layer only the forks have; '' where nothing is."""
    fields = (
        ("scale_factors", layer.transform_param.scale_factors),
        ("update_global_stats", layer.batch_norm_param.update_global_stats),
        ("hole", layer.convolution_param.HasField("hole")),
        (layer.type, _is_fork(layer.type)),
    )
    return next((f"{what} (layer {layer.name!r})" for what, there in fields if there), "")


def v1_to_v2(old: Any) -> Any:
    """A V1 layer message as LayerParameter."""
    new = schema.message("text", "LayerParameter")()
    new.name = old.name
    new.type = v1_names().get(old.LayerType.Name(old.type), old.LayerType.Name(old.type))
    new.bottom.extend(old.bottom)
    new.top.extend(old.top)
    new.loss_weight.extend(old.loss_weight)
    new.include.MergeFrom(old.include)
    new.exclude.MergeFrom(old.exclude)
    new.blobs.MergeFrom(old.blobs)
    for descriptor, value in old.ListFields():
        if descriptor.name.endswith("_param") and descriptor.name in new.DESCRIPTOR.fields_by_name:
            getattr(new, descriptor.name).CopyFrom(value)
    for index in range(max(len(old.param), len(old.blobs_lr), len(old.weight_decay), len(old.blob_share_mode))):
        one = new.param.add()
        if index < len(old.param) and old.param[index]:
            one.name = old.param[index]
        if index < len(old.blobs_lr):
            one.lr_mult = old.blobs_lr[index]
        if index < len(old.weight_decay):
            one.decay_mult = old.weight_decay[index]
        if index < len(old.blob_share_mode):
            one.share_mode = old.blob_share_mode[index]
    return new


# Where the fields of V0's flat message went: to the message of the type, under this name if it changed.
_V0_FIELDS = {
    "num_output": "num_output",
    "biasterm": "bias_term",
    "weight_filler": "weight_filler",
    "bias_filler": "bias_filler",
    "pad": "pad",
    "kernelsize": "kernel_size",
    "group": "group",
    "stride": "stride",
    "pool": "pool",
    "dropout_ratio": "dropout_ratio",
    "local_size": "local_size",
    "alpha": "alpha",
    "beta": "beta",
    "k": "k",
    "source": "source",
    "batchsize": "batch_size",
    "rand_skip": "rand_skip",
    "det_fg_threshold": "fg_threshold",
    "det_bg_threshold": "bg_threshold",
    "det_fg_fraction": "fg_fraction",
    "det_context_pad": "context_pad",
    "det_crop_mode": "crop_mode",
    "new_height": "new_height",
    "new_width": "new_width",
    "shuffle_images": "shuffle",
    "concat_dim": "concat_dim",
}
_V0_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}


def v0_to_v1(old: Any, source: str, line: int | None) -> Any:
    """A V0 layer (everything but bottom and top inside `layer`) as V1 message; a field its type lacks is dropped.

    Raises CaffeFormatError for an unknown type."""
    inner = old.layer
    names = v0_names()
    if inner.type not in names:
        raise complain(f"unknown V0 type {inner.type!r}", source=source, line=line, layer=inner.name)
    new = type(old)()
    new.name = inner.name
    new.type = new.LayerType.Value(names[inner.type])
    new.bottom.extend(old.bottom)
    new.top.extend(old.top)
    new.blobs_lr.extend(inner.blobs_lr)
    new.weight_decay.extend(inner.weight_decay)
    new.blobs.MergeFrom(inner.blobs)
    group = next((one.field for one in layer_types() if inner.type in one.v0), "")
    target = getattr(new, group) if group else None
    for descriptor, value in inner.ListFields():
        if descriptor.name in _V0_TRANSFORM and target is not None and group.endswith("data_param"):
            setattr(new.transform_param, _V0_TRANSFORM[descriptor.name], value)
            continue
        name = _V0_FIELDS.get(descriptor.name)
        if name is None or target is None or name not in target.DESCRIPTOR.fields_by_name:
            continue
        if hasattr(value, "CopyFrom"):
            getattr(target, name).CopyFrom(value)
        elif hasattr(getattr(target, name), "append"):
            getattr(target, name).append(value)
        else:
            setattr(target, name, value)
    if inner.HasField("hdf5_output_param"):
        new.hdf5_output_param.CopyFrom(inner.hdf5_output_param)
    return new


def fold_padding(layers: list[Any], source: str, lines: list[int | None]) -> tuple[list[Any], list[int | None]]:
    """V0 `padding` layers written into the convolutions and poolings that read them, which take over their bottoms.

    Raises CaffeFormatError for any other reader."""
    padders = {one.top[0]: one for one in layers if one.layer.type == "padding" and one.top and one.bottom}
    kept: list[Any] = []
    kept_lines: list[int | None] = []
    for old, line in zip(layers, lines, strict=True):
        if old.layer.type == "padding":
            continue
        for index, bottom in enumerate(old.bottom):
            if bottom in padders:
                if old.layer.type not in ("conv", "pool"):
                    raise complain(
                        f"reads padding layer {padders[bottom].layer.name!r}; only conv and pool can",
                        source=source,
                        line=line,
                        layer=old.layer.name,
                        type_name=old.layer.type,
                    )
                old.bottom[index] = padders[bottom].bottom[0]
                old.layer.pad = padders[bottom].layer.pad
        kept.append(old)
        kept_lines.append(line)
    return kept, kept_lines


def upgraded(net: Any, source: str, lines: list[int | None]) -> tuple[list[Any], list[int | None]]:
    """All layers of a parsed net as LayerParameter messages, each with its line."""
    if net.layer and net.layers:
        raise complain("mixes `layer` and `layers`; write all layers in one format", source=source)
    if not net.layers:
        return list(net.layer), lines
    layers = list(net.layers)
    flat = [one.HasField("layer") for one in layers]
    if any(flat):
        if not all(flat):
            raise complain("mixes V0 layers with newer ones", source=source, line=lines[flat.index(False)])
        layers, lines = fold_padding(layers, source, lines)
        layers = [v0_to_v1(one, source, line) for one, line in zip(layers, lines, strict=True)]
    return [v1_to_v2(one) for one in layers], lines
