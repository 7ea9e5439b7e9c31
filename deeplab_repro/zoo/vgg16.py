"""The VGG-16 networks of DeepLab v1 and v2, under the released layer and blob names."""

from __future__ import annotations

from collections.abc import Sequence

from prototxt_import import Filler, LayerSpec, NetSpec, ParamSpec, layer, make_net

STAGE_CHANNELS = (64, 128, 256, 512, 512)
STAGE_DEPTHS = (2, 2, 3, 3, 3)
FC_CHANNELS = 1024  # 4096 in VGG-16; LargeFOV keeps a quarter
IGNORE_LABEL = 255
# Rates of the fc6 branches; S is the small and L the large field of view.
ASPP_S = (2, 4, 8, 12)
ASPP_L = (6, 12, 18, 24)

# The releases start from a trained VGG-16 and state no filler; this one lets a net be trained without.
HE = Filler(type="msra")


def _conv(name: str, bottom: str, outputs: int, kernel: int, pad: int = 0, dilation: int = 1) -> LayerSpec:
    return layer(
        "Convolution",
        name,
        [bottom],
        [name],
        params=_rates(1),
        num_output=outputs,
        kernel=(kernel, kernel),
        pad=(pad, pad),
        dilation=(dilation, dilation),
        weight_filler=HE,
    )


def _rates(factor: float) -> list[ParamSpec]:
    return [ParamSpec(lr_mult=factor, decay_mult=1), ParamSpec(lr_mult=2 * factor, decay_mult=0)]


def _pool(name: str, bottom: str, stride: int, method: str = "MAX") -> LayerSpec:
    return layer("Pooling", name, [bottom], [name], method=method, kernel=(3, 3), stride=(stride, stride), pad=(1, 1))


def backbone(channels: Sequence[int] = STAGE_CHANNELS, bottom: str = "data") -> list[LayerSpec]:
    """conv1_1 to pool5 at output stride 8: pool4 and pool5 keep the size, conv5 has rate 2."""
    layers, blob = [], bottom
    for stage, (width, depth) in enumerate(zip(channels, STAGE_DEPTHS, strict=True), start=1):
        rate = 2 if stage == 5 else 1
        for i in range(1, depth + 1):
            conv = f"conv{stage}_{i}"
            layers.append(_conv(conv, blob, width, 3, pad=rate, dilation=rate))
            layers.append(layer("ReLU", f"relu{stage}_{i}", [conv], [conv]))
            blob = conv
        layers.append(_pool(f"pool{stage}", blob, stride=2 if stage < 4 else 1))
        blob = f"pool{stage}"
    return layers


