"""Train a model of photographs from an ImageNet classifier and write it as Caffe files.

    python weights/recipe/train_photographs.py animals --data voc_animals --backbone mobilenet_v2 [-o weights]

The papers' method: a classifier, made dense with atrous convolution, LargeFOV on top, fine-tuned by the poly policy.
--backbone is a folder with deploy.prototxt and model.caffemodel, --data one in VOC's layout with classes.json. The head
has batch normalisation behind fc6 and fc7 while it learns, which is folded into them at the end; every layer learns.
CRF parameters are searched on training photographs; val is scored once, at the end, and with --peer another net on the
same photographs. Started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deeplab_repro.crf.model import CRFParams
from deeplab_repro.data.sets.balance import write_list
from deeplab_repro.data.sets.class_tables import VOC
from deeplab_repro.data.sets.datasets import SegmentationDataset, open_dataset
from deeplab_repro.demo.run import shares
from deeplab_repro.evaluate.evaluate import NETWORK, REFINED, Result, evaluate
from deeplab_repro.evaluate.metrics import ConfusionMatrix
from deeplab_repro.files.atomic import output_folder, write_text
from deeplab_repro.files.images import read_image
from deeplab_repro.files.ledger import check_origin
from deeplab_repro.files.shipped import shipped
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.predict.segmenter import Segmenter
from deeplab_repro.train.scratch import LOG, TRAIN_NET, folded, train
from deeplab_repro.zoo.backbone import backbone_spec, with_mean
from deeplab_repro.zoo.training import MEAN_BGR, fed
from prototxt_import import NetSpec, net_text, read_net, write_net, write_weights

SOLVER, TEST_NET, LIST, INIT = "solver.prototxt", "test.prototxt", "train.txt", "init.caffemodel"
# What the classifiers of the recipes want subtracted.
CLASSIFIER_MEAN = (128.0, 128.0, 128.0)
PHOTOGRAPHS = ("admiral", "astronaut", "cat")
# Training photographs that the CRF's parameters are searched on, and the values tried first.
SEARCHED = 40
AXES = {"weight": "2,4,6", "xy-std": "30,50,80", "rgb-std": "3,5,8"}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights.

    about: what the photographs show. cut: the classifier's blob that the head reads. size: of the written net's input.
    An iteration sees `batch` squares of `crop` pixels, at relative sizes `scales`. base_lr: of the classifier's layers;
    the head's have ten times that. weight_power: a class with the share f of the pixels weighs f ** -weight_power in
    the loss, by void labels.
    """

    name: str
    about: str
    classes: int
    cut: str = "expanded_conv_16/project"
    fc_channels: int = 256
    size: tuple[int, int] = (321, 321)
    crop: int = 257
    batch: int = 8
    scales: tuple[float, ...] = (0.75, 1.0, 1.25, 1.5)
    dropout: float = 0.3
    base_lr: float = 0.0001
    weight_decay: float = 0.00004
    iterations: int = 4000
    weight_power: float = 0.0
    seed: int = 7

    def spec(self, classifier: NetSpec, phase: str) -> NetSpec:
        """The net as it is trained. TRAIN ends in the loss over all pixels of the enlarged scores, so that it learns
        borders finer than the score map."""
        size = self.size if phase == "TEST" else (self.crop, self.crop)
        batch = 1 if phase == "TEST" else self.batch
        spec = backbone_spec(
            classifier,
            self.classes,
            phase=phase,
            size=size,
            batch=batch,
            cut=self.cut,
            fc_channels=self.fc_channels,
            score_layer=f"fc8_{self.name}",
            normalised_head=True,
            full_size_loss=True,
        )
        layers = tuple(
            replace(part, options=replace(part.options, ratio=self.dropout)) if part.type == "Dropout" else part
            for part in spec.layers
        )
        return replace(spec, name=f"DeepLab-LargeFOV-{self.name}", layers=layers)

    def files(self, classifier: NetSpec) -> dict[str, str]:
        """Text by name of what `deeplab train` reads."""
        return {
            SOLVER: self.solver(),
            TRAIN_NET: net_text(fed(self.spec(classifier, "TRAIN"), LIST, scales=self.scales), "text"),
            TEST_NET: net_text(self.spec(classifier, "TEST"), "text"),
        }

    def solver(self) -> str:
        """Caffe's Adam by the poly policy."""
        return (
            f'net: "{TRAIN_NET}"\ntype: "Adam"\nbase_lr: {self.base_lr:g}\nlr_policy: "poly"\npower: 0.9\n'
            f"max_iter: {self.iterations}\nmomentum: 0.9\nmomentum2: 0.999\ndelta: 1e-8\n"
            f"weight_decay: {self.weight_decay:.5f}\naverage_loss: 20\ndisplay: 20\nsnapshot: 200\n"
            f'snapshot_prefix: "train"\nsolver_mode: CPU\nrandom_seed: {self.seed}\n'
        )


