"""Old layer formats made new: V0 to V1 to V2, all as messages of the union schema, and which dialect a text is in."""

from __future__ import annotations

from typing import Any

from prototxt_import import schema
from prototxt_import.errors import complain
from prototxt_import.layers import layer_types
from prototxt_import.prototxt.families import NO_ROW, family, family_v1, only_in

# What tells v1 where nothing does.
PLAIN_V1 = "`layers` blocks, and nothing that only BVLC has"


def v1_names() -> dict[str, str]:
    """V2 type name of each V1 enum name."""
    return {row.v1: row.name for row in layer_types() if row.v1}


def v0_names() -> dict[str, str]:
    """V1 enum name of each V0 type name."""
    return {old: row.v1 for row in layer_types() for old in row.v0}


def detect(net: Any) -> tuple[str, str]:
    """The dialect that a prototxt is written in, by what only that one has.

    `layers` without further evidence is taken for the v1 fork's, `layer` for BVLC's; both agree there with the rest but
    for the details in which a layer's options differ (see Context.dialect).

    Args:
        net: A NetParameter of the text schema.

    Returns:
        (dialect, what tells it, in words).
    """
    for layer in net.layers:
        if layer.HasField("layer"):
            return "v0", f"layer {layer.layer.name!r} has its fields in a nested `layer`"
    spoken, sign = family_v1(net) if net.layers else family(net)
    if spoken:
        return spoken, sign
    if net.layers:
        return _detect_v1(net)
    fork = next((evidence for layer in net.layer if (evidence := _fork_evidence(layer))), "")
    late_layers = (layer for layer in net.layer if layer.type in NO_ROW or only_in(layer.type) == "bvlc")
    late = next((f"{layer.type} (layer {layer.name!r})" for layer in late_layers), "")
    if late and fork:
        return "x2", f"{fork} beside {late}"
    if late:
        return "bvlc", late
    return ("v2", fork) if fork else ("bvlc", "`layer` blocks, and nothing that only a fork has")


def _detect_v1(net: Any) -> tuple[str, str]:
    names = net.layers[0].LayerType
    for layer in net.layers:
        if layer.type == names.DECONVOLUTION or layer.HasField("loss_param"):
            sign = "loss_param" if layer.HasField("loss_param") else "DECONVOLUTION"
            return "bvlc", f"{sign} (layer {layer.name!r}) in `layers` blocks"
    if net.input_shape:
        return "bvlc", "input_shape with `layers` blocks"
    kinds = v1_names()
    for layer in net.layers:
        kind = names.Name(layer.type)
        if layer.convolution_param.HasField("hole") or only_in(kinds.get(kind, "")) == "forks":
            sign = "hole" if layer.convolution_param.HasField("hole") else kind
            return "v1", f"{sign} (layer {layer.name!r}) in `layers` blocks"
    return "v1", PLAIN_V1


def _fork_evidence(layer: Any) -> str:
    """What in a V2 layer only the forks have; '' where nothing is."""
    fields = (
        ("scale_factors", layer.transform_param.scale_factors),
        ("update_global_stats", layer.batch_norm_param.update_global_stats),
        ("hole", layer.convolution_param.HasField("hole")),
        (layer.type, only_in(layer.type) == "forks"),
    )
    return next((f"{sign} (layer {layer.name!r})" for sign, there in fields if there), "")


