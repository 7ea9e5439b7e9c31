"""Nets that are built and run in a moment."""

from deeplab_repro.bench.cases import NetCase

TINY = NetCase("LargeFOV", "deeplab_largefov", "fc8_voc12", 33, {"width": 1 / 16})
TINY_MSC = NetCase("MSC", "deeplab_resnet101", "fc_fusion", 65, {"width": 1 / 32, "depths": (1, 1, 1, 1)})
