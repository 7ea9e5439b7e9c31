"""Train the model of drawn scenes and write it as original Caffe files.

    python weights/recipe/train_scenes.py [-o weights] [--work scenes-run]

Scenes are drawn into the work folder, and `deeplab train` carries out scenes/solver.prototxt beside this file: a narrow
DeepLab-LargeFOV from nothing, with batch normalisation behind every convolution but the classifier. That is folded into
the convolutions at the end: the files hold the plain network. CRF parameters are searched on validation scenes; the
demo's scenes are scored once, at the end. Started again, it goes on where it was. The same machine, torch and thread
count give the same files.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab_repro.crf.model import CRFParams, DenseCRF
from deeplab_repro.data.scenes.scenes import CLASSES, PALETTE, draw_scene
from deeplab_repro.data.sets.balance import kept_shares, voided
from deeplab_repro.evaluate.metrics import ConfusionMatrix
from deeplab_repro.files.atomic import output_folder, write_text
from deeplab_repro.files.images import write_image
from deeplab_repro.files.ledger import check_origin
from deeplab_repro.files.palette import save_label_png
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.predict.segmenter import Segmenter
from deeplab_repro.train.scratch import LOG, TRAIN_NET, folded, solver_text, train
from deeplab_repro.zoo import vgg16_spec
from deeplab_repro.zoo.normalised import normalised
from deeplab_repro.zoo.parts import IGNORE_LABEL
from deeplab_repro.zoo.training import MEAN_BGR, fed
from prototxt_import import NetSpec, layer, make_net, net_text, read_net, write_net, write_weights
from prototxt_import.binary.weights import with_weights

CLASSIFIER = "fc8_scenes"
SOLVER, TEST_NET, LIST = "solver.prototxt", "test.prototxt", "train.txt"
DEMO_SEEDS = tuple(range(1, 21))
VALIDATION_SEEDS = tuple(range(10_001, 10_017))
FIRST_TRAINING_SEED = 1_000_000
# Of the training scenes, those that the classes' shares are counted on.
COUNTED = 60


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights.

    size: what Segmenter feeds the net for a 240x320 scene. scenes: how many are drawn to train on, of which an
    iteration sees `batch` squares of `crop` pixels. weight_power: a class of share f of their pixels weighs
    f ** -weight_power in the loss; v2's has no class weights, so that labels of frequent classes are void at random.
    """

    channels: tuple[int, ...] = (16, 32, 64, 96, 96)
    fc_channels: int = 256
    size: tuple[int, int] = (257, 321)
    scenes: int = 4000
    weight_power: float = 0.5
    crop: int = 241
    batch: int = 3
    base_lr: float = 0.025
    iterations: int = 4200
    seed: int = 7

    def plain_spec(self, dialect: str, phase: str = "TEST") -> NetSpec:
        """The net as it is published: without normalisation, ending in the scores at the input's size."""
        training = phase == "TRAIN"
        return vgg16_spec(
            num_classes=len(CLASSES),
            channels=self.channels,
            fc_channels=self.fc_channels,
            size=(self.crop, self.crop) if training else self.size,
            batch=self.batch if training else 1,
            classifier=CLASSIFIER,
            dialect=dialect,
            name="DeepLab-LargeFOV",
        )

    def trained_spec(self, phase: str) -> NetSpec:
        """The net as it is trained: normalised, without dropout. TRAIN ends in the loss over all pixels of the enlarged
        scores, so that it learns borders finer than the score map."""
        plain = self.plain_spec("v2", phase)
        layers = [original for original in plain.layers if original.type != "Dropout"]
        if phase == "TEST":
            return normalised(make_net(plain.name, plain.inputs, layers, phase, "v2"))
        bottoms, ignored = ("fc8_interp", "label"), (IGNORE_LABEL,)
        layers += [
            layer("SoftmaxWithLoss", "loss", bottoms, ("loss",), ignore_labels=ignored),
            layer("SegAccuracy", "accuracy", bottoms, ("accuracy",), ignore_labels=ignored),
        ]
        inputs = {**plain.inputs, "label": (self.batch, 1, self.crop, self.crop)}
        return fed(normalised(make_net(plain.name, inputs, layers, phase, "v2")), LIST)

    def files(self) -> dict[str, str]:
        """Text by name of what `deeplab train` reads."""
        return {
            SOLVER: solver_text("poly", self.base_lr, self.iterations, self.seed, mode="CPU"),
            TRAIN_NET: net_text(self.trained_spec("TRAIN"), "v2"),
            TEST_NET: net_text(self.trained_spec("TEST"), "v2"),
        }

    def kept_shares(self) -> NDArray[np.float64]:
        """Which share of each class's pixels keep their label, 1 for the class that weighs most."""
        truths = [draw_scene(FIRST_TRAINING_SEED + number)[1].ravel() for number in range(COUNTED)]
        return kept_shares(np.bincount(np.concatenate(truths), minlength=len(CLASSES)), self.weight_power)

    def draw(self, folder: Path) -> None:
        """Training scenes as pictures and label maps in folder/scenes, listed in train.txt; those there are kept."""
        pictures = folder / "scenes"
        pictures.mkdir(exist_ok=True)
        kept, lines = self.kept_shares(), []
        for number in range(self.scenes):
            image, label = pictures / f"{number:05d}.png", pictures / f"{number:05d}_label.png"
            lines.append(f"scenes/{image.name} scenes/{label.name}\n")
            if label.exists():  # written last
                continue
            seed = FIRST_TRAINING_SEED + number
            drawn, truth = draw_scene(seed)
            rng = np.random.Generator(np.random.PCG64([self.seed, seed]))
            write_image(drawn, image)
            save_label_png(voided(truth, kept, rng), label, PALETTE)
        write_text(folder / LIST, "".join(lines))


