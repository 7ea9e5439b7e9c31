"""The main job on the bundled model: original files in, refined label maps of photographs and a report out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deeplab_repro.crf.model import CRFParams, DenseCRF
from deeplab_repro.data.sets.datasets import SegmentationDataset, open_dataset
from deeplab_repro.demo.page import Photograph, Picture, Report, Scores, write_report
from deeplab_repro.evaluate.evaluate import NETWORK, REFINED, evaluate
from deeplab_repro.evaluate.metrics import label_edges
from deeplab_repro.files.atomic import output_folder
from deeplab_repro.files.images import read_image, write_image
from deeplab_repro.files.palette import colorize, save_label_png
from deeplab_repro.files.shipped import shipped
from deeplab_repro.net.checkpoint import load_checkpoint, save_checkpoint
from deeplab_repro.net.load import load_caffe
from deeplab_repro.predict.preprocessing import bundled_file, bundled_record
from deeplab_repro.predict.segmenter import Segmenter
from prototxt_import import read_weights

# Another order of summation moves single pixels across a decision; a wrong layer or CRF moves shares by points.
RECORDED_TOLERANCE = 0.005

Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]


def _quiet(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
    return items


def run_demo(
    output_dir: str | os.PathLike[str],
    device: str = "auto",
    data: str | os.PathLike[str] | None = None,
    progress: Progress = _quiet,
) -> dict[str, Any]:
    """Convert the bundled files, segment photographs, refine them with the dense CRF, and write all of it.

    Args:
        output_dir: Gets the checkpoint, report.html, and for each photograph its input, confidence, before, after and
            overlay as PNG.
        device: As of --device.
        data: A folder in VOC's layout with the model's classes, whose split val is scored, too.
        progress: Called with items, description and total; passes the items on and may show a bar.

    Returns:
        Shares of the classes, whether they are the recorded ones, scores, seconds by stage and file names.

    Raises:
        ValueError: The folder of data has other classes, or the device is unknown.
        OSError: The folder cannot be written, or data cannot be read.
    """
    clock = _Clock()
    model, facts = bundled_file(), bundled_record()
    names, palette = facts["class_names"], np.array(facts["palette"], np.uint8)
    dataset = None if data is None else _with_classes(open_dataset(Path(data), "val"), names, data)
    with output_folder(output_dir) as folder:
        checkpoint, page = folder / f"{model.stem}.safetensors", folder / "report.html"
        tensors = _convert(model, checkpoint, facts)
        clock.lap("convert")
        segmenter = Segmenter(checkpoint, crf=None, device=device)
        crf = CRFParams(**facts["crf"])
        refine = DenseCRF(crf)
        found: dict[str, dict[str, dict[str, float]]] = {}
        rows: list[Photograph] = []
        recorded = facts["demo"]
        for name in progress(recorded, "photographs", len(recorded)):
            image = read_image(shipped(f"photographs/{name}.jpg"))
            answer = segmenter(image)
            clock.lap("segment")
            after = _refined(refine, image, answer.scores, segmenter.device)
            clock.lap("refine")
            found[name] = {"before": shares(answer.labels, names), "after": shares(after, names)}
            shown = Picture("overlay, after the CRF", _overlay(image, after, palette))
            pictures = {
                "input": Picture("input", image),
                "confidence": Picture("confidence, dark where the net hesitates", confidence(answer.scores)),
                "before": Picture("before the CRF", colorize(answer.labels, palette)),
                "after": Picture("after the CRF", colorize(after, palette)),
                "overlay": shown,
            }
            _save(folder, name, pictures, {"before": answer.labels, "after": after}, palette)
            rows.append(Photograph(name, list(pictures.values()), found[name]["after"]))
            clock.lap("write")
        near = _near(found, recorded)
        checks = [
            (f"all {tensors} tensors of the checkpoint equal those of {model.stem}.caffemodel bit by bit", True),
            (
                f"each class's share of each photograph is within {100 * RECORDED_TOLERANCE:g} points of the record",
                near,
            ),
        ]
        scores = None
        if dataset is not None:
            scores = _scored(segmenter, dataset, crf, progress)
            clock.lap("score")
            checks.append(("the CRF raises mean IoU", scores.after.miou() > scores.before.miou()))
        report = Report(
            "DeepLab-LargeFOV with a dense CRF",
            f"The bundled Caffe files were converted and run on {len(rows)} photographs, and the fully connected CRF "
            "refined what they found. Before: the net's own labels. After: the CRF's.",
            names,
            palette,
            rows,
            _facts(model, facts, segmenter.device, clock),
            checks,
            scores,
        )
        write_report(report, page)
        clock.lap("write")
    return {
        "photographs": found,
        "matches_recorded": near,
        "device": str(segmenter.device),
        "tensors": tensors,
        **({} if scores is None else scores.summary(names)),
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


def shares(labels: NDArray[np.uint8], names: Sequence[str]) -> dict[str, float]:
    """The share of the pixels of every class that occurs.

    Args:
        labels: uint8 [H, W].
        names: Of the classes, by label.

    Returns:
        Shares, 0..1, by name.
    """
    counts = np.bincount(labels.ravel(), minlength=len(names)) / labels.size
    return {name: float(share) for name, share in zip(names, counts, strict=False) if share}


def _near(found: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    for name, stages in recorded.items():
        for stage, wanted in stages.items():
            own = found[name][stage]
            if any(abs(own.get(key, 0.0) - wanted.get(key, 0.0)) > RECORDED_TOLERANCE for key in {*own, *wanted}):
                return False
    return True


def _with_classes(
    dataset: SegmentationDataset, names: Sequence[str], data: str | os.PathLike[str]
) -> SegmentationDataset:
    if list(dataset.class_names) != list(names):
        raise ValueError(
            f"{os.fspath(data)}: its classes are {', '.join(dataset.class_names)}; the bundled model's are "
            f"{', '.join(names)} (`deeplab eval` scores other models)"
        )
    return dataset


def _convert(model: Path, checkpoint: Path, facts: Mapping[str, Any]) -> int:
    """Write the checkpoint, read it back, and compare every tensor with the caffemodel; how many there are."""
    caffemodel = model.with_suffix(".caffemodel")
    preprocessing = {key: facts[key] for key in ("mean_bgr", "class_names", "palette", "crf")}
    save_checkpoint(load_caffe(model, caffemodel), checkpoint, preprocessing=preprocessing)
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


def _refined(
    crf: DenseCRF, image: NDArray[np.uint8], scores: NDArray[np.float32], device: torch.device
) -> NDArray[np.uint8]:
    marginals = crf(torch.from_numpy(image).to(device), torch.from_numpy(scores).to(device))
    return marginals.argmax(0).to(torch.uint8).cpu().numpy()


def _scored(segmenter: Segmenter, dataset: SegmentationDataset, crf: CRFParams, progress: Progress) -> Scores:
    """Confusion before and after the CRF over a data set."""
    counted = iter(progress(range(len(dataset)), "scoring", len(dataset)))
    result = evaluate(segmenter, dataset, crf, progress=lambda done, total: next(counted, None) and None)
    return Scores(result.stage(NETWORK), result.stage(REFINED), result.images)


def _overlay(image: NDArray[np.uint8], labels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours over the photograph, with a white line around them; what is background stays as it is."""
    shown = (image * 0.45 + colorize(labels, palette) * 0.55).astype(np.uint8)
    shown = np.where((labels == 0)[..., None], image, shown)
    shown[label_edges(labels)] = 255
    return shown


