"""Mean IoU and boundary scores of weight files on a data set, from counts that are kept per image.

Every weight file runs once over a split and gives all numbers that need it, before and after its CRF."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deeplab_repro import zoo
from deeplab_repro.catalog import Catalog, Store
from deeplab_repro.catalog.store import sha256
from deeplab_repro.crf.model import CRFParams
from deeplab_repro.data.sets.datasets import SegmentationDataset, open_dataset
from deeplab_repro.evaluate.evaluate import NETWORK, REFINED, Result, evaluate, matrix_of
from deeplab_repro.jobs.processes import worker_pool
from deeplab_repro.predict.segmenter import Segmenter
from deeplab_repro.verify.records import Record
from deeplab_repro.verify.stand_in import fitting_net

# A bar of a title: told how many steps are done, and how many there are.
Steps = Callable[[int, int], None]
Progress = Callable[[str], AbstractContextManager[Steps]]
MOST_WIDTH = 40
# Images that a process takes at a time.
SHARE = 8
_PERCENT = 100.0


def no_progress(title: str) -> AbstractContextManager[Steps]:
    """Progress that nobody sees.

    Args:
        title: What would stand before the bar.

    Returns:
        The context manager of a bar that shows nothing.
    """
    return nullcontext(lambda done, total: None)


@dataclass(frozen=True)
class Run:
    """One weight file over one split.

    Args:
        weights: The file's name in the catalog.
        path: The file.
        digest: Its sha256.
        model: The zoo's net that it is for.
        classes: A key of zoo.DATASETS.
        input: The side in pixels that images are padded to; 0 where that is the next 32k + 1.
        scale: Relative size at which images are given to the net.
        mean_bgr: Of blue, green and red, in grey levels.
        data: The split.
        crf: The preset whose answer is counted as well, or empty.
        boundaries: Whether the bands of 1 to 40 pixels are counted too.
    """

    weights: str
    path: Path
    digest: str
    model: str
    classes: str
    input: int
    scale: float
    mean_bgr: tuple[float, float, float]
    data: SegmentationDataset
    crf: str
    boundaries: bool

    @property
    def params(self) -> CRFParams | None:
        """The CRF's parameters, None without one."""
        return CRFParams.preset(self.crf) if self.crf else None

    def facts(self) -> dict[str, Any]:
        """What the counts depend on.

        Returns:
            Facts by name, as JSON has them.
        """
        first = self.data.samples[0]
        return {
            "weights": self.digest,
            "model": self.model,
            "input": self.input,
            "scale": self.scale,
            "mean_bgr": list(self.mean_bgr),
            "images": str(first.image.parent),
            "labels": str(first.label.parent if first.label else None),
            "crf": self.params and asdict(self.params),
            "boundaries": self.boundaries,
        }

    def folder(self, work: Path) -> Path:
        """Where the counts are kept: another folder for every other question.

        Args:
            work: The folder of all runs.

        Returns:
            This run's.
        """
        text = json.dumps(self.facts(), sort_keys=True)
        return work / f"{self.weights}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


@dataclass(frozen=True)
class Scored:
    """What a run found.

    Args:
        result: Its counts.
        stand_in: What tells that its weights are not the originals, or empty.
    """

    result: Result
    stand_in: str

    def value(self, record: Record) -> tuple[float, dict[str, float | None]]:
        """Our value of a record.

        Whole images: a class that is nowhere counts 0, as in the authors' script; bands leave such classes out.

        Args:
            record: The record.

        Returns:
            The value, and the IoU of every class by name, None where it occurs nowhere; in percent.
        """
        matrix = matrix_of(self.result.counts[REFINED if record.crf else NETWORK][record.width])
        values = {
            "mIoU": matrix.miou("zero"),
            "trimap_mIoU": matrix.miou("nan"),
            "trimap_pixel_acc": matrix.pixel_accuracy(),
            "trimap_class_acc": matrix.mean_accuracy(),
        }
        shares = zip(self.result.class_names, matrix.per_class("nan").tolist(), strict=True)
        # NaN is the one value that is not equal to itself.
        per_class = {name: _PERCENT * share if share == share else None for name, share in shares}
        return _PERCENT * values[record.metric], per_class


def runs_for(
    records: Iterable[Record], catalog: Catalog, store: Store, data: Mapping[str, Path]
) -> list[tuple[Run, list[Record]]]:
    """Choose the runs that give all records whose weights and data are here.

    Args:
        records: The records.
        catalog: What the weight files are.
        store: The weight files.
        data: Folders by data set.

    Returns:
        Runs, each with its records.

    Raises:
        ValueError: A folder is no data set, or has no such list.
        OSError: A folder does not hold what its list names.
    """
    together: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        if record.check == "data" and record.dataset in data and store.find(record.weights) is not None:
            key = (record.weights, record.of, record.dataset, record.split, record.labels)
            together.setdefault(key, []).append(record)
    return [(_run(group, catalog, store, data), group) for group in together.values()]


