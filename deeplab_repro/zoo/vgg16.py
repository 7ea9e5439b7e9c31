"""The VGG-16 networks of DeepLab v1 and v2, under the released layer and blob names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deeplab_repro.zoo.multi_layer import FUSIONS, Branches
from deeplab_repro.zoo.parts import CLASSIFIER_FILLER, HE, IGNORE_LABEL, conv
from prototxt_import import Filler, LayerSpec, NetSpec, layer, make_net
from prototxt_import.layers.messages import single

STAGE_CHANNELS = (64, 128, 256, 512, 512)
STAGE_DEPTHS = (2, 2, 3, 3, 3)
# Rates of the fc6 branches; S is the small and L the large field of view.
ASPP_S = (2, 4, 8, 12)
ASPP_L = (6, 12, 18, 24)


@dataclass(frozen=True)
class Head:
    """What sets a VGG-16 variant apart: fc6 and what comes before it.

    Args:
        kernel: Taps of fc6 along a side.
        rates: Dilations of fc6, one branch per rate, padded by rate * (kernel - 1) / 2.
        fc_channels: Outputs of fc6 and fc7.
        pool: The windows of pool1 to pool4; 2 is the first release ("noup"), whose pool4 is padded in TEST only.
        pool5a: Whether a 3x3 average stands between pool5 and fc6.
        fusion: See multi_layer.FUSIONS, "" without multi-layer branches.

    Source:
        Chen et al. 2015, section 3 and table 2, and 2016, tables 1 and 3.

    Example:
        >>> from deeplab_repro import zoo
        >>> net = zoo.vgg16_spec(zoo.Head(rates=(2, 4), pool5a=True), size=(65, 65))
        >>> [layer.name for layer in net.layers if layer.name.startswith("fc6")]
        ['fc6_1', 'fc6_2']
    """

    kernel: int = 3
    rates: tuple[int, ...] = (12,)
    fc_channels: int = 1024  # 4096 in VGG-16
    pool: int = 3
    pool5a: bool = False
    fusion: str = ""


# v1 section 3 and table 2, v2 tables 1 and 3. Paddings of the 4x4 fc6 of rate 8 and of the 7x7 one are not published;
# these keep the map's size, as those of the released nets do.
HEADS = {
    "noup": Head(4, (4,), 4096, pool=2),
    "4x4": Head(4, (8,), 4096, pool=2),
    "7x7": Head(7, (4,), 4096, pool=2),
    "msc": Head(4, (4,), 4096, fusion="scores"),
    "largefov": Head(pool5a=True),
    "msc_largefov": Head(pool5a=True, fusion="scores"),
    "aspp_s": Head(rates=ASPP_S),
    "aspp_l": Head(rates=ASPP_L),
}


def vgg16_spec(
    head: str | Head = "largefov",
    num_classes: int = 21,
    width: float = 1.0,
    channels: Sequence[int] = STAGE_CHANNELS,
    fc_channels: int | None = None,
    rates: Sequence[int] | None = None,
    size: tuple[int, int] | None = None,
    batch: int = 1,
    phase: str = "TEST",
    classifier: str = "fc8_voc12",
    dialect: str = "v1",
    fusion: str | None = None,
    name: str = "DeepLab-VGG16",
) -> NetSpec:
    """DeepLab on VGG-16 at stride 8.

    Args:
        head: The variant: a name in HEADS, or facts of one's own.
        num_classes: Outputs of the layer `classifier`.
        width: Factor on `channels`, `fc_channels` and those of the multi-layer branches.
        channels: Of the five stages.
        fc_channels: In place of the head's.
        rates: In place of the head's.
        size: (height, width) of the input `data` in pixels, by default 321x321; 8k + 1 keeps labels and scores exactly
            aligned. The nets with 2x2 pools need 8k + 2 and have k + 1 scores a side in TRAIN, k + 3 in TEST (306 and
            514 by default).
        batch: Images of one pass.
        phase: "TEST" ends in the scores at the image's size; "TRAIN" takes `label` as well, shrinks it eight times, and
            ends in loss and accuracy.
        classifier: Name of the score layer.
        dialect: "v1" or "v2", whose loss rule and fillers apply.
        fusion: In place of the head's.
        name: The net's name.

    Returns:
        The net, its shapes inferred.

    Raises:
        ValueError: The head, phase, dialect or fusion is unknown, or the number of channels is wrong.
        CaffeFormatError: The size does not fit; the message names the layer.

    Source:
        Chen et al., ICLR 2015 and PAMI 2018, and the released prototxts.

    Example:
        >>> from deeplab_repro import zoo
        >>> zoo.vgg16_spec("largefov", width=0.25, size=(65, 65)).blobs["fc6"]
        (1, 256, 9, 9)
    """
    facts = _facts(head, fc_channels, rates, fusion)
    if phase not in ("TRAIN", "TEST") or dialect not in ("v1", "v2"):
        raise ValueError(f"phase must be TRAIN or TEST and dialect v1 or v2, got {phase!r} and {dialect!r}")
    if len(channels) != len(STAGE_DEPTHS):
        raise ValueError(f"channels must have {len(STAGE_DEPTHS)} entries, one per stage, got {len(channels)}")
    *stages, fc = (max(1, round(width * c)) for c in (*channels, facts.fc_channels))
    branches = Branches(facts.fusion, phase, num_classes, width) if facts.fusion else None
    layers = _backbone(stages, facts.pool, phase, branches)
    bottom = "pool5"
    if facts.pool5a:
        layers.append(_pool("pool5a", bottom, stride=1, method="AVE"))
        bottom = "pool5a"
    scores = classifier
    if branches is not None:
        layers, scores = branches.join(layers, head_layers(bottom, fc, num_classes, classifier, facts, branches))
    else:
        layers += head_layers(bottom, fc, num_classes, classifier, facts)
    small = facts.pool == 2
    if size is None:
        side = (306 if phase == "TRAIN" else 514) if small else 321
        size = (side, side)
    inputs = {"data": (batch, 3, *size)}
    if phase == "TRAIN":
        inputs["label"] = (batch, 1, *size)
        layers += _training(scores, dialect, small)
    elif branches is None or not branches.full_size:
        layers += _enlarged(scores, small)
    spec = make_net(name, inputs, layers, phase, dialect)
    return _for_v1(spec) if dialect == "v1" else spec


def _facts(head: str | Head, fc_channels: int | None, rates: Sequence[int] | None, fusion: str | None) -> Head:
    if isinstance(head, str):
        if head not in HEADS:
            raise ValueError(f"head must be one of {', '.join(HEADS)}, got {head!r}")
        head = HEADS[head]
    given: dict[str, Any] = {
        "fc_channels": fc_channels,
        "rates": None if rates is None else tuple(rates),
        "fusion": fusion,
    }
    facts = replace(head, **{key: value for key, value in given.items() if value is not None})
    if facts.fusion not in ("", *FUSIONS):
        raise ValueError(f"fusion must be one of {', '.join(FUSIONS)} or empty, got {facts.fusion!r}")
    if facts.fusion and facts.pool == 2:
        raise ValueError("multi-layer branches need the 3x3 pools, which keep the maps of all layers aligned")
    if not facts.rates:
        raise ValueError("rates must name at least one rate of fc6")
    return facts


def _pool(name: str, bottom: str, stride: int, method: str = "MAX", kernel: int = 3, pad: int = 1) -> LayerSpec:
    window: dict[str, Any] = {"kernel": (kernel, kernel), "stride": (stride, stride), "pad": (pad, pad)}
    return layer("Pooling", name, [bottom], [name], method=method, **window)


def _backbone(channels: Sequence[int], pool: int, phase: str, branches: Branches | None) -> list[LayerSpec]:
    """conv1_1 to pool5 at output stride 8: pool4 and pool5 have stride 1, conv5 has rate 2."""
    layers, blob = [], "data"
    if branches is not None:
        layers += branches.attach(blob)
    for stage, (width, depth) in enumerate(zip(channels, STAGE_DEPTHS, strict=True), start=1):
        rate = 2 if stage == 5 else 1
        for i in range(1, depth + 1):
            name = f"conv{stage}_{i}"
            layers.append(conv(name, blob, width, 3, pad=rate, dilation=rate))
            layers.append(layer("ReLU", f"relu{stage}_{i}", [name], [name]))
            blob = name
        # Without padding the first release's pool4 has one score less, beside a label cropped by one pixel.
        pad = 0 if (stage, pool, phase) == (4, 2, "TRAIN") else 1
        kernel = 3 if stage == 5 else pool
        layers.append(_pool(f"pool{stage}", blob, stride=2 if stage < 4 else 1, kernel=kernel, pad=pad))
        blob = f"pool{stage}"
        if branches is not None and stage < 5:
            layers += branches.attach(blob)
    return layers


def head_layers(
    bottom: str,
    fc: int,
    classes: int,
    classifier: str,
    facts: Head,
    branches: Branches | None = None,
    rate: float = 1,
) -> list[LayerSpec]:
    """Build fc6, fc7 and the classifier for every rate, and where there are several rates the sum of their scores.

    Args:
        bottom: The blob they read.
        fc: Outputs of fc6 and fc7.
        classes: Of the classifier.
        classifier: Its name.
        facts: Kernel and rates of fc6.
        branches: Multi-layer branches that join before the classifier.
        rate: lr_mult of fc6 and fc7, which the papers' began from VGG-16's.

    Returns:
        The layers.
    """
    marks = [f"_{i}" for i in range(1, len(facts.rates) + 1)] if len(facts.rates) > 1 else [""]
    layers = []
    for dilation, mark in zip(facts.rates, marks, strict=True):
        below = bottom
        for i, (kernel, holes) in ((6, (facts.kernel, dilation)), (7, (1, 1))):
            name = f"fc{i}{mark}"
            layers += [
                conv(name, below, fc, kernel, pad=holes * (kernel - 1) // 2, dilation=holes, rate=rate),
                layer("ReLU", f"relu{i}{mark}", [name], [name]),
                layer("Dropout", f"drop{i}{mark}", [name], [name], ratio=0.5),
            ]
            below = name
        if branches is not None:
            more, below = branches.beside(below)
            layers += more
        # An MSc net's classifier begins from the trained one, others from the filler.
        step = 10 if branches is None else 1
        layers.append(conv(classifier + mark, below, classes, 1, rate=step, filler=CLASSIFIER_FILLER))
    if len(marks) > 1:
        layers.append(layer("Eltwise", classifier, [classifier + mark for mark in marks], classifier, operation="SUM"))
    return layers


def _enlarged(scores: str, small_pools: bool) -> list[LayerSpec]:
    layers = [layer("Interp", "fc8_interp", [scores], ["fc8_interp"], zoom_factor=8)]
    if small_pools:
        # Element 0 of the scores lies at pixel -7 of the image.
        layers.append(layer("Padding", "fc8_crop", ["fc8_interp"], ["fc8_crop"], pad_beg=-7, pad_end=-8))
    return layers


def _training(scores: str, dialect: str, small_pools: bool) -> list[LayerSpec]:
    # The two forks differ only where every label is ignored: 0/0 in v1, 0 in v2. The first release's net names no
    # label to ignore, but the void of VOC's labels has to be.
    rule = "WEIGHTED" if dialect == "v1" else "VALID"
    bottoms = [scores, "label_shrink"]
    ignored = (IGNORE_LABEL,)
    begin: dict[str, Any] = {"pad_beg": -1} if small_pools else {}
    return [
        layer("Interp", "label_shrink", ["label"], ["label_shrink"], shrink_factor=8, **begin),
        layer("SoftmaxWithLoss", "loss", bottoms, ["loss"], ignore_labels=ignored, normalization=rule),
        layer("SegAccuracy", "accuracy", bottoms, ["accuracy"], ignore_labels=ignored),
    ]


def _for_v1(spec: NetSpec) -> NetSpec:
    """The msra filler, which is younger than the v1 fork, as the gaussian that it is."""
    layers = []
    for original in spec.layers:
        filler = getattr(original.options, "weight_filler", None)
        if filler == HE:
            std = single(float(np.float32(math.sqrt(2 / math.prod(spec.param_shapes[original.name][0][1:])))))
            original = replace(
                original, options=replace(original.options, weight_filler=Filler(type="gaussian", std=std))
            )
        layers.append(original)
    return replace(spec, layers=tuple(layers))