def v1_to_v2(old: Any) -> Any:
    """A V1 layer as a V2 one.

    Args:
        old: A V1LayerParameter of the text schema.

    Returns:
        A LayerParameter.
    """
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
        param = new.param.add()
        if index < len(old.param) and old.param[index]:
            param.name = old.param[index]
        if index < len(old.blobs_lr):
            param.lr_mult = old.blobs_lr[index]
        if index < len(old.weight_decay):
            param.decay_mult = old.weight_decay[index]
        if index < len(old.blob_share_mode):
            param.share_mode = old.blob_share_mode[index]
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
    """A V0 layer (everything but bottom and top inside `layer`) as a V1 one.

    Args:
        old: A V1LayerParameter of the text schema.
        source: The file's name.
        line: The line that the layer begins on.

    Returns:
        Another V1LayerParameter; a field that its type lacks is dropped.

    Raises:
        CaffeFormatError: Nobody knows the type.
    """
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
    for descriptor, value in inner.ListFields():
        place = _v0_place(inner.type, descriptor.name)
        if place is None:
            continue
        target, name = getattr(new, place[0]), place[1]
        if hasattr(value, "CopyFrom"):
            getattr(target, name).CopyFrom(value)
        elif hasattr(getattr(target, name), "append"):
            getattr(target, name).append(value)
        else:
            setattr(target, name, value)
    if inner.HasField("hdf5_output_param"):
        new.hdf5_output_param.CopyFrom(inner.hdf5_output_param)
    return new


def _v0_place(kind: str, name: str) -> tuple[str, str] | None:
    """The message of a newer layer, and the field in it, where a V0 type's field goes; None where it goes nowhere."""
    group = next((row.field for row in layer_types() if kind in row.v0), "")
    messages = schema.message("text", "V1LayerParameter").DESCRIPTOR.fields_by_name
    if group not in messages:  # the first newer format has no message for it
        return None
    if name in _V0_TRANSFORM and group.endswith("data_param"):
        return "transform_param", _V0_TRANSFORM[name]
    new = _V0_FIELDS.get(name, "")
    return (group, new) if new in messages[group].message_type.fields_by_name else None


# Fields of V0's flat message that every layer may have.
_V0_COMMON = ("name", "type", "blobs", "blobs_lr", "weight_decay", "hdf5_output_param")


def v0_unfitting(old: Any) -> list[str]:
    """The fields of a V0 layer that its type has not; Caffe warns of them.

    Args:
        old: A V1LayerParameter of the text schema.

    Returns:
        Their names, none for newer layers.
    """
    if not old.HasField("layer") or old.layer.type == "padding":
        return []
    names = (field.name for field, _ in old.layer.ListFields() if field.name not in _V0_COMMON)
    return [name for name in names if _v0_place(old.layer.type, name) is None]


def fold_padding(layers: list[Any], source: str, lines: list[int | None]) -> tuple[list[Any], list[int | None]]:
    """Write V0's `padding` layers into the convolutions and poolings that read them, which take over their bottoms.

    Args:
        layers: V1LayerParameters that hold V0 layers; they are changed.
        source: The file's name.
        lines: The line that each begins on.

    Returns:
        The other layers and their lines.

    Raises:
        CaffeFormatError: Another layer reads one.
    """
    padders = {layer.top[0]: layer for layer in layers if layer.layer.type == "padding" and layer.top and layer.bottom}
    folded: list[Any] = []
    folded_lines: list[int | None] = []
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
        folded.append(old)
        folded_lines.append(line)
    return folded, folded_lines


def upgraded(net: Any, source: str, lines: list[int | None]) -> tuple[list[Any], list[int | None]]:
    """All layers of a parsed net as V2 layers.

    Args:
        net: A NetParameter of the text schema.
        source: The file's name.
        lines: The line that each layer begins on.

    Returns:
        LayerParameters and their lines.

    Raises:
        CaffeFormatError: The net mixes formats, or an old layer cannot be made new.
    """
    if net.layer and net.layers:
        raise complain("mixes `layer` and `layers`; write all layers in one format", source=source)
    if not net.layers:
        return list(net.layer), lines
    layers = list(net.layers)
    flat = [layer.HasField("layer") for layer in layers]
    if any(flat):
        if not all(flat):
            raise complain("mixes V0 layers with newer ones", source=source, line=lines[flat.index(False)])
        layers, lines = fold_padding(layers, source, lines)
        layers = [v0_to_v1(layer, source, line) for layer, line in zip(layers, lines, strict=True)]
    return [v1_to_v2(layer) for layer in layers], lines
