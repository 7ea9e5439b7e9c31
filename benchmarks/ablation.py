"""The papers' ablations in the small: narrow nets on CamVid, several seeds, one resumable command.

    python -m benchmarks.ablation ../shared/camvid -o ablation [--arms poly,step] [--seeds 1,2,3] [--json F]

Each arm changes one thing of the base, a narrow LargeFOV trained by the poly policy. All are trained by `deeplab train`
from nothing, with batch normalisation in the place of ImageNet's weights, folded in afterwards. A finished run is kept
as result.json, an interrupted one goes on from its newest snapshot; the table is of the runs there are.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ablation_report import compare, print_report
from deeplab_repro.bench.machine import machine_record
from deeplab_repro.bench.run import write_json
from deeplab_repro.crf.model import CRFParams
from deeplab_repro.data.sets.balance import kept_shares, voided
from deeplab_repro.data.sets.datasets import SegmentationDataset, open_dataset
from deeplab_repro.evaluate.evaluate import NETWORK, REFINED, evaluate, figures, matrix_of
from deeplab_repro.files.atomic import output_folder, write_text
from deeplab_repro.files.ledger import check_origin
from deeplab_repro.files.palette import save_label_png
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.predict.segmenter import Segmenter
from deeplab_repro.train.scratch import LOG, TRAIN_NET, folded, solver_text, train
from deeplab_repro.zoo import vgg16_spec
from deeplab_repro.zoo.normalised import normalised
from deeplab_repro.zoo.training import MEAN_BGR, fed
from prototxt_import import NetSpec, write_net, write_weights

CLASSIFIER = "fc8_camvid"
SOLVER, TEST_NET = "solver.prototxt", "test.prototxt"
TRIMAP_WIDTHS = (1, 2, 5, 10, 20, 40)
# v2's setting for its VGG-16 nets.
CRF = CRFParams(
    iterations=10,
    gaussian_weight=3,
    gaussian_xy_std=3,
    bilateral_weight=4,
    bilateral_xy_std=49,
    bilateral_rgb_std=5,
)


@dataclass(frozen=True)
class Arm:
    """head: of vgg16_spec; policy: poly or step; scales: that images are drawn at."""

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
    the labels as they are. Policies as scratch.solver_text has them."""

    channels: tuple[int, ...] = (16, 32, 64, 128, 128)
    fc_channels: int = 256
    crop: int = 321
    batch: int = 4
    iterations: int = 1500
    base_lr: float = 0.015
    weight_power: float = 0.5

    def wider(self, width: float) -> Scale:
        """All channels times `width`."""
        channels = tuple(round(width * channels) for channels in self.channels)
        return replace(self, channels=channels, fc_channels=round(width * self.fc_channels))


def net_spec(arm: Arm, scale: Scale, classes: int, phase: str, size: tuple[int, int]) -> NetSpec:
    """The arm's normalised net, fed by an input `data`, and in TRAIN `label`."""
    spec = vgg16_spec(
        arm.head,
        num_classes=classes,
        channels=scale.channels,
        fc_channels=scale.fc_channels,
        size=size,
        batch=scale.batch if phase == "TRAIN" else 1,
        phase=phase,
        classifier=CLASSIFIER,
        dialect="v2",
        name="camvid",
    )
    return normalised(spec)


def write_labels(folder: Path, power: float, seed: int, data: SegmentationDataset) -> None:
    """The label maps to train on and their list train.txt: power is weight_power of Scale."""
    labels = folder / "labels"
    labels.mkdir(exist_ok=True)
    truths = [data.truth(sample) for sample in data.samples]
    counts = sum(np.bincount(truth.ravel(), minlength=256) for truth in truths)
    kept = kept_shares(counts[: data.num_classes], power)
    lines = []
    for number, (sample, truth) in enumerate(zip(data.samples, truths, strict=True)):
        rng = np.random.Generator(np.random.PCG64([seed, number]))
        label = labels / f"{sample.name}.png"
        save_label_png(voided(truth, kept, rng), label, data.palette)
        lines.append(f"{sample.image.resolve()} {label.resolve()}\n")
    write_text(folder / "train.txt", "".join(lines))


def write_run(folder: Path, arm: Arm, scale: Scale, seed: int, data: SegmentationDataset) -> None:
    """train.txt with its labels, train.prototxt, test.prototxt and solver.prototxt of a run, the same each time."""
    write_labels(folder, scale.weight_power, seed, data)
    sides = (scale.crop, scale.crop)
    net = net_spec(arm, scale, data.num_classes, "TRAIN", sides)
    write_net(fed(net, "train.txt", scales=arm.scales), folder / TRAIN_NET, "v2")
    write_net(net_spec(arm, scale, data.num_classes, "TEST", sides), folder / TEST_NET, "v2")
    write_text(folder / SOLVER, solver_text(arm.policy, scale.base_lr, scale.iterations, seed))


