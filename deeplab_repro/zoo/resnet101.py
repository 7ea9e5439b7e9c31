"""The ResNet-101 networks of DeepLab v2, under the released layer, blob and parameter names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deeplab_repro.zoo.parts import CLASSIFIER_FILLER, HE, IGNORE_LABEL
from prototxt_import import LayerSpec, NetSpec, ParamSpec, layer, make_net


@dataclass(frozen=True)
class _Stage:
    """A stage of bottleneck blocks; only its first block has a stride, in its 1x1 convolutions."""

    number: int
    channels: int  # of the blocks' inner convolutions; four times as many leave the block
    stride: int
    rate: int
    numbered: bool  # blocks a, b1, b2, ... or a, b, c


STEM_CHANNELS = 64
STAGES = (
    _Stage(2, 64, 1, 1, False),
    _Stage(3, 128, 2, 1, True),
    _Stage(4, 256, 1, 2, True),
    _Stage(5, 512, 1, 4, False),
)
DEPTHS = (3, 4, 23, 3)
# Rates of the parallel 3x3 classifiers, whose scores are summed.
HEADS = {"aspp": (6, 12, 18, 24), "largefov": (12,)}
# Name, and the Interp factors that make its image and bring its scores to the full scale's size.
SCALES = (
    ("_res075", {"shrink_factor": 4, "zoom_factor": 3}, {"shrink_factor": 3, "zoom_factor": 4}),
    ("_res05", {"shrink_factor": 2}, {"zoom_factor": 2}),
)


def block_letter(stage: int, index: int) -> str:
    """Name a stage's block: a, b1, b2, ... in stages 3 and 4, else a, b, c, ...

    Args:
        stage: 2 to 5.
        index: Of the block, counted from 0.

    Returns:
        The name.
    """
    numbered = any(row.numbered for row in STAGES if row.number == stage)
    if index == 0 or not numbered:
        return chr(ord("a") + index)
    return f"b{index}"


@dataclass(frozen=True)
class _Branch:
    """One scale of the network. suffix: of its names; shared: whether its parameters have names to be shared by."""

    width: float
    suffix: str
    shared: bool

    def channels(self, full: int) -> int:
        return max(1, round(self.width * full))

    def blob(self, name: str) -> str:
        return name + self.suffix

    def params(self, name: str, rates: Sequence[tuple[float, float]], marks: str = "012") -> list[ParamSpec]:
        return [
            ParamSpec(name=f"{name}_{mark}" if self.shared else "", lr_mult=rate, decay_mult=decay)
            for mark, (rate, decay) in zip(marks, rates, strict=False)
        ]

    def conv(
        self, name: str, bottom: str, outputs: int, kernel: int, stride: int = 1, rate: int = 1, relu: bool = True
    ) -> list[LayerSpec]:
        """A convolution with frozen BatchNorm and Scale, and ReLU."""
        stem, top = name.removeprefix("res"), self.blob(name)
        norm = stem if stem != name else f"_{name}"
        pad = rate * (kernel // 2)
        frozen = (0.0, 0.0)
        layers = [
            layer(
                "Convolution",
                top,
                bottom,
                top,
                params=self.params(name, [(1, 1)]),
                num_output=outputs,
                kernel=(kernel, kernel),
                stride=(stride, stride),
                pad=(pad, pad),
                dilation=(rate, rate),
                bias_term=False,
                weight_filler=HE,
            ),
            layer(
                "BatchNorm",
                self.blob(f"bn{norm}"),
                top,
                top,
                params=self.params(f"bn{norm}", [frozen] * 3),
                use_global_stats=True,
            ),
            layer(
                "Scale",
                self.blob(f"scale{norm}"),
                top,
                top,
                params=self.params(f"scale{norm}", [frozen] * 2),
                bias_term=True,
            ),
        ]
        return [*layers, layer("ReLU", self.blob(f"{name}_relu"), top, top)] if relu else layers

    def block(self, stage: _Stage, letter: str, bottom: str, stride: int) -> list[LayerSpec]:
        """A bottleneck block; the first of its stage projects the shortcut too."""
        name, inner = f"res{stage.number}{letter}", self.channels(stage.channels)
        outer = 4 * inner
        layers, shortcut = [], bottom
        if letter == "a":
            layers += self.conv(f"{name}_branch1", bottom, outer, 1, stride, relu=False)
            shortcut = self.blob(f"{name}_branch1")
        branch = [f"{name}_branch2{part}" for part in "abc"]
        top = self.blob(name)
        return [
            *layers,
            *self.conv(branch[0], bottom, inner, 1, stride),
            *self.conv(branch[1], self.blob(branch[0]), inner, 3, rate=stage.rate),
            *self.conv(branch[2], self.blob(branch[1]), outer, 1, relu=False),
            layer("Eltwise", top, [shortcut, self.blob(branch[2])], top, operation="SUM"),
            layer("ReLU", self.blob(f"{name}_relu"), top, top),
        ]

    def backbone(self, data: str, depths: Sequence[int]) -> tuple[list[LayerSpec], str]:
        """conv1 to res5c at output stride 8, and the last blob."""
        pool = self.blob("pool1")
        layers = [
            *self.conv("conv1", data, self.channels(STEM_CHANNELS), 7, 2),
            layer("Pooling", pool, self.blob("conv1"), pool, method="MAX", kernel=(3, 3), stride=(2, 2), pad=(1, 1)),
        ]
        bottom = pool
        for stage, depth in zip(STAGES, depths, strict=True):
            for i in range(depth):
                letter = block_letter(stage.number, i)
                layers += self.block(stage, letter, bottom, stage.stride if i == 0 else 1)
                bottom = self.blob(f"res{stage.number}{letter}")
        return layers, bottom

    def head(self, bottom: str, classes: int, rates: Sequence[int], classifier: str) -> tuple[list[LayerSpec], str]:
        """The parallel classifiers and their sum; a single one has the sum's name."""
        scores = self.blob(classifier)
        marks = [f"_c{i}" for i in range(len(rates))] if len(rates) > 1 else [""]
        layers = [
            layer(
                "Convolution",
                scores + mark,
                bottom,
                scores + mark,
                params=self.params(classifier + mark, [(10, 1), (20, 0)], "wb"),
                num_output=classes,
                kernel=(3, 3),
                pad=(rate, rate),
                dilation=(rate, rate),
                weight_filler=CLASSIFIER_FILLER,
            )
            for mark, rate in zip(marks, rates, strict=True)
        ]
        if len(rates) > 1:
            layers.append(layer("Eltwise", scores, [branch.tops[0] for branch in layers], scores, operation="SUM"))
        return layers, scores


