"""MSc of DeepLab v1: branches from the image and pool1 to pool4 that score beside the main net."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deeplab_repro.zoo.parts import CLASSIFIER_FILLER, conv
from prototxt_import import Filler, LayerSpec, ParamSpec, layer

CHANNELS = 128  # of both layers of a branch, so that five of them add 640
# Blob that a branch reads: how far its stride is from the scores' 8.
STRIDES = {"data": 8, "pool1": 4, "pool2": 2, "pool3": 1, "pool4": 1}
# "scores": as released, each branch has a classifier of its own, and the scores are summed; in TEST branches have
# stride 1 and all scores are enlarged to the image before the sum. "coarse": the same, but in TEST too at stride 8.
# "features": as the paper words it, the branches' 640 channels are joined to fc7's before one classifier.
FUSIONS = ("scores", "coarse", "features")


@dataclass
class Branches:
    """The five branches of one net under construction.

    Args:
        fusion: One of FUSIONS.
        phase: "TRAIN" or "TEST".
        num_classes: Of their classifiers.
        width: Factor on their channels.
    """

    fusion: str
    phase: str
    num_classes: int
    width: float = 1.0

    @property
    def full_size(self) -> bool:
        """Whether the fused scores have the image's size already."""
        return self.fusion == "scores" and self.phase == "TEST"

    def attach(self, blob: str) -> list[LayerSpec]:
        """Build a branch, named as in the release: data_conv, data_fc, data_ms.

        Args:
            blob: What it reads, a key of STRIDES.

        Returns:
            Its layers.
        """
        channels = max(1, round(self.width * CHANNELS))
        stride = 1 if self.full_size else STRIDES[blob]
        small = Filler(type="gaussian", std=0.001)
        layers, below = [], blob
        for part, kernel in (("conv", 3), ("fc", 1)):
            name = f"{blob}_{part}"
            step = stride if kernel == 3 else 1
            layers += [
                conv(name, below, channels, kernel, pad=kernel // 2, stride=step, filler=small),
                layer("ReLU", f"relu_{name}", [name], [name]),
                layer("Dropout", f"drop_{name}", [name], [name], ratio=0.5),
            ]
            below = name
        if self.fusion != "features":
            layers.append(conv(f"{blob}_ms", below, self.num_classes, 1, filler=CLASSIFIER_FILLER))
        return layers

    def beside(self, fc7: str) -> tuple[list[LayerSpec], str]:
        """Build what stands between fc7 and the classifier.

        Args:
            fc7: fc7's blob.

        Returns:
            Layers, and the blob that the classifier reads.
        """
        if self.fusion != "features":
            return [], fc7
        joined = layer("Concat", "fc7_ms", [fc7, *(f"{blob}_fc" for blob in STRIDES)], ["fc7_ms"])
        return [joined], "fc7_ms"

    def join(self, main: list[LayerSpec], head: list[LayerSpec]) -> tuple[list[LayerSpec], str]:
        """Join the net and its branches. In TRAIN all but the new layers are frozen.

        Args:
            main: Layers up to pool5, with the branches'.
            head: Layers from there to the main net's scores.

        Returns:
            All layers of the net up to its scores, and their blob.
        """
        scores = head[-1].tops[0]
        own = {f"{blob}_{part}" for blob in STRIDES for part in ("conv", "fc", "ms")} | {scores}
        layers = [*main, *head]
        if self.phase == "TRAIN":
            layers = [part if part.name in own else _frozen(part) for part in layers]
        if self.fusion == "features":
            return layers, scores
        fused = [*(f"{blob}_ms" for blob in STRIDES), scores]
        if self.full_size:
            zooms = {"pool1_ms": ("pool1_interp", 2), "pool2_ms": ("pool2_interp", 4)}
            zooms |= {f"{blob}_ms": (f"{blob}_interp", 8) for blob in ("pool3", "pool4")}
            zooms[scores] = ("fc8_interp", 8)
            layers += [layer("Interp", top, [bottom], [top], zoom_factor=f) for bottom, (top, f) in zooms.items()]
            fused = [zooms[blob][0] if blob in zooms else blob for blob in fused]
        layers.append(layer("Eltwise", "fc_fusion", fused, ["fc_fusion"], operation="SUM"))
        return layers, "fc_fusion"


def _frozen(part: LayerSpec) -> LayerSpec:
    return replace(part, params=tuple(ParamSpec(lr_mult=0, decay_mult=0) for _ in part.params))