def folded_model(folder: Path, model: Path) -> NetSpec:
    """plain.prototxt and plain.caffemodel: the trained net without its normalisation."""
    spec = folded(folder / TEST_NET, model)
    write_net(spec, folder / "plain.prototxt", "v2")
    write_weights(spec.weights, spec, folder / "plain.caffemodel", "v2")
    return spec


def score(spec: NetSpec, data: SegmentationDataset, device: str, notes: Path) -> dict[str, Any]:
    """Figures on a split by stage ("network", "crf"), each with its trimap curve; bands follow label edges."""
    segmenter = Segmenter(net=CaffeNet(spec), mean_bgr=MEAN_BGR, crf=None, device=device)
    notes.mkdir(exist_ok=True)
    settings = {"net": segmenter.fingerprint()}
    result = evaluate(segmenter, data, CRF, TRIMAP_WIDTHS, boundary="edges", resume=notes, settings=settings)
    answer: dict[str, Any] = {}
    for stage in (NETWORK, REFINED):
        bands = [matrix_of(band).miou() for band in result.counts[stage][1:]]
        answer[stage] = {
            **figures(result.stage(stage), result.class_names, "zero"),
            "trimap_miou": dict(zip(map(str, TRIMAP_WIDTHS), bands, strict=True)),
        }
    return answer


def run(folder: Path, name: str, scale: Scale, seed: int, camvid: Path, device: str) -> dict[str, Any]:
    """One arm with one seed: its result, from result.json where it is finished."""
    answer = folder / "result.json"
    facts = {"arm": name, **asdict(ARMS[name]), **asdict(scale), "seed": seed}
    with output_folder(folder):
        check_origin(folder / "run.json", facts)
        if answer.exists():
            return json.loads(answer.read_text())
        write_run(folder, ARMS[name], scale, seed, open_dataset(camvid, "train"))
        begin = time.monotonic()
        model = train(folder / SOLVER, folder, device)
        elapsed = time.monotonic() - begin
        stages = score(folded_model(folder, model), open_dataset(camvid, "val"), device, folder / "scored")
        lines = map(json.loads, (folder / LOG).read_text().splitlines())
        losses = [line["loss"] for line in lines if "loss" in line]
        result = {
            **facts,
            "last_loss": sum(losses[-20:]) / len(losses[-20:]),
            "last_call_training_s": round(elapsed, 1),
            "machine": machine_record(),
            **stages,
        }
        write_json(answer, result)
    return result


def main(arguments: Sequence[str] | None = None, out: Callable[[str], None] = print) -> int:
    """Exit code 0; errors of training and reading pass through."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__.splitlines()[0])
    parser.add_argument("camvid", type=Path, help="folder in VOC's layout, with classes.json")
    parser.add_argument("-o", "--output", type=Path, default=Path("ablation"), help="folder of the runs")
    parser.add_argument("--arms", default=",".join(ARMS), help=f"of {', '.join(ARMS)}; the first is the base")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--iterations", type=int, default=Scale.iterations)
    parser.add_argument("--batch", type=int, default=Scale.batch)
    parser.add_argument("--base-lr", type=float, default=Scale.base_lr)
    parser.add_argument("--crop", type=int, default=Scale.crop, help="side in pixels")
    parser.add_argument(
        "--weight-power", type=float, default=Scale.weight_power, help="0: frequent classes keep all labels"
    )
    parser.add_argument("--width", type=float, default=1.0, help="factor on all channels; 4 is the papers' full width")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--json", type=Path, help="write all results and comparisons there")
    options = parser.parse_args(arguments)
    names = options.arms.split(",")
    unknown = [name for name in names if name not in ARMS]
    if unknown:
        parser.error(f"no arm {unknown[0]!r}; there are {', '.join(ARMS)}")
    if options.threads:
        torch.set_num_threads(options.threads)
    chosen = {name: getattr(options, name) for name in ("iterations", "batch", "crop", "base_lr", "weight_power")}
    scale = replace(Scale(), **chosen).wider(options.width)
    results = []
    # Seed by seed, so that what an unfinished table compares has seen the same seeds.
    for seed in map(int, options.seeds.split(",")):
        for name in names:
            out(f"{name}, seed {seed}")
            folder = options.output / f"{name}_{seed}"
            results.append(run(folder, name, scale, seed, options.camvid, options.device))
    print_report(results, out)
    if options.json:
        write_json(options.json, {"runs": results, "comparisons": compare(results)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
