"""Published networks as NetSpecs, built from their facts; deeplab_repro.models makes them runnable."""

from deeplab_repro.zoo.vgg16 import largefov_spec

__all__ = ["largefov_spec"]
