"""Fields of a layer or net that change nothing, and what is said of those that someone may have set for a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prototxt_import.layers.data import SKIPPING
from prototxt_import.prototxt.upgrade import v0_unfitting

_ENGINE = "which of Caffe's implementations computes, with the same numbers"
_V0 = "is taken over into no newer layer by Caffe's own upgrade"

# Nobody is told of these, by message and field: they have no effect on what Caffe computes, whoever sets them.
NO_EFFECT: dict[tuple[str, str], str] = {
    ("ConvolutionParameter", "engine"): _ENGINE,
    ("ConvolutionParameter", "force_nd_im2col"): "which of two routines unrolls windows, with the same numbers",
    ("PoolingParameter", "engine"): _ENGINE,
    ("SPPParameter", "engine"): _ENGINE,
    ("UnpoolingParameter", "engine"): _ENGINE,
    ("BNParameter", "engine"): _ENGINE,
    ("ReLUParameter", "engine"): _ENGINE,
    ("SigmoidParameter", "engine"): _ENGINE,
    ("TanHParameter", "engine"): _ENGINE,
    ("SoftmaxParameter", "engine"): _ENGINE,
    ("LRNParameter", "engine"): _ENGINE,
    ("DataParameter", "prefetch"): "how many batches are read ahead",
    ("WindowDataParameter", "cache_images"): "whether encoded images stay in memory",
    ("PythonParameter", "share_in_parallel"): "whether several GPUs share the layer",
    ("MultiStageMeanfieldParameter", "force_cpu"): "where the layer computes",
    ("MultiStageMeanfieldParameter", "forced_spatial_filter_weight"): "is read by nothing in the forks",
    ("MultiStageMeanfieldParameter", "forced_bilateral_filter_weight"): "is read by nothing in the forks",
    ("BlobProto", "diff"): "gradients that a snapshot was written with",
    ("BlobProto", "double_diff"): "gradients that a snapshot was written with",
    ("NetState", "phase"): "who builds the net, a solver or a caller, says the phase",
    ("V0LayerParameter", "new_num"): _V0,
    ("V0LayerParameter", "new_channels"): _V0,
    ("SolverParameter", "layer_wise_reduce"): "when several GPUs exchange gradients",
}

# By layer type ("" for any), the layer's field, and the field in that ("" for all of it): why it changes nothing.
NOTED: dict[tuple[str, str, str], str] = {
    ("Im2col", "convolution_param", "num_output"): "windows are laid out, nothing is computed",
    ("Im2col", "convolution_param", "bias_term"): "windows are laid out, nothing is computed",
    ("Im2col", "convolution_param", "group"): "windows are laid out, nothing is computed",
    ("Im2col", "convolution_param", "weight_filler"): "windows are laid out, nothing is computed",
    ("Im2col", "convolution_param", "bias_filler"): "windows are laid out, nothing is computed",
    ("SegAccuracy", "seg_accuracy_param", "metric"): "the layer gives all three numbers, as in the forks",
    ("SigmoidCrossEntropyLoss", "loss_param", "weight_by_label_freqs"): "SegNet has it in SoftmaxWithLoss alone",
    ("SigmoidCrossEntropyLoss", "loss_param", "class_weighting"): "SegNet has it in SoftmaxWithLoss alone",
    ("ImageSegData", "image_data_param", "has_label"): "the forks look at label_type",
    ("ImageSegData", "image_data_param", "max_labels"): "an image has one label map",
    ("ImageData", "image_data_param", "has_label"): "the forks look at label_type",
    ("ImageData", "image_data_param", "ignore_label"): "ImageData has no label maps",
    ("ImageSegData", "transform_param", "force_color"): "is_color decides; it is for encoded records of Data",
    ("ImageSegData", "transform_param", "force_gray"): "is_color decides; it is for encoded records of Data",
    ("ImageData", "transform_param", "force_color"): "is_color decides; it is for encoded records of Data",
    ("ImageData", "transform_param", "force_gray"): "is_color decides; it is for encoded records of Data",
    **{
        ("ImageLabelmapData", "image_data_param", name): "HED's Caffe has no such field"
        for name in ("has_label", "max_labels", "ignore_label", "label_type")
    },
    ("DenseImageData", "transform_param", "force_color"): "is_color decides; it is for encoded records of Data",
    ("DenseImageData", "transform_param", "force_gray"): "is_color decides; it is for encoded records of Data",
    ("DenseImageData", "transform_param", "scale_factors"): "SegNet's and ENet's Caffe have no such field",
    ("DenseImageData", "transform_param", "crop_height"): "dense_image_data_param has its own",
    ("DenseImageData", "transform_param", "crop_width"): "dense_image_data_param has its own",
    ("DenseImageData", "dense_image_data_param", "mean_file"): "the layer takes transform_param's",
    ("MemoryData", "transform_param", ""): "arrays that a program hands over are taken as they are, as in Caffe",
    ("HDF5Data", "hdf5_data_param", "shuffle"): (
        "honoured, in an order of this program's own: Caffe draws it from the C library, which differs by machine"
    ),
}
_LEFT_ALONE = ("rand_skip", "force_encoded_color")
_MOST = 5


def ignored_notes(net: Any, messages: Sequence[Any], dialect: str) -> tuple[str, ...]:
    """A sentence for each field that is set and changes nothing here, though one may expect it to.

    Args:
        net: The NetParameter as parsed.
        messages: LayerParameters of the layers that are part of the net.
        dialect: The net's.

    Returns:
        The sentences; a field that several layers set makes one.
    """
    layers: dict[tuple[str, str], list[str]] = {}
    for message in messages:
        where = f"{message.name!r}"
        for (kind, group, name), why in NOTED.items():
            if (
                message.type == kind
                and message.HasField(group)
                and (not name or _is_set(getattr(message, group), name))
            ):
                layers.setdefault((f"{group}.{name}".rstrip("."), why), []).append(where)
        if message.type == "Data" and dialect not in SKIPPING:
            for name in _LEFT_ALONE:
                if message.data_param.HasField(name):
                    why = "Caffe looks at it no more since August 2015; --dialect v1 or segnet does"
                    layers.setdefault((f"data_param.{name}", why), []).append(where)
    for old in net.layers:
        for name in v0_unfitting(old):
            layers.setdefault((name, "its type has no such field"), []).append(f"{old.layer.name!r}")
    notes = []
    if net.HasField("debug_info"):
        notes.append("debug_info of the net changes nothing: the solver's debug_info logs")
    for (field, why), names in layers.items():
        told = ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if names[_MOST:] else "")
        effect = why if why.startswith("honoured") else f"changes nothing: {why}"
        notes.append(f"{field} (layer {told}) {effect}")
    return tuple(notes)


def _is_set(message: Any, name: str) -> bool:
    return any(field.name == name for field, _ in message.ListFields())