def trained(recipe: Recipe, files: Path, work: Path) -> tuple[NetSpec, dict[str, int]]:
    """The plain net with its trained weights, in v1 dialect, and what the log tells of the training.

    files: where recipe.files() are written; work: of scenes, snapshots and log. Raises ValueError for the work folder
    of another recipe, CalledProcessError when the training fails."""
    with output_folder(work):
        check_origin(work / "recipe.json", asdict(recipe))
        for name, text in recipe.files().items():
            write_text(files / name, text)
        recipe.draw(work)
        model = train(files / SOLVER, work, quiet=False)
    rows = [json.loads(line) for line in (work / LOG).read_text().splitlines()]
    facts = {
        "training_seconds": round(sum(row.get("seconds", 0) for row in rows)),
        "resumed": sum("start" in row for row in rows) - 1,
    }
    weights = folded(files / TEST_NET, model).weights
    return with_weights(recipe.plain_spec("v1"), weights, str(model)), facts


Scored = list[tuple[np.ndarray, np.ndarray, Tensor]]


def scored(net: CaffeNet, seeds: Sequence[int]) -> Scored:
    """Image, truth and scores [L, H, W] of each scene."""
    segmenter = Segmenter(net=net, mean_bgr=MEAN_BGR, crf=None, device="cpu")
    scenes = (draw_scene(seed) for seed in seeds)
    return [(image, truth, torch.from_numpy(segmenter(image).scores)) for image, truth in scenes]


def score(scenes: Scored, crf: CRFParams | None = None) -> ConfusionMatrix:
    matrix = ConfusionMatrix(len(CLASSES))
    for image, truth, scores in scenes:
        final = scores if crf is None else DenseCRF(crf)(torch.from_numpy(image), scores)
        matrix.update(final.argmax(0).numpy(), truth)
    return matrix


