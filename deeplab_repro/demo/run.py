"""The main job on the bundled model: original files in, refined and scored label maps, pictures and a report out."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deeplab_repro.crf.model import CRFParams, DenseCRF
from deeplab_repro.data.scenes.scenes import CLASSES, PALETTE, draw_scene
from deeplab_repro.demo.page import Picture, SceneRow, ScoreReport, write_report
from deeplab_repro.evaluate.metrics import ConfusionMatrix
from deeplab_repro.files.atomic import output_folder
from deeplab_repro.files.images import write_image
from deeplab_repro.files.palette import colorize, save_label_png
from deeplab_repro.net.checkpoint import load_checkpoint, save_checkpoint
from deeplab_repro.net.load import load_caffe
from deeplab_repro.predict.preprocessing import BUNDLED
from deeplab_repro.predict.segmenter import Segmenter
from prototxt_import import read_weights

# Another order of summation moves single pixels across a decision; a wrong layer or CRF moves the score by points.
RECORDED_TOLERANCE = 0.002

Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]


def _quiet(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
    return items


def run_demo(
    output_dir: str | os.PathLike[str], device: str = "auto", scenes: int | None = None, progress: Progress = _quiet
) -> dict[str, Any]:
    """Convert the bundled files, segment drawn scenes, refine them with the dense CRF, score both, write all of it.

    Args:
        output_dir: Gets bundled.safetensors, report.html and for each scene its input, truth, scores, before and after
            as PNG.
        device: As of --device.
        scenes: How many, by default those whose scores are recorded (only then are they compared).
        progress: Called with items, description and total; passes the items on and may show a bar.

    Returns:
        Scores, recorded scores, seconds by stage and file names.

    Raises:
        ValueError: There is to be fewer than one scene, or the device is unknown.
        OSError: The folder cannot be written.
    """
    clock = _Clock()
    facts = json.loads(BUNDLED.with_suffix(".json").read_text(encoding="utf-8"))
    recorded = facts["demo"]
    seeds = _seeds(recorded["seeds"], scenes)
    with output_folder(output_dir) as folder:
        checkpoint, page = folder / "bundled.safetensors", folder / "report.html"
        tensors = _convert(checkpoint, facts)
        clock.lap("convert")
        segmenter = Segmenter(checkpoint, crf=None, device=device)
        crf = DenseCRF(CRFParams(**facts["crf"]))
        rows, total = [], _Scores()
        for seed in progress(seeds, "scenes", len(seeds)):
            image, truth = draw_scene(seed, recorded["height"], recorded["width"])
            clock.lap("draw")
            answer = segmenter(image)
            clock.lap("segment")
            after = _refine(crf, image, answer.scores, segmenter.device)
            clock.lap("refine")
            own = _Scores()
            for scores in (own, total):
                scores.add(answer.labels, after, truth)
            pictures = _pictures(image, truth, answer.scores, answer.labels, after)
            _save(folder, f"scene_{seed:02d}", pictures, {"truth": truth, "before": answer.labels, "after": after})
            rows.append(SceneRow(f"Scene {seed}", list(pictures.values()), own.before.miou(), own.after.miou()))
            clock.lap("write")
        near = total.matches(recorded) if seeds == recorded["seeds"] else None
        checks = [(f"all {tensors} tensors of the checkpoint equal those of bundled.caffemodel bit by bit", True)]
        if near is not None:
            checks.append((f"mean IoU is within {100 * RECORDED_TOLERANCE:.1f} points of the recorded values", near))
        checks.append(("the CRF raises mean IoU", total.after.miou() > total.before.miou()))
        report = ScoreReport(
            "DeepLab-LargeFOV with a dense CRF on drawn street scenes",
            f"The bundled Caffe files were converted, run on {len(seeds)} scenes the net has never seen, and refined "
            "by the fully connected CRF. Before: the net's own labels. After: the CRF's.",
            CLASSES,
            PALETTE,
            total.before,
            total.after,
            (recorded["miou_before"], recorded["miou_after"]),
            rows,
            _facts(facts, segmenter.device, clock),
            checks,
        )
        write_report(report, page)
        clock.lap("write")
    return {
        "scenes": len(seeds),
        "device": str(segmenter.device),
        "tensors": tensors,
        "miou_before": total.before.miou(),
        "miou_after": total.after.miou(),
        "recorded_before": recorded["miou_before"],
        "recorded_after": recorded["miou_after"],
        "matches_recorded": near,
        "iou_before": dict(zip(CLASSES, total.before.per_class().tolist(), strict=True)),
        "iou_after": dict(zip(CLASSES, total.after.per_class().tolist(), strict=True)),
        "seconds": clock.seconds,
        "report": str(page),
        "checkpoint": str(checkpoint),
    }


class _Clock:
    """Seconds by stage: each lap counts from the last one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


