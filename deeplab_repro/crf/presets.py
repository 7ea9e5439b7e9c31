"""Published parameters of the dense CRF, by name.

Rows of the authors' scripts, released-model page, prototxts and program; ten iterations, normalisation after the
filter, as DeepLab's program computes.
"""

from __future__ import annotations

from typing import NamedTuple

from prototxt_import.errors import nearest


class Preset(NamedTuple):
    """One published setting.

    Attributes:
        model: The model, script or file that it stands with.
        bilateral_weight: Weight of the kernel over positions and colours.
        bilateral_xy_std: Its standard deviation over positions in pixels.
        bilateral_rgb_std: Its standard deviation over colours in grey levels.
        gaussian_weight: Weight of the kernel over positions.
        gaussian_xy_std: Its standard deviation in pixels.
        iterations: Mean-field updates.

    Example:
        >>> from deeplab_repro.crf.presets import PRESETS
        >>> PRESETS["v2_vgg16"].model
        'DeepLabv2 VGG-16 ASPP'
    """

    model: str
    bilateral_weight: float
    bilateral_xy_std: float
    bilateral_rgb_std: float
    gaussian_weight: float
    gaussian_xy_std: float
    iterations: int = 10


PRESETS: dict[str, Preset] = {
    "v1_deeplab": Preset("DeepLab (vgg128_noup)", 5, 50, 10, 3, 3),
    "v1_msc": Preset("DeepLab-MSc (vgg128_ms_pool3)", 3, 95, 3, 3, 3),
    "v1_coco": Preset("DeepLab-COCO (vgg128_noup_pool3_cocomix)", 5, 67, 3, 3, 3),
    "v1_largefov": Preset("DeepLab-LargeFOV", 4, 121, 5, 3, 3),
    "v1_msc_largefov": Preset("DeepLab-MSc-LargeFOV", 4, 83, 5, 3, 3),
    "v1_coco_largefov": Preset("DeepLab-COCO-LargeFOV", 5, 69, 5, 3, 3),
    "v1_msc_coco_largefov": Preset("DeepLab-MSc-COCO-LargeFOV", 4, 59, 5, 3, 3),
    "v2_vgg16": Preset("DeepLabv2 VGG-16 ASPP", 4, 65, 3, 2, 2),
    "v2_resnet101": Preset("DeepLabv2 ResNet-101", 4, 67, 3, 3, 1),
    "v2_resnet101_prototxt": Preset("ResNet-101 test.prototxt (commented-out layer)", 5, 21, 3, 4, 1),
    "v2_largefov_prototxt": Preset("LargeFOV test.prototxt (commented-out layer)", 5, 50, 10, 3, 3),
    "run_densecrf": Preset("run_densecrf.sh default", 4, 49, 5, 3, 3),
    "prog_refine_pascal_v4": Preset("prog_refine_pascal_v4 built-in default", 5, 70, 5, 3, 3),
    "prog_refine_pascal": Preset("prog_refine_pascal built-in default", 10, 60, 20, 3, 3),
    "vgg128_noup_pool3_coco": Preset("vgg128_noup_pool3_coco", 5, 63, 3, 3, 3),
    "vgg128_noup_pool3_cocomix2": Preset("vgg128_noup_pool3_cocomix2", 4, 75, 3, 3, 3),
    "vgg128_ms_pool3_coco": Preset("vgg128_ms_pool3_coco", 4, 81, 2, 3, 3),
}


def find_preset(name: str) -> Preset:
    """The preset of a name.

    Args:
        name: A key of PRESETS.

    Returns:
        The preset.

    Raises:
        ValueError: No preset has that name; the message lists those known.

    Example:
        >>> from deeplab_repro.crf.presets import find_preset
        >>> find_preset("v2_resnet101").bilateral_xy_std
        67
    """
    if name not in PRESETS:
        raise ValueError(f"CRFParams: unknown preset {name!r}; known: {', '.join(PRESETS)}{nearest(name, PRESETS)}")
    return PRESETS[name]
