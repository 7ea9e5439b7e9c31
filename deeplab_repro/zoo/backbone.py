"""DeepLab on any classifier: cut at its last feature map, made dense, with the papers' head on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deeplab_repro.net.densify import densify
from deeplab_repro.zoo.normalised import normalised
from deeplab_repro.zoo.parts import HE, IGNORE_LABEL
from deeplab_repro.zoo.training import MEAN_BGR
from deeplab_repro.zoo.vgg16 import ASPP_L, ASPP_S, Head, head_layers
from prototxt_import import Filler, LayerSpec, NetSpec, ParamSpec, layer, make_net
from prototxt_import.errors import nearest
from prototxt_import.layers import lookup
from prototxt_import.values import Array
from prototxt_import.wiring import problem

# Rates at stride 8, as the papers have them; at another stride the field of view stays, and the rates follow.
PAPER_STRIDE = 8
HEADS: Mapping[str, tuple[int, ...]] = {"largefov": (12,), "aspp-s": ASPP_S, "aspp-l": ASPP_L}
SIDE = 321
_FROZEN = ParamSpec(lr_mult=0, decay_mult=0)


def backbone_spec(
    classifier: NetSpec,
    num_classes: int,
    head: str = "largefov",
    output_stride: int = 16,
    phase: str = "TEST",
    size: tuple[int, int] | None = None,
    batch: int = 1,
    cut: str | None = None,
    fc_channels: int = 1024,
    score_layer: str = "fc8_voc12",
    frozen_until: str | None = None,
    normalised_head: bool = False,
    full_size_loss: bool = False,
) -> NetSpec:
    """Put a head of DeepLab on a classifier.

    Its layers after the last feature map go, the strides beyond `output_stride` become rates (`densify`), and fc6, fc7
    and the classifier follow, drawn by the papers' fillers and with ten times the rate of the rest. Convolutions learn
    with lr_mult 1 and 2, BatchNorm and Scale are frozen, as in the released ResNet-101 nets. The same weights give
    equal scores on the shared grid at any output stride.

    Args:
        classifier: The net in phase TEST, with or without weights.
        num_classes: Outputs of the layer `score_layer`.
        head: A key of HEADS.
        output_stride: Input pixels from one score to the next.
        phase: "TEST" ends in the scores at the image's size; "TRAIN" takes `label` as well and ends in loss and
            accuracy.
        size: (height, width) of the input `data` in pixels, by default 321x321.
        batch: Images of one pass.
        cut: The blob that the head reads, by default `feature_map` of the classifier.
        fc_channels: Outputs of fc6 and fc7.
        score_layer: The name of the score layer.
        frozen_until: Layers before the one of this name, or whose names begin with it and a slash, get lr_mult 0.
        normalised_head: Whether BatchNorm and Scale stand behind fc6 and fc7 (see `normalised`), to be folded later.
        full_size_loss: Whether the loss is over all pixels of the enlarged scores instead of the shrunk labels, as it
            is where a map's edges do not agree with the image's.

    Returns:
        The net, its shapes inferred, with the weights of the classifier's layers that are left.

    Raises:
        ValueError: A name is unknown, or the net has no feature map.
        CaffeFormatError: A layer has no dense form, or the size does not fit; the message names it.

    Source:
        Chen et al. 2015, section 3, and 2016, sections 3.1 and 4.1.

    Example:
        >>> from deeplab_repro.zoo.backbone import backbone_spec
        >>> from prototxt_import import layer, make_net
        >>> window = {"num_output": 8, "kernel": (3, 3), "stride": (2, 2), "pad": (1, 1)}
        >>> layers = [layer("Convolution", f"c{i}", "x" if i == 0 else f"c{i-1}", f"c{i}", **window) for i in range(5)]
        >>> layers += [layer("Pooling", "pool", "c4", "pool", method="AVE", global_pooling=True)]
        >>> classifier = make_net("n", {"x": (1, 3, 65, 65)}, layers)
        >>> backbone_spec(classifier, 21, output_stride=8, size=(65, 65)).blobs["fc8_voc12"]
        (1, 21, 9, 9)
    """
    if head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}, got {head!r}{nearest(head, HEADS)}")
    if phase not in ("TRAIN", "TEST"):
        raise ValueError(f"phase must be TRAIN or TEST, got {phase!r}")
    size = size or (SIDE, SIDE)
    cut = cut or feature_map(classifier)
    kept = _below(classifier, cut)
    image = _image_input(kept)
    dense = densify(kept.with_inputs({image: (batch, 3, *size)}), output_stride)
    strides = _strides(dense, image)[cut]
    if strides != (output_stride, output_stride):
        raise ValueError(
            f"{classifier.source or classifier.name}: blob {cut!r} has stride {strides[0]} x {strides[1]}; "
            f"output_stride {output_stride} asks for more than the net has"
        )
    layers = [_learning(part) for part in _renamed(dense.layers, image)]
    if frozen_until is not None:
        layers = _frozen_until(layers, frozen_until)
    # Rates of one tenth of an element do not exist: the nearest whole one.
    rates = tuple(max(1, round(rate * PAPER_STRIDE / output_stride)) for rate in HEADS[head])
    top = head_layers(cut, fc_channels, num_classes, score_layer, Head(rates=rates), rate=10)
    if normalised_head:
        shape = dense.blobs[cut]
        top = list(normalised(make_net("head", {cut: shape}, top, phase)).layers)
    scores = top[-1].tops[0]
    layers += top
    aligned = dense.blobs[cut][2:] == tuple((side - 1) // output_stride + 1 for side in size) and all(
        side % output_stride == 1 for side in size
    )
    inputs = {"data": (batch, 3, *size)}
    if phase == "TEST":
        # Where the edges do not agree, whoever reads the scores brings them to the image's size.
        layers += [_zoom(scores, output_stride)] if aligned else []
    else:
        inputs["label"] = (batch, 1, *size)
        layers += _training(scores, output_stride, size, aligned, full_size_loss)
    spec = make_net(classifier.name, inputs, layers, phase, _dialect(classifier))
    weights = {name: blobs for name, blobs in dense.weights.items() if name in spec.param_shapes}
    return replace(spec, weights=weights)


def feature_map(classifier: NetSpec) -> str:
    """The last feature map of a classifier: what the layer reads that makes a vector of it, or the last with weights.

    Args:
        classifier: The net.

    Returns:
        The blob's name.

    Raises:
        ValueError: No layer reads a map.

    Example:
        >>> from deeplab_repro import zoo
        >>> from deeplab_repro.zoo.backbone import feature_map
        >>> feature_map(zoo.spec("deeplab_largefov", width=0.1))
        'fc7'
    """
    last = max((i for i, part in enumerate(classifier.layers) if classifier.param_shapes.get(part.name)), default=-1)
    for i, part in enumerate(classifier.layers):
        below = classifier.blobs.get(part.bottoms[0], ()) if part.bottoms else ()
        if len(below) != 4:
            continue
        above = classifier.blobs.get(part.tops[0], ()) if part.tops else ()
        if i == last or (max(below[2:]) > 1 and (len(above) != 4 or max(above[2:]) == 1)):
            return part.bottoms[0]
    raise ValueError(f"{classifier.source or classifier.name}: no layer reads a feature map; name its blob")


def _below(classifier: NetSpec, cut: str) -> NetSpec:
    """The layers that make a blob, up to the last that writes it before the net goes on."""
    makers = [i for i, part in enumerate(classifier.layers) if cut in part.tops]
    if not makers:
        known = [top for part in classifier.layers for top in part.tops]
        raise ValueError(f"{classifier.source or classifier.name}: no layer makes blob {cut!r}{nearest(cut, known)}")
    wanted, layers = {cut}, []
    for part in reversed(classifier.layers[: makers[-1] + 1]):
        if wanted.intersection(part.tops):
            wanted.update(part.bottoms)
            layers.append(part)
    row = {part.name for part in layers}
    # An activation in place behind it that was trained on stays; a Dropout goes with the classifier.
    while layers and (found := lookup(layers[0].type)) is not None and found.train_only:
        layers.pop(0)
    inputs = {name: shape for name, shape in classifier.inputs.items() if name in wanted}
    bare = make_net(classifier.name, inputs, layers[::-1], "TEST", classifier.dialect)
    weights = {name: blobs for name, blobs in classifier.weights.items() if name in row}
    return replace(bare, weights=weights, source=classifier.source)


def _image_input(spec: NetSpec) -> str:
    images = [name for name, shape in spec.inputs.items() if len(shape) == 4 and shape[1] == 3]
    if len(images) != 1 or len(spec.inputs) != 1:
        listed = ", ".join(f"{name} {list(shape)}" for name, shape in spec.inputs.items()) or "none"
        raise ValueError(
            f"{spec.source or spec.name}: a backbone reads one image [N, 3, H, W], its inputs are {listed}; "
            "give the deploy.prototxt"
        )
    return images[0]


def _strides(spec: NetSpec, image: str) -> dict[str, tuple[int, int]]:
    """Input pixels between the elements of every blob."""
    strides = {image: (1, 1)}
    for part in spec.layers:
        below = [strides[name] for name in part.bottoms if name in strides]
        reach = part.options.reach(spec.blobs[part.bottoms[0]], spec.blobs[part.tops[0]])
        if not below or reach is None:
            continue
        step = int(reach[0][2]), int(reach[1][2])
        strides |= {top: (below[0][0] * step[0], below[0][1] * step[1]) for top in part.tops}
    return strides


def _renamed(layers: Sequence[LayerSpec], image: str) -> list[LayerSpec]:
    """The layers with their image input called `data`."""
    return [replace(part, bottoms=tuple("data" if name == image else name for name in part.bottoms)) for part in layers]


def _learning(part: LayerSpec) -> LayerSpec:
    """A layer with the papers' rates; statistics and factors of a normalisation stay as they are."""
    row = lookup(part.type)
    if row is not None and row.affine:
        options = part.options
        if hasattr(options, "use_global_stats"):
            options = replace(options, use_global_stats=True)
        return replace(part, params=(_FROZEN,) * len(part.params), options=options)
    if any(param.name or param.lr_mult == 0 for param in part.params):
        return part
    if getattr(part.options, "weight_filler", None) == Filler():
        # Deploy files state no filler, and zeros would learn nothing.
        part = replace(part, options=replace(part.options, weight_filler=HE))
    rates = (ParamSpec(lr_mult=1, decay_mult=1), ParamSpec(lr_mult=2, decay_mult=0))
    return replace(part, params=rates[: len(part.params)]) if len(part.params) <= len(rates) else part