class _Scores:
    """Confusion before and after the CRF."""

    def __init__(self) -> None:
        self.before, self.after = ConfusionMatrix(len(CLASSES)), ConfusionMatrix(len(CLASSES))

    def add(self, before: NDArray[np.uint8], after: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        self.before.update(before, truth)
        self.after.update(after, truth)

    def matches(self, recorded: dict[str, Any]) -> bool:
        pairs = ((self.before, recorded["miou_before"]), (self.after, recorded["miou_after"]))
        return all(abs(matrix.miou() - value) <= RECORDED_TOLERANCE for matrix, value in pairs)


def _seeds(recorded: Sequence[int], count: int | None) -> list[int]:
    if count is None:
        return list(recorded)
    if count < 1:
        raise ValueError(f"run_demo: scenes must be at least 1, got {count}")
    more = range(max(recorded) + 1, max(recorded) + 1 + count)
    return [*recorded, *more][:count]


def _convert(checkpoint: Path, facts: dict[str, Any]) -> int:
    """Write the checkpoint, read it back, and compare every tensor with the caffemodel; how many there are."""
    caffemodel = BUNDLED.with_suffix(".caffemodel")
    preprocessing = {key: facts[key] for key in ("mean_bgr", "class_names", "palette", "crf")}
    save_checkpoint(load_caffe(BUNDLED, caffemodel), checkpoint, preprocessing=preprocessing)
    params = {layer: blobs for layer, blobs in load_checkpoint(checkpoint).params.items() if blobs}
    source = {layer: blobs for layer, blobs in read_weights(caffemodel).items() if blobs}
    if set(source) != set(params):
        raise RuntimeError(f"{checkpoint}: other layers than {caffemodel}: {sorted(set(source) ^ set(params))}")
    count = 0
    for layer, blobs in source.items():
        for index, (blob, param) in enumerate(zip(blobs, params[layer], strict=True)):
            if not np.array_equal(np.asarray(blob).reshape(param.shape), param.detach().numpy()):
                raise RuntimeError(f"{checkpoint}: {layer}/{index} differs from {caffemodel}")
            count += 1
    return count


def _refine(
    crf: DenseCRF, image: NDArray[np.uint8], scores: NDArray[np.float32], device: torch.device
) -> NDArray[np.uint8]:
    marginals = crf(torch.from_numpy(image).to(device), torch.from_numpy(scores).to(device))
    return marginals.argmax(0).to(torch.uint8).cpu().numpy()


def _pictures(
    image: NDArray[np.uint8], truth: NDArray[np.uint8], scores: NDArray[np.float32], before: NDArray[np.uint8],
    after: NDArray[np.uint8],
) -> dict[str, Picture]:  # fmt: skip
    return {
        "input": Picture("input", image),
        "truth": Picture("truth", colorize(truth, PALETTE)),
        "scores": Picture("scores: confidence", _confidence(scores)),
        "before": Picture("before the CRF", colorize(before, PALETTE)),
        "after": Picture("after the CRF", colorize(after, PALETTE)),
    }


def _confidence(scores: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The largest softmax probability of scores [L, H, W] as a heat map, dark where the net hesitates."""
    import matplotlib

    odds = np.exp(scores - scores.max(0))
    return matplotlib.colormaps["magma"](1 / odds.sum(0), bytes=True)[..., :3]


def _save(
    folder: Path, name: str, pictures: dict[str, Picture], labels: dict[str, NDArray[np.uint8]]
) -> None:  # fmt: skip
    for kind, picture in pictures.items():
        path = folder / f"{name}_{kind}.png"
        if kind in labels:
            save_label_png(labels[kind], path, PALETTE)
        else:
            write_image(np.ascontiguousarray(picture.image), path)


def _facts(facts: dict[str, Any], device: torch.device, clock: _Clock) -> dict[str, str]:
    caffemodel = BUNDLED.with_suffix(".caffemodel")
    crf, recipe = facts["crf"], facts["recipe"]
    return {
        "Model": f"{BUNDLED.name} (v1 dialect) and {caffemodel.name}, {caffemodel.stat().st_size / 1e6:.1f} MB",
        "Trained": f"{recipe['iterations']} iterations of {recipe['batch']} drawn scenes",
        "CRF": ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in crf.items()),
        "Device": f"{device}, torch {torch.__version__}, {torch.get_num_threads()} threads",
        "Seconds": ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in clock.seconds.items()),
    }
