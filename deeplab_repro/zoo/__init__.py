"""Published networks as NetSpecs, built from their facts; deeplab_repro.zoo.models makes them runnable."""

from deeplab_repro.zoo.backbone import backbone_spec, with_mean
from deeplab_repro.zoo.resnet101 import resnet101_spec
from deeplab_repro.zoo.table import (
    ALIASES,
    DATASETS,
    VARIANTS,
    Recipe,
    Variant,
    field_of_view,
    map_size,
    names,
    score_blob,
    spec,
    variant,
)
from deeplab_repro.zoo.training import solver_text, training_spec
from deeplab_repro.zoo.vgg16 import Head, vgg16_spec

__all__ = [
    "ALIASES",
    "DATASETS",
    "VARIANTS",
    "Head",
    "Recipe",
    "Variant",
    "backbone_spec",
    "field_of_view",
    "map_size",
    "names",
    "resnet101_spec",
    "score_blob",
    "solver_text",
    "spec",
    "training_spec",
    "variant",
    "vgg16_spec",
    "with_mean",
]