def confidence(scores: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The largest softmax probability as a heat map, dark where the net hesitates.

    Args:
        scores: float32 [L, H, W].

    Returns:
        RGB uint8 [H, W, 3].
    """
    import matplotlib

    odds = np.exp(scores - scores.max(0))
    return matplotlib.colormaps["magma"](1 / odds.sum(0), bytes=True)[..., :3]


def _save(
    folder: Path, name: str, pictures: Mapping[str, Picture], labels: Mapping[str, NDArray[np.uint8]],
    palette: NDArray[np.uint8],
) -> None:  # fmt: skip
    for kind, picture in pictures.items():
        path = folder / f"{name}_{kind}.png"
        if kind in labels:
            save_label_png(labels[kind], path, palette)
        else:
            write_image(np.ascontiguousarray(picture.image), path)


def _facts(model: Path, facts: Mapping[str, Any], device: torch.device, clock: _Clock) -> dict[str, str]:
    caffemodel = model.with_suffix(".caffemodel")
    crf, recipe, val = facts["crf"], facts["recipe"], facts["val"]
    return {
        "Model": f"{model.name} and {caffemodel.name}, {caffemodel.stat().st_size / 1e6:.1f} MB",
        "Trained": f"on {facts['about']}, {recipe['iterations']} iterations of {recipe['batch']} crops",
        "Scores": f"on {val['images']} photographs held back, mean IoU {100 * val['miou_before']:.1f} % before the CRF "
        f"and {100 * val['miou_after']:.1f} % after it",
        "CRF": ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in crf.items()),
        "Device": f"{device}, torch {torch.__version__}, {torch.get_num_threads()} threads",
        "Seconds": ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in clock.seconds.items()),
    }