def _interp(bottom: str, top: str, **factors: Any) -> LayerSpec:
    return layer("Interp", top, bottom, top, **factors)


def _loss(name: str, scores: str, labels: str) -> LayerSpec:
    return layer("SoftmaxWithLoss", name, [scores, labels], name, ignore_labels=(IGNORE_LABEL,), normalization="VALID")


def _training(scores: str, own: dict[str, tuple[str, str]]) -> list[LayerSpec]:
    """Labels at an eighth of the size, for the smallest scale at a sixteenth, and one loss for each kind of scores."""
    layers = [_interp("label", "label_shrink", shrink_factor=8)]
    if own:
        layers.append(_interp("label", "label_shrink16", shrink_factor=16))
    layers.append(_loss("loss", scores, "label_shrink"))
    layers += [_loss(f"loss{suffix}", blob, labels) for suffix, (blob, labels) in own.items()]
    if not own:
        bottoms = [scores, "label_shrink"]
        layers.append(layer("SegAccuracy", "accuracy", bottoms, "accuracy", ignore_labels=(IGNORE_LABEL,)))
    return layers


def resnet101_spec(
    num_classes: int = 21,
    width: float = 1.0,
    depths: Sequence[int] = DEPTHS,
    head: str = "aspp",
    multi_scale: bool = True,
    size: tuple[int, int] = (321, 321),
    batch: int = 1,
    phase: str = "TEST",
    classifier: str = "fc1_voc12",
    name: str = "DeepLab-ResNet-101",
) -> NetSpec:
    """DeepLab v2 on ResNet-101 at stride 8 (44,153,980 parameters at full width with ASPP, shared by all scales).

    Args:
        num_classes: Outputs of the layer `classifier`.
        width: Factor on all channels.
        depths: Blocks of the four stages.
        head: "aspp", four 3x3 classifiers of rates 6 to 24 whose scores are summed, or "largefov", one of rate 12.
        multi_scale: Whether the image goes at 1, 0.75 and 0.5 through the same weights, scores fused by their maximum;
            it
            needs sizes of the form 32k + 1, as all three have to fit.
        size: (height, width) of the input `data` in pixels.
        batch: Images of one pass.
        phase: "TEST" ends in fc1_interp, the scores eight times as large; "TRAIN" takes `label` as well: one loss and
            accuracy, or with multi_scale losses of the fused scores and of each scale.
        classifier: Name of the score layer.
        name: The net's name.

    Returns:
        The net, its shapes inferred.

    Raises:
        ValueError: The phase or head is unknown, or the number of depths is wrong.
        CaffeFormatError: The scales do not fit the size.

    Source:
        Chen et al., PAMI 2018, and the released prototxts.

    Example:
        >>> from deeplab_repro import zoo
        >>> zoo.resnet101_spec(depths=(1, 1, 1, 1), size=(65, 65)).blobs["fc1_interp"]
        (1, 21, 65, 65)
    """
    if phase not in ("TRAIN", "TEST"):
        raise ValueError(f"phase must be TRAIN or TEST, got {phase!r}")
    if head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}, got {head!r}")
    if len(depths) != len(STAGES) or min(depths) < 1:
        raise ValueError(f"depths must have {len(STAGES)} entries, one per stage and each at least 1, got {depths}")

    def scale(suffix: str, data: str) -> tuple[list[LayerSpec], str]:
        branch = _Branch(width, suffix, multi_scale)
        body, last = branch.backbone(data, depths)
        classifiers, scores = branch.head(last, num_classes, HEADS[head], classifier)
        return [*body, *classifiers], scores

    layers, scores = scale("", "data")
    own: dict[str, tuple[str, str]] = {}
    if multi_scale:
        # The released files make the half-size image first and its way back first.
        images = [_interp("data", f"data{suffix}", **down) for suffix, down, _ in reversed(SCALES)]
        back, fused = [], [scores]
        own["_res1"] = (scores, "label_shrink")
        for suffix, _, up in SCALES:
            more, small = scale(suffix, f"data{suffix}")
            layers += more
            back.append(_interp(small, f"{small}_interp", **up))
            fused.append(f"{small}_interp")
            own[suffix] = (small, "label_shrink16") if suffix == "_res05" else (f"{small}_interp", "label_shrink")
        layers = [*images, *layers, *reversed(back), layer("Eltwise", "fc_fusion", fused, "fc_fusion", operation="MAX")]
        scores = "fc_fusion"
    inputs = {"data": (batch, 3, *size)}
    if phase == "TEST" or multi_scale:
        layers.append(_interp(scores, "fc1_interp", zoom_factor=8))
    if phase == "TRAIN":
        inputs["label"] = (batch, 1, *size)
        layers += _training(scores, own)
    return make_net(name, inputs, layers, phase, "v2")