def _frozen_until(layers: Sequence[LayerSpec], name: str) -> list[LayerSpec]:
    first = next((i for i, part in enumerate(layers) if part.name == name or part.name.startswith(f"{name}/")), None)
    if first is None:
        raise ValueError(f"no layer is called {name!r}{nearest(name, [part.name for part in layers])}")
    frozen = [replace(part, params=(_FROZEN,) * len(part.params)) for part in layers[:first]]
    return [*frozen, *layers[first:]]


def _zoom(scores: str, output_stride: int) -> LayerSpec:
    return layer("Interp", "fc8_interp", [scores], ["fc8_interp"], zoom_factor=output_stride)


def _training(
    scores: str, output_stride: int, size: tuple[int, int], aligned: bool, full_size_loss: bool
) -> list[LayerSpec]:
    facts: dict[str, Any] = {"ignore_labels": (IGNORE_LABEL,)}
    if aligned and not full_size_loss:
        prepared = layer("Interp", "label_shrink", ["label"], ["label_shrink"], shrink_factor=output_stride)
        bottoms = [scores, "label_shrink"]
    else:
        # Shrunk labels would lie between the elements of the map.
        prepared = layer("Interp", "fc8_interp", [scores], ["fc8_interp"], height=size[0], width=size[1])
        bottoms = ["fc8_interp", "label"]
    return [
        prepared,
        layer("SoftmaxWithLoss", "loss", bottoms, ["loss"], normalization="VALID", **facts),
        layer("SegAccuracy", "accuracy", bottoms, ["accuracy"], **facts),
    ]


