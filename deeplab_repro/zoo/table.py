"""The published variants: one table of facts, and the builders that turn a row into a NetSpec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deeplab_repro.zoo.resnet101 import resnet101_spec
from deeplab_repro.zoo.vgg16 import vgg16_spec
from prototxt_import import NetSpec
from prototxt_import.text import nearest


@dataclass(frozen=True)
class Backbone:
    """build: makes a NetSpec of a row's facts; classifier: the start of the score layer's name."""

    build: Callable[..., NetSpec]
    classifier: str


BACKBONES = {"vgg16": Backbone(vgg16_spec, "fc8"), "resnet101": Backbone(resnet101_spec, "fc1")}


@dataclass(frozen=True)
class Variant:
    """A published network.

    title: its name in the papers. backbone: a key of BACKBONES; facts: what its builder is told. dialect: of the fork
    it was released for. parameters: learnable numbers with 21 classes, known from the papers or the released files,
    None where neither tells. crop, batch, scales: how it was trained; batch is that of one pass, scales those the image
    is drawn at. init: the released file it was trained from."""

    title: str
    backbone: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    dialect: str = "v1"
    parameters: int | None = None
    crop: int = 321
    batch: int = 30
    scales: tuple[float, ...] = ()
    init: str = "vgg16_20M.caffemodel"


_VGG128 = "vgg16_128.caffemodel"
_COCO = "vgg16_20M_coco.caffemodel"
_RESNET: dict[str, Any] = {
    "backbone": "resnet101",
    "dialect": "v2",
    "batch": 1,
    "scales": (0.5, 0.75, 1.0, 1.25, 1.5),
    "init": "init.caffemodel",
}

VARIANTS: dict[str, Variant] = {
    "deeplab": Variant("DeepLab", "vgg16", {"head": "noup"}, parameters=65_140_565, crop=306, batch=20, init=_VGG128),
    "deeplab_4x4": Variant(
        "DeepLab-4x4", "vgg16", {"head": "4x4"}, parameters=65_140_565, crop=306, batch=20, init=_VGG128
    ),
    "deeplab_7x7": Variant(
        "DeepLab-7x7",
        "vgg16",
        {"head": "7x7"},
        parameters=134_346_581,
        crop=306,
        batch=20,
        init="VGG_ILSVRC_16_layers.caffemodel",
    ),
    "deeplab_msc": Variant("DeepLab-MSc", "vgg16", {"head": "msc"}, batch=20, init=_VGG128),
    "deeplab_largefov": Variant("DeepLab-LargeFOV", "vgg16", {"head": "largefov"}, parameters=20_505_429),
    "deeplab_msc_largefov": Variant("DeepLab-MSc-LargeFOV", "vgg16", {"head": "msc_largefov"}),
    "deeplab_coco_largefov": Variant(
        "DeepLab-COCO-LargeFOV", "vgg16", {"head": "largefov"}, parameters=20_505_429, init=_COCO
    ),
    "deeplab_msc_coco_largefov": Variant("DeepLab-MSc-COCO-LargeFOV", "vgg16", {"head": "msc_largefov"}, init=_COCO),
    "deeplab_vgg16_aspp_s": Variant("DeepLab-ASPP-S", "vgg16", {"head": "aspp_s"}, "v2", 37_877_652, batch=10),
    "deeplab_vgg16_aspp_l": Variant("DeepLab-ASPP-L", "vgg16", {"head": "aspp_l"}, "v2", 37_877_652, batch=10),
    "deeplab_resnet101_largefov": Variant(
        "DeepLab-ResNet-101-LargeFOV", facts={"head": "largefov", "multi_scale": False}, **_RESNET
    ),
    "deeplab_resnet101_largefov_msc": Variant(
        "DeepLab-ResNet-101-LargeFOV-MSC", facts={"head": "largefov", "multi_scale": True}, **_RESNET
    ),
    "deeplab_resnet101_aspp": Variant(
        "DeepLab-ResNet-101-ASPP", facts={"head": "aspp", "multi_scale": False}, parameters=44_153_980, **_RESNET
    ),
    "deeplab_resnet101_aspp_msc": Variant(
        "DeepLab-ResNet-101-ASPP-MSC", facts={"head": "aspp", "multi_scale": True}, parameters=44_153_980, **_RESNET
    ),
}
# Shorter names for the two released v2 nets.
ALIASES = {"deeplab_vgg16_aspp": "deeplab_vgg16_aspp_l", "deeplab_resnet101": "deeplab_resnet101_aspp_msc"}

# Data sets of the papers, by the ending of the score layer's name, and their classes, background included where there
# is one. COCO-Stuff numbers 182 classes, 11 of which occur nowhere.
DATASETS = {"voc12": 21, "context": 60, "person_part": 7, "cityscapes": 19, "coco_stuff": 182}


def names() -> tuple[str, ...]:
    """The names of all variants, in the order of the papers, and their aliases."""
    return (*VARIANTS, *ALIASES)


def variant(name: str) -> Variant:
    """The facts of a variant; ValueError for an unknown name."""
    found = VARIANTS.get(ALIASES.get(name, name))
    if found is None:
        raise ValueError(f"unknown variant {name!r}; known: {', '.join(names())}{nearest(name, names())}")
    return found


def spec(
    name: str, num_classes: int | None = None, dataset: str = "voc12", phase: str = "TEST", **facts: Any
) -> NetSpec:
    """The net of a variant, described without allocating a weight.

    num_classes: by default those of `dataset`, which also ends the score layer's name (fc8_voc12, fc1_context); any
    name does where num_classes is given. phase and facts (width, size, batch, classifier, dialect of the VGG nets...):
    as vgg16_spec and resnet101_spec take them.
    Raises ValueError for an unknown variant, data set or fact, and as the builders do."""
    row = variant(name)
    backbone = BACKBONES[row.backbone]
    if num_classes is None:
        if dataset not in DATASETS:
            raise ValueError(f"dataset {dataset!r} is unknown: give num_classes too; known: {', '.join(DATASETS)}")
        num_classes = DATASETS[dataset]
    wanted = {"classifier": f"{backbone.classifier}_{dataset}", "name": row.title, **row.facts, **facts}
    if row.backbone == "vgg16":
        wanted.setdefault("dialect", row.dialect)
    elif wanted.pop("dialect", "v2") != "v2":
        raise ValueError(f"{name}: BatchNorm and Scale exist in the v2 dialect only")
    try:
        return backbone.build(num_classes=num_classes, phase=phase, **wanted)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None


def score_blob(net: NetSpec) -> str:
    """The blob of a zoo net's scores before they are enlarged to the image's size.

    Raises ValueError for a net without scores under the names of the zoo's."""
    for one in net.layers:
        if one.type == "SoftmaxWithLoss":
            return one.bottoms[0]
    for one in reversed(net.layers):
        if one.type == "Interp" and one.options.zoom_factor == 8:
            return one.bottoms[0]
    raise ValueError(f"{net.name}: neither a loss nor an Interp of zoom_factor 8 tells which blob holds the scores")


def map_size(net: NetSpec) -> tuple[int, int]:
    """(height, width) of the score map at stride 8, such as 39 for a side of 306, or 41 for 321."""
    height, width = net.blobs[score_blob(net)][2:]
    return height, width


def field_of_view(kernel: int, rate: int, stride: int = 8) -> int:
    """The papers' nominal field of view of fc6 in input pixels, stride * ((kernel - 1) * rate + 4).

    stride: of fc6's input. The 4 stands for one element of VGG-16's pool5, 32 input pixels. Source: v1, table 2."""
    return stride * ((kernel - 1) * rate + 4)