# Where the search begins (v2's ResNet-101, nearly) and the values it may take.
CRF_LADDERS: dict[str, tuple[float, tuple[float, ...]]] = {
    "bilateral_rgb_std": (5.0, (3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 17.0, 22.0)),
    "bilateral_xy_std": (65.0, (10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 65.0, 80.0, 100.0, 121.0)),
    "bilateral_weight": (4.0, (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 9.0, 12.0)),
    "gaussian_weight": (3.0, (0.0, 0.5, 1.0, 2.0, 3.0, 4.0)),
    "gaussian_xy_std": (1.0, (0.7, 1.0, 1.5, 2.0, 3.0)),
}


def choose_crf(scenes: Scored) -> CRFParams:
    """Climb the ladders, from values as published, one parameter at a time until no single step raises mean IoU."""
    places = {name: ladder.index(start) for name, (start, ladder) in CRF_LADDERS.items()}

    def params(places: dict[str, int]) -> CRFParams:
        return CRFParams(**{name: CRF_LADDERS[name][1][place] for name, place in places.items()})

    @functools.cache
    def value(*key: int) -> float:
        return score(scenes, params(dict(zip(CRF_LADDERS, key, strict=True)))).miou()

    while True:
        before = dict(places)
        for (name, (_, ladder)), way in itertools.product(CRF_LADDERS.items(), (1, -1)):
            while 0 <= places[name] + way < len(ladder):
                moved = {**places, name: places[name] + way}
                if value(*moved.values()) <= value(*places.values()):
                    break
                places = moved
        print(f"  CRF mIoU {value(*places.values()):.4f} {params(places)}", flush=True)
        if places == before:
            return params(places)


def write(spec: NetSpec, crf: CRFParams, record: dict[str, object], folder: Path) -> None:
    prototxt, caffemodel = folder / "scenes.prototxt", folder / "scenes.caffemodel"
    write_net(spec, prototxt, dialect="v1")
    write_weights(spec.weights, spec, caffemodel, dialect="v1")
    for name, blobs in read_net(prototxt, caffemodel).weights.items():
        for blob, array in zip(blobs, spec.weights[name], strict=True):
            assert np.array_equal(blob, array), f"{name}: read back with other values"
    values = asdict(crf)
    values.pop("compatibility")
    facts = {
        "about": "drawn street scenes",
        "class_names": CLASSES,
        "palette": PALETTE.tolist(),
        "mean_bgr": MEAN_BGR,
        "crf": values,
        **record,
    }
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items())
    write_text(folder / "scenes.json", "{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = Path(__file__).resolve().parent / "scenes"
    parser.add_argument("-o", "--output", type=Path, default=here.parents[1], help="folder of the three files")
    parser.add_argument("--work", type=Path, default=Path("scenes-run"), help="folder of the scenes and snapshots")
    arguments = parser.parse_args()
    recipe = Recipe()
    spec, facts = trained(recipe, here, arguments.work)
    net = CaffeNet(spec)
    validation = scored(net, VALIDATION_SEEDS)
    crf = choose_crf(validation)
    demo = scored(net, DEMO_SEEDS)
    before, after = score(demo), score(demo, crf)
    print(f"demo scenes: mIoU {before.miou():.4f} before, {after.miou():.4f} after the CRF")
    record = {
        "demo": {
            "seeds": DEMO_SEEDS,
            "height": 240,
            "width": 320,
            "miou_before": before.miou(),
            "miou_after": after.miou(),
            "iou_before": dict(zip(CLASSES, before.per_class().tolist(), strict=True)),
            "iou_after": dict(zip(CLASSES, after.per_class().tolist(), strict=True)),
        },
        "validation": {
            "seeds": VALIDATION_SEEDS,
            "miou_before": score(validation).miou(),
            "miou_after": score(validation, crf).miou(),
        },
        "recipe": {
            **asdict(recipe),
            "solver": SOLVER,
            "first_training_seed": FIRST_TRAINING_SEED,
            **facts,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        },
    }
    write(spec, crf, record, arguments.output)


if __name__ == "__main__":
    main()