def _head(bottom: str, fc: int, classes: int, classifier: str, rate: int, mark: str = "") -> list[LayerSpec]:
    """fc6 with its rate, fc7 and the classifier; `mark` ends all names."""
    layers = []
    for i, (kernel, dilation) in ((6, (3, rate)), (7, (1, 1))):
        name = f"fc{i}{mark}"
        layers += [
            _conv(name, bottom, fc, kernel, pad=dilation * (kernel // 2), dilation=dilation),
            layer("ReLU", f"relu{i}{mark}", [name], [name]),
            layer("Dropout", f"drop{i}{mark}", [name], [name], ratio=0.5),
        ]
        bottom = name
    gaussian = Filler(type="gaussian", std=0.01)
    scores = layer(
        "Convolution",
        classifier + mark,
        [bottom],
        [classifier + mark],
        params=_rates(10),
        num_output=classes,
        kernel=(1, 1),
        weight_filler=gaussian,
    )
    return [*layers, scores]


def _training(classifier: str, dialect: str) -> list[LayerSpec]:
    # The two forks differ only where every label is ignored: 0/0 in v1, 0 in v2.
    rule = "WEIGHTED" if dialect == "v1" else "VALID"
    bottoms = [classifier, "label_shrink"]
    return [
        layer("Interp", "label_shrink", ["label"], ["label_shrink"], shrink_factor=8),
        layer("SoftmaxWithLoss", "loss", bottoms, ["loss"], ignore_labels=(IGNORE_LABEL,), normalization=rule),
        layer("SegAccuracy", "accuracy", bottoms, ["accuracy"], ignore_labels=(IGNORE_LABEL,)),
    ]


def largefov_spec(
    num_classes: int = 21,
    width: float = 1.0,
    channels: Sequence[int] = STAGE_CHANNELS,
    fc_channels: int = FC_CHANNELS,
    size: tuple[int, int] = (321, 321),
    batch: int = 1,
    phase: str = "TEST",
    classifier: str = "fc8_voc12",
    dialect: str = "v1",
) -> NetSpec:
    """DeepLab-LargeFOV: VGG-16 at stride 8 with a 3x3 fc6 of rate 12 (20,505,429 parameters at full width).

    num_classes: outputs of the layer `classifier`. width: factor on `channels` (of the five stages) and `fc_channels`.
    size: (height, width) of the input `data`; sizes of the form 8k + 1 keep labels and scores exactly aligned.
    phase: "TEST" ends in fc8_interp, the scores eight times as large; "TRAIN" takes `label` as well, shrinks it eight
    times, and ends in loss and accuracy. dialect: "v1" or "v2", whose loss rule applies.
    Raises ValueError for another phase or dialect, or a wrong number of channels.
    Source: Chen et al., ICLR 2015, and the released train and test prototxts."""
    stages, fc = _widths(width, channels, fc_channels, phase, dialect)
    layers = [
        *backbone(stages),
        _pool("pool5a", "pool5", stride=1, method="AVE"),
        *_head("pool5a", fc, num_classes, classifier, 12),
    ]
    return _net("DeepLab-LargeFOV", layers, size, batch, phase, classifier, dialect)


def aspp_spec(
    num_classes: int = 21,
    rates: Sequence[int] = ASPP_L,
    width: float = 1.0,
    channels: Sequence[int] = STAGE_CHANNELS,
    fc_channels: int = FC_CHANNELS,
    size: tuple[int, int] = (321, 321),
    batch: int = 1,
    phase: str = "TEST",
    classifier: str = "fc8_voc12",
    dialect: str = "v2",
) -> NetSpec:
    """DeepLab-ASPP on VGG-16: one branch fc6 to fc8 per rate, their scores summed (37,877,652 parameters).

    rates: of the branches' fc6; ASPP_L (6, 12, 18, 24) or ASPP_S (2, 4, 8, 12). There is no pool5a.
    Other arguments and errors as for `largefov_spec`. Source: Chen et al., PAMI 2018, and the released prototxts."""
    stages, fc = _widths(width, channels, fc_channels, phase, dialect)
    layers = backbone(stages)
    marks = [f"_{i}" for i in range(1, len(rates) + 1)]
    for rate, mark in zip(rates, marks, strict=True):
        layers += _head("pool5", fc, num_classes, classifier, rate, mark)
    layers.append(layer("Eltwise", classifier, [classifier + mark for mark in marks], classifier, operation="SUM"))
    return _net("DeepLab-ASPP", layers, size, batch, phase, classifier, dialect)


def _widths(width: float, channels: Sequence[int], fc_channels: int, phase: str, dialect: str) -> tuple[list[int], int]:
    """Channels of the stages and of fc6 and fc7, arguments checked."""
    if phase not in ("TRAIN", "TEST") or dialect not in ("v1", "v2"):
        raise ValueError(f"phase must be TRAIN or TEST and dialect v1 or v2, got {phase!r} and {dialect!r}")
    if len(channels) != len(STAGE_DEPTHS):
        raise ValueError(f"channels must have {len(STAGE_DEPTHS)} entries, one per stage, got {len(channels)}")
    *stages, fc = (max(1, round(width * c)) for c in (*channels, fc_channels))
    return stages, fc


def _net(
    name: str,
    layers: list[LayerSpec],
    size: tuple[int, int],
    batch: int,
    phase: str,
    classifier: str,
    dialect: str,
) -> NetSpec:
    inputs = {"data": (batch, 3, *size)}
    if phase == "TRAIN":
        inputs["label"] = (batch, 1, *size)
        layers += _training(classifier, dialect)
    else:
        layers.append(layer("Interp", "fc8_interp", [classifier], ["fc8_interp"], zoom_factor=8))
    return make_net(name, inputs, layers, phase, dialect)