def _run(records: Sequence[Record], catalog: Catalog, store: Store, data: Mapping[str, Path]) -> Run:
    first, entry = records[0], catalog.entry(records[0].weights)
    path = store.find(entry.name)
    assert path is not None
    (crf,) = {record.crf for record in records if record.crf} or {""}
    return Run(
        weights=entry.name,
        path=path,
        digest=sha256(path),
        model=first.of or entry.model,
        classes=entry.classes,
        input=entry.input,
        scale=entry.scale,
        mean_bgr=catalog.mean_bgr,
        data=open_split(data[first.dataset], first.dataset, first.split, entry.classes, first.labels),
        crf=crf,
        boundaries=any(record.width for record in records),
    )


def open_split(
    folder: Path, name: str, split: str, classes: str = "", labels: str = "SegmentationClass"
) -> SegmentationDataset:
    """Open a split of a data set.

    Args:
        folder: The data set's folder, or the one above it (VOCdevkit of VOC2012).
        name: The data set's name.
        split: The split's name.
        classes: A key of zoo.DATASETS, whose number of classes a folder that does not tell them has.
        labels: The folder of truth in VOC's layout.

    Returns:
        The split.

    Raises:
        ValueError: The folder is no data set, or has no such list.
        FileNotFoundError: An image or label map is not there.
    """
    root = folder / name if (folder / name).is_dir() else folder
    dataset = open_dataset(root, split)
    if classes and dataset.num_classes != zoo.DATASETS[classes]:
        dataset = open_dataset(root, split, zoo.DATASETS[classes])
    if dataset.kind == "voc":
        samples = (replace(sample, label=root / labels / f"{sample.name}.png") for sample in dataset.samples)
        dataset = replace(dataset, samples=tuple(samples))
    for sample in dataset.samples:
        for path in (sample.image, sample.label):
            if path is not None and not path.is_file():
                raise FileNotFoundError(f"{path}: not there, but in the list {split}")
    return dataset


class _AtSize(Segmenter):
    """A Segmenter that pads every image to one size, as the original test nets do, where it fits."""

    side = 0

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        if self.side and max(height, width) <= self.side:
            return self.side, self.side
        return super().padded_size(height, width)


@functools.lru_cache(maxsize=1)
def _segmenter(run: Run, device: str) -> tuple[_AtSize, str]:
    net, stand_in = fitting_net(run.path, run.model, run.classes)
    segmenter = _AtSize(net=net, mean_bgr=run.mean_bgr, scales=(run.scale,), crf=None, device=device)
    segmenter.side = run.input
    return segmenter, stand_in


def count(
    run: Run,
    work: Path,
    device: str = "cpu",
    processes: int = 1,
    rank: tuple[int, int] = (0, 1),
    progress: Progress = no_progress,
) -> None:
    """Count the images of a run that are not counted yet.

    Args:
        run: The run.
        work: Where the counts are kept.
        device: Where the net runs.
        processes: How many of this machine share the work.
        rank: (i, n), this one's place in a job of n, which takes every n-th share.
        progress: Shows how far it is.

    Raises:
        ValueError: The weights do not fit the net, or a label map the classes.
        OSError: A file cannot be read or written.
    """
    shares = range(0, len(run.data), SHARE)[rank[0] :: rank[1]]
    with progress(f"{run.weights} on {run.data.name} {run.data.split}") as steps:
        if processes < 2 or len(shares) < 2:
            for done, start in enumerate(shares, 1):
                _share(run, work, device, start)
                steps(done, len(shares))
            return
        with worker_pool(min(processes, len(shares))) as pool:
            jobs = [pool.submit(_share, run, work, device, start) for start in shares]
            for done, job in enumerate(as_completed(jobs), 1):
                job.result()
                steps(done, len(jobs))


def gather(run: Run, work: Path, device: str = "cpu") -> Scored:
    """Add up a run's counts; what is missing of them is counted here.

    Args:
        run: The run.
        work: Where the counts are kept.
        device: Where the net runs.

    Returns:
        What the run found.

    Raises:
        ValueError: As of `count`.
        OSError: As of `count`.
    """
    results = [_share(run, work, device, start) for start in range(0, len(run.data), SHARE)]
    total = {stage: np.sum([result.counts[stage] for result in results], axis=0) for stage in results[0].counts}
    whole = replace(results[0], images=len(run.data), counts=total)
    return Scored(whole, _segmenter(run, device)[1])


def _share(run: Run, work: Path, device: str, start: int) -> Result:
    """Some images in a row. Shares keep their counts apart, so that any process may take any of them."""
    part = replace(run.data, samples=run.data.samples[start : start + SHARE])
    folder = run.folder(work) / f"{start:05d}"
    folder.mkdir(parents=True, exist_ok=True)
    widths = range(1, MOST_WIDTH + 1) if run.boundaries else ()
    return evaluate(_segmenter(run, device)[0], part, run.params, widths, resume=folder, settings=run.facts())
