"""The papers' ablations in the small: several arms, several seeds, one resumable command.

    python -m benchmarks.ablation DATA -o ablation [--backbone DIR] [--arms poly,step] [--seeds 1,2,3] [--json F]

Each arm changes one thing of the base, a LargeFOV trained by SGD and the poly policy, by `deeplab train`. With
--backbone that is a head on an ImageNet classifier whose early layers stay as they are; without it a narrow net from
nothing. Batch normalisation is in the place of a longer training and folded in afterwards. A finished run is kept as
result.json, an interrupted one goes on from its newest snapshot; the table is of the runs there are.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.ablation_nets import ARMS, ON_A_CLASSIFIER, TEST_NET, Nets, Scale, read_classifier
from benchmarks.ablation_report import compare, print_report
from deeplab_repro.bench.machine import machine_record
from deeplab_repro.bench.run import write_json
from deeplab_repro.crf.model import CRFParams
from deeplab_repro.data.sets.datasets import SegmentationDataset, open_dataset
from deeplab_repro.evaluate.evaluate import NETWORK, REFINED, Result, evaluate, figures, matrix_of
from deeplab_repro.files.atomic import output_folder
from deeplab_repro.files.ledger import check_origin
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.predict.segmenter import Segmenter
from deeplab_repro.train.scratch import LOG, folded, train
from deeplab_repro.zoo.training import MEAN_BGR
from prototxt_import import NetSpec, write_net, write_weights

TRIMAP_WIDTHS = (1, 2, 5, 10, 20, 40)
# v2's test-time scales, of which the largest score counts.
MSC = (0.5, 0.75, 1.0)
# v2's setting for its VGG-16 nets.
CRF = CRFParams(
    iterations=10,
    gaussian_weight=3,
    gaussian_xy_std=3,
    bilateral_weight=4,
    bilateral_xy_std=49,
    bilateral_rgb_std=5,
)


def folded_model(folder: Path, model: Path, test_net: str, dialect: str) -> NetSpec:
    """plain.prototxt and plain.caffemodel, of another test net plain-STRIDE: the trained net without normalisation."""
    spec = folded(folder / test_net, model)
    stem = test_net.replace("test", "plain").removesuffix(".prototxt")
    write_net(spec, folder / f"{stem}.prototxt", dialect)
    write_weights(spec.weights, spec, folder / f"{stem}.caffemodel", "v2", by_name=True)
    return spec


def score(
    spec: NetSpec,
    data: SegmentationDataset,
    device: str,
    notes: Path,
    crf: CRFParams | None = CRF,
    scales: Sequence[float] = (1.0,),
) -> dict[str, Any]:
    """Figures on a split by stage ("network", "crf" where there is one), each with its trimap curve; bands follow label
    edges."""
    segmenter = Segmenter(net=CaffeNet(spec), mean_bgr=MEAN_BGR, crf=None, device=device, scales=scales)
    notes.mkdir(exist_ok=True)
    settings = {"net": segmenter.fingerprint()}
    result = evaluate(segmenter, data, crf, TRIMAP_WIDTHS, boundary="edges", resume=notes, settings=settings)
    stages = (NETWORK,) if crf is None else (NETWORK, REFINED)
    return {stage: _figures(result, stage) for stage in stages}


def _figures(result: Result, stage: str) -> dict[str, Any]:
    bands = [matrix_of(band).miou() for band in result.counts[stage][1:]]
    return {
        **figures(result.stage(stage), result.class_names, "zero"),
        "trimap_miou": dict(zip(map(str, TRIMAP_WIDTHS), bands, strict=True)),
    }


def scores(nets: Nets, folder: Path, model: Path, data: SegmentationDataset, device: str) -> dict[str, Any]:
    """By stage: "network", "crf", and of a head on a classifier "msc" and "stride 8", "stride 32" at test."""
    answer: dict[str, Any] = {}
    for test_net, stride in nets.tests().items():
        spec = folded_model(folder, model, test_net, nets.dialect)
        if test_net == TEST_NET:
            answer |= score(spec, data, device, folder / "scored")
            if nets.classifier is not None:
                answer["msc"] = score(spec, data, device, folder / "scored-msc", None, MSC)[NETWORK]
        else:
            answer[f"stride {stride}"] = score(spec, data, device, folder / f"scored-{stride}", None)[NETWORK]
    return answer


def run(folder: Path, name: str, nets: Nets, seed: int, data: Path, every: int, device: str) -> dict[str, Any]:
    """One arm with one seed: its result, from result.json where it is finished. every: of the val photographs, which
    are scored."""
    answer = folder / "result.json"
    facts = {"arm": name, **asdict(ARMS[name]), **asdict(nets.scale), "seed": seed, "val_every": every}
    with output_folder(folder):
        check_origin(folder / "run.json", facts)
        if answer.exists():
            return json.loads(answer.read_text())
        init = nets.write_run(folder, ARMS[name], seed, open_dataset(data, "train"))
        begin = time.monotonic()
        model = train(folder / "solver.prototxt", folder, device, weights=init)
        elapsed = time.monotonic() - begin
        held = open_dataset(data, "val")
        held = replace(held, samples=held.samples[::every])
        stages = scores(nets, folder, model, held, device)
        lines = map(json.loads, (folder / LOG).read_text().splitlines())
        losses = [line["loss"] for line in lines if "loss" in line]
        result = {
            **facts,
            "val_images": len(held.samples),
            "last_loss": sum(losses[-20:]) / len(losses[-20:]),
            "last_call_training_s": round(elapsed, 1),
            "machine": machine_record(),
            **stages,
        }
        write_json(answer, result)
    return result


def about(scale: Scale, data: Path, results: Sequence[Mapping[str, Any]]) -> str:
    """What was trained and scored, in a line."""
    nets = f"heads on {scale.backbone}" if scale.backbone else "narrow nets"
    seeds = len({run["seed"] for run in results})
    learnt = f"{scale.iterations} iterations of {scale.batch} crops, {seeds} seeds"
    return f"{nets}, {learnt}, {results[0]['val_images']} pictures of {data.resolve().name}"


def main(arguments: Sequence[str] | None = None, out: Callable[[str], None] = print) -> int:
    """Exit code 0; errors of training and reading pass through."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder in VOC's layout, with classes.json")
    parser.add_argument("-o", "--output", type=Path, default=Path("ablation"), help="folder of the runs")
    parser.add_argument("--backbone", type=Path, help="folder of a classifier's deploy.prototxt and model.caffemodel")
    parser.add_argument("--arms", default=",".join(ARMS), help=f"of {', '.join(ARMS)}; the first is the base")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--base-lr", type=float)
    parser.add_argument("--crop", type=int, help="side in pixels")
    parser.add_argument("--cut", help="the blob of the classifier that the head reads (MobileNet-v2's)")
    parser.add_argument("--frozen-until", help="the first layer of the classifier that learns, '' for all")
    parser.add_argument("--weight-power", type=float, help="0: frequent classes keep all labels")
    parser.add_argument("--width", type=float, default=1.0, help="factor on all channels; 4 is the papers' full width")
    parser.add_argument("--val-every", type=int, default=1, help="score every so many of the val photographs")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--json", type=Path, help="write all results and comparisons there")
    parser.add_argument("--orderings", type=Path, help="write what `deeplab verify` shows of them there")
    options = parser.parse_args(arguments)
    names = options.arms.split(",")
    unknown = [name for name in names if name not in ARMS]
    if unknown:
        parser.error(f"no arm {unknown[0]!r}; there are {', '.join(ARMS)}")
    if options.threads:
        torch.set_num_threads(options.threads)
    classifier = None if options.backbone is None else read_classifier(options.backbone)
    given = {field.name: getattr(options, field.name, None) for field in fields(Scale)}
    chosen = {name: value for name, value in given.items() if value is not None}
    if options.backbone is None:
        scale = replace(Scale(), **chosen).wider(options.width)
    else:
        scale = replace(ON_A_CLASSIFIER, **{**chosen, "backbone": options.backbone.resolve().name})
    learning = open_dataset(options.data, "train")
    nets = Nets(scale, learning.num_classes, f"fc8_{options.data.resolve().name}", classifier)
    results = []
    # Seed by seed, so that what an unfinished table compares has seen the same seeds.
    for seed in map(int, options.seeds.split(",")):
        for name in names:
            out(f"{name}, seed {seed}")
            folder = options.output / f"{name}_{seed}"
            results.append(run(folder, name, nets, seed, options.data, options.val_every, options.device))
    print_report(results, out)
    if options.json:
        write_json(options.json, {"runs": results, "comparisons": compare(results)})
    if options.orderings:
        facts = {"about": about(scale, options.data, results), "comparisons": compare(results)}
        write_json(options.orderings, facts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
