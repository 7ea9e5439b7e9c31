"""Published networks as NetSpecs, built from their facts; deeplab_repro.models makes them runnable."""

from deeplab_repro.zoo.resnet101 import resnet101_spec
from deeplab_repro.zoo.vgg16 import aspp_spec, largefov_spec

__all__ = ["aspp_spec", "largefov_spec", "resnet101_spec"]
