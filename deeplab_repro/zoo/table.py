"""The published variants: one table of facts, and the builders that turn a row into a NetSpec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deeplab_repro.zoo.resnet101 import resnet101_spec
from deeplab_repro.zoo.vgg16 import vgg16_spec
from prototxt_import import NetSpec
from prototxt_import.errors import nearest
from prototxt_import.layers.table import is_class_loss


@dataclass(frozen=True)
class Backbone:
    """What makes a row's network.

    Args:
        build: Makes a NetSpec of a row's facts.
        classifier: The start of the score layer's name.
    """

    build: Callable[..., NetSpec]
    classifier: str


BACKBONES = {"vgg16": Backbone(vgg16_spec, "fc8"), "resnet101": Backbone(resnet101_spec, "fc1")}


@dataclass(frozen=True)
class Recipe:
    """How a variant was trained; momentum 0.9 and decay 0.0005 are common to all.

    Args:
        batch: Images of one pass.
        crop: The side they are cropped to, in pixels.
        scales: Relative sizes they are drawn at; empty for their own.
        base_lr: Caffe's solver field, like those that follow.
        lr_policy: "step" in v1, "poly" in v2.
        gamma: Factor of a step.
        stepsize: Iterations of a step.
        power: Exponent of "poly".
        max_iter: Updates in all.
        iter_size: Passes of an update.
        snapshot: Updates from one snapshot to the next.
        average_loss: Iterations that the printed loss is averaged over, as the v2 solvers have it.

    Source:
        Chen et al. 2015, section 5.1, and 2016, section 4.1; the released solver prototxts.

    Example:
        >>> from deeplab_repro import zoo
        >>> zoo.variant("deeplab_largefov").recipe.max_iter
        6000
    """

    batch: int = 30
    crop: int = 321
    scales: tuple[float, ...] = ()
    base_lr: float = 0.001
    lr_policy: str = "step"
    gamma: float = 0.1
    stepsize: int = 2000
    power: float = 0.9
    max_iter: int = 6000
    iter_size: int = 1
    snapshot: int = 2000
    average_loss: int = 1


V1 = Recipe()
V1_NOUP = Recipe(batch=20, crop=306)
V1_MSC = Recipe(batch=20)
V2_VGG = Recipe(batch=10, lr_policy="poly", max_iter=20000, snapshot=20000, average_loss=20)
V2_RESNET = Recipe(
    batch=1,
    scales=(0.5, 0.75, 1.0, 1.25, 1.5),
    base_lr=2.5e-4,
    lr_policy="poly",
    max_iter=20000,
    iter_size=10,
    snapshot=10000,
    average_loss=20,
)


@dataclass(frozen=True)
class Variant:
    """A published network.

    Args:
        title: Its name in the papers.
        backbone: A key of BACKBONES.
        facts: What its builder is told.
        dialect: Of the fork it was released for.
        recipe: How it was trained.
        init: The file that its training began with.
        parameters: Learnable numbers with 21 classes, as the papers or the released files have them; None where neither
            tells.

    Example:
        >>> from deeplab_repro import zoo
        >>> zoo.VARIANTS["deeplab_vgg16_aspp_l"].title
        'DeepLab-ASPP-L'
    """

    title: str
    backbone: str
    facts: Mapping[str, Any]
    dialect: str
    recipe: Recipe
    init: str
    parameters: int | None = None


def _vgg16(
    title: str, head: str, recipe: Recipe = V1, init: str = "vgg16_20M", parameters: int | None = None
) -> Variant:
    dialect = "v2" if recipe is V2_VGG else "v1"
    return Variant(title, "vgg16", {"head": head}, dialect, recipe, f"{init}.caffemodel", parameters)


def _resnet101(title: str, head: str, multi_scale: bool, parameters: int | None = None) -> Variant:
    facts = {"head": head, "multi_scale": multi_scale}
    return Variant(f"DeepLab-ResNet-101-{title}", "resnet101", facts, "v2", V2_RESNET, "init.caffemodel", parameters)


_COCO = "vgg16_20M_coco"

VARIANTS: dict[str, Variant] = {
    "deeplab": _vgg16("DeepLab", "noup", V1_NOUP, "vgg16_128", 65_140_565),
    "deeplab_4x4": _vgg16("DeepLab-4x4", "4x4", V1_NOUP, "vgg16_128", 65_140_565),
    "deeplab_7x7": _vgg16("DeepLab-7x7", "7x7", V1_NOUP, "VGG_ILSVRC_16_layers", 134_346_581),
    "deeplab_msc": _vgg16("DeepLab-MSc", "msc", V1_MSC, "vgg16_128"),
    "deeplab_largefov": _vgg16("DeepLab-LargeFOV", "largefov", parameters=20_505_429),
    "deeplab_msc_largefov": _vgg16("DeepLab-MSc-LargeFOV", "msc_largefov", V1_MSC),
    "deeplab_coco_largefov": _vgg16("DeepLab-COCO-LargeFOV", "largefov", init=_COCO, parameters=20_505_429),
    "deeplab_msc_coco_largefov": _vgg16("DeepLab-MSc-COCO-LargeFOV", "msc_largefov", V1_MSC, _COCO),
    "deeplab_vgg16_aspp_s": _vgg16("DeepLab-ASPP-S", "aspp_s", V2_VGG, parameters=37_877_652),
    "deeplab_vgg16_aspp_l": _vgg16("DeepLab-ASPP-L", "aspp_l", V2_VGG, parameters=37_877_652),
    "deeplab_resnet101_largefov": _resnet101("LargeFOV", "largefov", False),
    "deeplab_resnet101_largefov_msc": _resnet101("LargeFOV-MSC", "largefov", True),
    "deeplab_resnet101_aspp": _resnet101("ASPP", "aspp", False, 44_153_980),
    "deeplab_resnet101_aspp_msc": _resnet101("ASPP-MSC", "aspp", True, 44_153_980),
}
# Shorter names for the two released v2 nets.
ALIASES = {"deeplab_vgg16_aspp": "deeplab_vgg16_aspp_l", "deeplab_resnet101": "deeplab_resnet101_aspp_msc"}

# Data sets of the papers, by the ending of the score layer's name, and their classes, background included where there
# is one. COCO-Stuff numbers 182 classes, 11 of which occur nowhere.
DATASETS = {"voc12": 21, "context": 60, "person_part": 7, "cityscapes": 19, "coco_stuff": 182}


def names() -> tuple[str, ...]:
    """The names of all variants, in the order of the papers, and their aliases.

    Returns:
        The names.

    Example:
        >>> from deeplab_repro import zoo
        >>> zoo.names()[:2]
        ('deeplab', 'deeplab_4x4')
    """
    return (*VARIANTS, *ALIASES)


def variant(name: str) -> Variant:
    """The facts of a variant.

    Args:
        name: One of `names`.

    Returns:
        Its row of the table.

    Raises:
        ValueError: No variant has that name; the message lists those known.

    Example:
        >>> from deeplab_repro import zoo
        >>> zoo.variant("deeplab_resnet101").title  # an alias
        'DeepLab-ResNet-101-ASPP-MSC'
    """
    row = VARIANTS.get(ALIASES.get(name, name))
    if row is None:
        raise ValueError(f"unknown variant {name!r}; known: {', '.join(names())}{nearest(name, names())}")
    return row


def spec(
    name: str, num_classes: int | None = None, dataset: str = "voc12", phase: str = "TEST", **facts: Any
) -> NetSpec:
    """The net of a variant, described without allocating a weight.

    Args:
        name: One of `names`.
        num_classes: Outputs of the score layer, by default the classes of `dataset`.
        dataset: Ends the score layer's name (fc8_voc12, fc1_context); one of DATASETS, or any name where `num_classes`
            is given.
        phase: "TEST" or "TRAIN".
        facts: What `vgg16_spec` and `resnet101_spec` take beside: width, size, batch, classifier, for the VGG nets
            dialect.

    Returns:
        The net, its shapes inferred.

    Raises:
        ValueError: The variant, data set or a fact is unknown, and as the builders do.

    Example:
        >>> from deeplab_repro import zoo
        >>> net = zoo.spec("deeplab_largefov", size=(65, 65))
        >>> net.blobs["fc8_voc12"]
        (1, 21, 9, 9)
    """
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
        # Python's own text, without the builder's name.
        raise ValueError(f"{name}: {str(error).rpartition('() ')[2]}") from None


def score_blob(net: NetSpec) -> str:
    """The blob of a zoo net's scores before they are enlarged to the image's size.

    Args:
        net: A net that `spec` gave.

    Returns:
        The blob's name.

    Raises:
        ValueError: The net has no scores under the names of the zoo's.

    Example:
        >>> from deeplab_repro import zoo
        >>> zoo.score_blob(zoo.spec("deeplab_largefov", phase="TRAIN"))
        'fc8_voc12'
    """
    for layer in net.layers:
        if is_class_loss(layer):
            return layer.bottoms[0]
    for layer in reversed(net.layers):
        if layer.type == "Interp" and layer.options.zoom_factor == 8:
            return layer.bottoms[0]
    raise ValueError(f"{net.name}: neither a loss nor an Interp of zoom_factor 8 tells which blob holds the scores")


def map_size(net: NetSpec) -> tuple[int, int]:
    """The size of the score map at stride 8, such as 39 for a side of 306, or 41 for 321.

    Args:
        net: A net that `spec` gave.

    Returns:
        (height, width) in elements.

    Example:
        >>> from deeplab_repro import zoo
        >>> zoo.map_size(zoo.spec("deeplab_largefov", size=(321, 321)))
        (41, 41)
    """
    height, width = net.blobs[score_blob(net)][2:]
    return height, width


def field_of_view(kernel: int, rate: int, stride: int = 8) -> int:
    """The papers' nominal field of view of fc6: stride * ((kernel - 1) * rate + 4).

    The 4 stands for one element of VGG-16's pool5, 32 input pixels.

    Args:
        kernel: Taps of fc6 along a side.
        rate: Its dilation.
        stride: Of its input, in pixels.

    Returns:
        The side in input pixels.

    Source:
        Chen et al. 2015, table 2.

    Example:
        >>> from deeplab_repro import zoo
        >>> zoo.field_of_view(kernel=3, rate=12)  # LargeFOV
        224
    """
    return stride * ((kernel - 1) * rate + 4)