def _dialect(classifier: NetSpec) -> str:
    """v2's rules, but where v1's hold: a loss over no label at all."""
    return "v1" if classifier.dialect == "v1" else "v2"


def with_mean(
    spec: NetSpec, mean_bgr: Sequence[float], scale: float = 1.0, wanted: Sequence[float] = MEAN_BGR
) -> NetSpec:
    """Weights for an input whose mean and scale are other ones: they move into the first convolution.

    It gives what it gave, except where its window hangs over the image's edge: zeros there stand for another grey.

    Args:
        spec: A net with weights.
        mean_bgr: What was subtracted from the input of the first layer.
        scale: Factor after that.
        wanted: What is subtracted from now on, with no factor.

    Returns:
        The net with other weights of that layer.

    Raises:
        CaffeFormatError: The first layer is no convolution with a bias of its own.

    Example:
        >>> import numpy as np
        >>> from deeplab_repro.zoo.backbone import with_mean
        >>> from dataclasses import replace
        >>> from prototxt_import import layer, make_net
        >>> conv = layer("Convolution", "c", "data", "y", num_output=1, kernel=(1, 1))
        >>> spec = make_net("n", {"data": (1, 3, 4, 4)}, [conv])
        >>> spec = replace(spec, weights={"c": [np.ones((1, 3, 1, 1), np.float32), np.zeros(1, np.float32)]})
        >>> with_mean(spec, (128, 128, 128), wanted=(127, 128, 128)).weights["c"][1].tolist()
        [-1.0]
    """
    shift = np.asarray(wanted, np.float64) - np.asarray(mean_bgr, np.float64)
    if not shift.any() and scale == 1:
        return spec
    first = next((part for part in spec.layers if "data" in part.bottoms), spec.layers[0])
    blobs: Sequence[Array] = spec.weights.get(first.name, ())
    if first.type != "Convolution" or len(blobs) != 2 or blobs[0].shape[1] != 3:
        raise problem(
            first, spec.source, "reads the image; only a Convolution of three channels with a bias takes in its mean"
        )
    weight = blobs[0].astype(np.float64) * scale
    bias = blobs[1].astype(np.float64) + np.einsum("fchw,c->f", weight, shift)
    moved = [weight.astype(np.float32), bias.astype(np.float32)]
    return replace(spec, weights={**spec.weights, first.name: moved})