RECIPES = {
    "animals": Recipe("animals", "photographs of animals and people", 7),
    "streets": Recipe(
        "streets", "photographs of streets, from a car", 11, size=(369, 481), iterations=3000, weight_power=0.25
    ),
}


def trained(recipe: Recipe, backbone: Path, data: Path, files: Path, work: Path) -> tuple[NetSpec, dict[str, Any]]:
    """The plain net with its trained weights, and what the log tells of the training.

    files: where recipe.files() are written; work: of list, snapshots and log. Raises ValueError for the work folder of
    another recipe, CalledProcessError when the training fails."""
    classifier = read_net(backbone / "deploy.prototxt", backbone / "model.caffemodel")
    with output_folder(work):
        check_origin(work / "recipe.json", asdict(recipe))
        files.mkdir(parents=True, exist_ok=True)
        for name, text in recipe.files(classifier).items():
            write_text(files / name, text)
        begun = with_mean(recipe.spec(classifier, "TRAIN"), CLASSIFIER_MEAN)
        write_weights(begun.weights, begun, work / INIT, "v2", by_name=True)
        write_list(work, open_dataset(data, "train"), recipe.weight_power, recipe.seed)
        model = train(files / SOLVER, work, quiet=False, weights=work / INIT)
    rows = [json.loads(line) for line in (work / LOG).read_text().splitlines()]
    facts = {
        "training_seconds": round(sum(row.get("seconds", 0) for row in rows)),
        "resumed": sum("start" in row for row in rows) - 1,
    }
    return folded(files / TEST_NET, model), facts


def search_crf(segmenter: Segmenter, data: SegmentationDataset, work: Path) -> CRFParams:
    """What `deeplab crf-search` finds on the net's scores of every so many training photographs."""
    folder, step = work / "scores", len(data.samples) // SEARCHED
    folder.mkdir(exist_ok=True)
    chosen = data.samples[::step][:SEARCHED]
    for item in chosen:
        file = folder / f"{item.name}.npy"
        if not file.exists():
            np.save(file, segmenter.scores(read_image(item.image)))
    axes = [word for name, values in AXES.items() for word in (f"--bilateral-{name}", values)]
    command = [sys.executable, "-m", "deeplab_repro", "crf-search", str(chosen[0].image.parent), str(folder)]
    command += [str(chosen[0].label.parent), "-o", str(work / "search"), "--images", str(SEARCHED), *axes, "--json"]
    subprocess.run([*command, str(work / "search.json")], check=True)
    best = json.loads((work / "search.json").read_text())["best"]
    bilateral = {f"bilateral_{name}": best[name] for name in ("weight", "xy_std", "rgb_std")}
    return CRFParams(iterations=10, gaussian_weight=3, gaussian_xy_std=3, **bilateral)


def peer_score(peer: Path, data: SegmentationDataset) -> float:
    """Mean IoU of a net of VOC's 21 classes on the same photographs; classes that the set lacks are background."""
    names = [line for line in VOC if line in data.class_names]
    own = np.zeros(256, np.uint8)
    for name in names:
        own[VOC.index(name)] = data.class_names.index(name)
    segmenter = Segmenter(next(peer.glob("*.prototxt")), next(peer.glob("*.caffemodel")), crf=None, device="cpu")
    matrix = ConfusionMatrix(len(data.class_names))
    for item in data.samples:
        matrix.update(own[segmenter(read_image(item.image)).labels], data.truth(item))
    return matrix.miou()


