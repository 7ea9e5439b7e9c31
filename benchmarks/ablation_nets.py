"""The nets that the ablation trains: narrow ones from random weights, or heads on an ImageNet classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deeplab_repro.data.sets.balance import write_list
from deeplab_repro.data.sets.datasets import SegmentationDataset
from deeplab_repro.files.atomic import write_text
from deeplab_repro.train.scratch import TRAIN_NET, solver_text
from deeplab_repro.zoo import vgg16_spec
from deeplab_repro.zoo.backbone import backbone_spec, with_mean
from deeplab_repro.zoo.normalised import normalised
from deeplab_repro.zoo.training import fed
from prototxt_import import NetSpec, read_net, write_net, write_weights

SOLVER, TEST_NET, INIT = "solver.prototxt", "test.prototxt", "init.caffemodel"
# What the classifiers want subtracted.
CLASSIFIER_MEAN = (128.0, 128.0, 128.0)
# The stride that heads on a classifier are trained at, and those their weights are tried at besides.
STRIDE, OTHER_STRIDES = 16, (8, 32)


@dataclass(frozen=True)
class Arm:
    """head: of vgg16_spec, with a hyphen of backbone_spec; policy: poly or step; scales: that images are drawn at."""

    head: str = "largefov"
    policy: str = "poly"
    scales: tuple[float, ...] = ()


ARMS = {
    "poly": Arm(),
    "step": Arm(policy="step"),
    "aspp_s": Arm(head="aspp_s"),
    "aspp_l": Arm(head="aspp_l"),
    "scales": Arm(scales=(0.5, 0.75, 1.0, 1.25, 1.5)),
}


@dataclass(frozen=True)
class Scale:
    """How small "in the small" is. channels: of the five stages; iterations: of `batch` crops of `crop` pixels.

    weight_power: a class with the share f of the pixels weighs f ** -weight_power in the loss, by void labels; 0 leaves
    the labels as they are. Policies as scratch.solver_text has them. backbone: the name of the classifier's folder,
    which `channels` say nothing of then; cut: its blob that the head reads; frozen_until: as of backbone_spec."""

    channels: tuple[int, ...] = (16, 32, 64, 128, 128)
    fc_channels: int = 256
    crop: int = 321
    batch: int = 4
    iterations: int = 1500
    base_lr: float = 0.015
    weight_power: float = 0.5
    backbone: str = ""
    cut: str = ""
    frozen_until: str = ""

    def wider(self, width: float) -> Scale:
        """All channels times `width`."""
        channels = tuple(round(width * channels) for channels in self.channels)
        return replace(self, channels=channels, fc_channels=round(width * self.fc_channels))


# On MobileNet-v2, with the layers up to stride 16's 96 channels as ImageNet left them: they cost no backward pass.
ON_A_CLASSIFIER = Scale(
    channels=(),
    crop=257,
    batch=8,
    iterations=400,
    base_lr=0.005,
    weight_power=0,
    cut="expanded_conv_16/project",
    frozen_until="expanded_conv_13",
)


@dataclass(frozen=True)
class Nets:
    """The nets of an ablation. score_layer: the name of the score layer; classifier: what `scale.backbone` is."""

    scale: Scale
    classes: int
    score_layer: str
    classifier: NetSpec | None = None

    def spec(self, arm: Arm, phase: str, side: int, stride: int = STRIDE) -> NetSpec:
        """The arm's normalised net, fed by an input `data`, and in TRAIN `label`. stride: of a head on a classifier."""
        scale = self.scale
        batch = scale.batch if phase == "TRAIN" else 1
        if self.classifier is not None:
            return backbone_spec(
                self.classifier,
                self.classes,
                head=arm.head.replace("_", "-"),
                output_stride=stride,
                phase=phase,
                size=(side, side),
                batch=batch,
                cut=scale.cut or None,
                fc_channels=scale.fc_channels,
                score_layer=self.score_layer,
                frozen_until=scale.frozen_until or None,
                normalised_head=True,
                full_size_loss=True,
            )
        spec = vgg16_spec(
            arm.head,
            num_classes=self.classes,
            channels=scale.channels,
            fc_channels=scale.fc_channels,
            size=(side, side),
            batch=batch,
            phase=phase,
            classifier=self.score_layer,
            dialect="v2",
            name="narrow",
        )
        return normalised(spec)

    @property
    def dialect(self) -> str:
        """Whose layers the files use."""
        return "v2" if self.classifier is None else "text"

    def tests(self) -> Mapping[str, int]:
        """Test nets by file: the stride of each."""
        others = OTHER_STRIDES if self.classifier is not None else ()
        return {TEST_NET: STRIDE} | {f"test-{stride}.prototxt": stride for stride in others}

    def write_run(self, folder: Path, arm: Arm, seed: int, data: SegmentationDataset) -> Path | None:
        """The list with its labels, the nets, the solver and the weights to begin with, whose file is returned."""
        scale = self.scale
        write_list(folder, data, scale.weight_power, seed)
        begun = self.spec(arm, "TRAIN", scale.crop)
        write_net(fed(begun, "train.txt", scales=arm.scales), folder / TRAIN_NET, self.dialect)
        for file, stride in self.tests().items():
            # 321 is 1 more than a multiple of every stride.
            write_net(self.spec(arm, "TEST", 321, stride), folder / file, self.dialect)
        write_text(folder / SOLVER, solver_text(arm.policy, scale.base_lr, scale.iterations, seed))
        if self.classifier is None:
            return None
        begun = with_mean(begun, CLASSIFIER_MEAN)
        write_weights(begun.weights, begun, folder / INIT, "v2", by_name=True)
        return folder / INIT


def read_classifier(folder: Path) -> NetSpec:
    """deploy.prototxt and model.caffemodel of a folder."""
    return read_net(folder / "deploy.prototxt", folder / "model.caffemodel")