def demo_record(segmenter: Segmenter, crf: CRFParams) -> dict[str, Any]:
    """What `deeplab demo` has to find on the photographs that come with the package."""
    answer = {}
    for name in PHOTOGRAPHS:
        image = read_image(shipped(f"photographs/{name}.jpg"))
        segmenter.crf = None
        before = segmenter(image).labels
        segmenter.crf = crf
        after = segmenter(image).labels
        stages = (("before", before), ("after", after))
        answer[name] = {stage: shares(labels, segmenter.class_names) for stage, labels in stages}
    return answer


def scored(result: Result) -> dict[str, Any]:
    """Mean IoU and IoU by class before and after the CRF."""
    stages = result.summary()
    return {
        "images": result.images,
        "miou_before": stages[NETWORK]["miou"],
        "miou_after": stages[REFINED]["miou"],
        "iou_before": stages[NETWORK]["per_class"],
        "iou_after": stages[REFINED]["per_class"],
    }


def write(spec: NetSpec, facts: dict[str, Any], name: str, folder: Path) -> None:
    """The three files of a bundled model."""
    prototxt, caffemodel = folder / f"{name}.prototxt", folder / f"{name}.caffemodel"
    write_net(spec, prototxt, "text")
    write_weights(spec.weights, spec, caffemodel, "v2", by_name=True)
    for layer, blobs in read_net(prototxt, caffemodel).weights.items():
        for blob, array in zip(blobs, spec.weights[layer], strict=True):
            assert np.array_equal(blob, array), f"{layer}: read back with other values"
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items())
    write_text(folder / f"{name}.json", "{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = Path(__file__).resolve().parent
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--data", type=Path, required=True, help="folder in VOC's layout with classes.json")
    parser.add_argument("--backbone", type=Path, required=True, help="folder with deploy.prototxt and model.caffemodel")
    parser.add_argument("--peer", type=Path, help="folder of a net of VOC's classes to score beside")
    parser.add_argument("-o", "--output", type=Path, default=here.parent, help="folder of the three files")
    parser.add_argument("--work", type=Path, help="folder of list and snapshots (NAME-run)")
    options = parser.parse_args()
    recipe = RECIPES[options.recipe]
    work = (options.work or Path(f"{recipe.name}-run")).resolve()
    spec, facts = trained(recipe, options.backbone.resolve(), options.data, here / recipe.name, work)
    learning, held = (open_dataset(options.data, split) for split in ("train", "val"))
    segmenter = Segmenter(net=CaffeNet(spec), mean_bgr=MEAN_BGR, crf=None, device="cpu")
    segmenter.class_names = tuple(learning.class_names)
    crf = search_crf(segmenter, learning, work)
    (work / "val").mkdir(exist_ok=True)
    result = evaluate(segmenter, held, crf, resume=work / "val", settings={"net": segmenter.fingerprint()})
    scores = scored(result)
    # Of a few, for a test that has no time for all.
    some = replace(held, samples=held.samples[::35])
    scores["some_pixel_accuracy"] = evaluate(segmenter, some).confusion.pixel_accuracy()
    if options.peer is not None:
        scores["peer_miou"] = peer_score(options.peer, held)
    print(f"val: mean IoU {scores['miou_before']:.4f} before, {scores['miou_after']:.4f} after the CRF")
    values = {name: value for name, value in asdict(crf).items() if name != "compatibility"}
    record = {
        "about": recipe.about,
        "class_names": list(learning.class_names),
        "palette": np.asarray(learning.palette)[: recipe.classes].tolist(),
        "mean_bgr": MEAN_BGR,
        "crf": values,
        "val": scores,
        "demo": demo_record(segmenter, crf),
        "recipe": {
            **asdict(recipe),
            "solver": f"{recipe.name}/{SOLVER}",
            **facts,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        },
    }
    write(spec, record, recipe.name, options.output)


if __name__ == "__main__":
    main()
