"""Mean IoU and boundary scores of weight files on a data set, from counts that are kept per image.

An image's counts appear whole under the run's folder, so a killed run goes on where it stopped, and several processes
or machines that share the folder take different images."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deeplab_repro import zoo
from deeplab_repro.catalog import Catalog, Store
from deeplab_repro.catalog.store import sha256
from deeplab_repro.crf import CRFParams, DenseCRF
from deeplab_repro.files import replacing
from deeplab_repro.images import read_image, read_labels
from deeplab_repro.metrics import ConfusionMatrix, trimap_band
from deeplab_repro.predict import Segmenter
from deeplab_repro.processes import worker_pool
from deeplab_repro.verify.records import Record
from deeplab_repro.verify.stand_in import fitting_net
from deeplab_repro.verify.voc import VocFolder

BEFORE = ""  # name of the scores without a CRF
MOST_WIDTH = 40
_PERCENT = 100.0


@dataclass(frozen=True)
class Run:
    """One weight file over one split: every number that needs it is counted in the same pass.

    crfs: presets applied to the same scores; boundaries: whether the bands of 1 to 40 pixels are counted too."""

    weights: str
    path: Path
    digest: str
    model: str
    classes: str
    input: int
    mean_bgr: tuple[float, float, float]
    data: VocFolder
    crfs: tuple[str, ...]
    boundaries: bool

    def folder(self, work: Path) -> Path:
        """Where the counts are kept: another folder for every other question."""
        facts = {key: value for key, value in asdict(self).items() if key != "path"}
        facts["crfs"] = {name: asdict(CRFParams.preset(name)) for name in self.crfs}
        text = json.dumps(facts, sort_keys=True, default=str)
        return work / f"{self.weights}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


@dataclass(frozen=True)
class Scored:
    """What a run found. counts: by preset (BEFORE without), int64 [1 + bands, L, L], the whole image first;
    stand_in: what tells that the weights are not the originals, or empty."""

    images: int
    stand_in: str
    counts: Mapping[str, NDArray[np.int64]]

    def value(self, record: Record) -> tuple[float, list[float | None]]:
        """Our value of a record in percent, and the IoU of every class.

        Whole images: a class that is nowhere counts 0, as in the authors' script; bands leave such classes out."""
        matrix = ConfusionMatrix(self.counts[record.crf].shape[-1])
        matrix.matrix = self.counts[record.crf][record.width]
        values = {
            "mIoU": matrix.miou("zero"),
            "trimap_mIoU": matrix.miou("nan"),
            "trimap_pixel_acc": matrix.pixel_accuracy(),
            "trimap_class_acc": matrix.mean_accuracy(),
        }
        per_class = [None if np.isnan(value) else _PERCENT * float(value) for value in matrix.per_class("nan")]
        return _PERCENT * values[record.metric], per_class


def plan(
    records: Iterable[Record], catalog: Catalog, store: Store, data: Mapping[str, Path]
) -> list[tuple[Run, list[Record]]]:
    """The runs that give all records whose weights and data are here, each with its records.

    Raises ValueError and OSError where a data folder does not hold what its list names."""
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
    return Run(
        weights=entry.name,
        path=path,
        digest=sha256(path),
        model=first.of or entry.model,
        classes=entry.classes,
        input=entry.input,
        mean_bgr=catalog.mean_bgr,
        data=VocFolder.find(data[first.dataset], first.dataset, first.split, first.labels),
        crfs=tuple(sorted({record.crf for record in records if record.crf})),
        boundaries=any(record.width for record in records),
    )


class _AtSize(Segmenter):
    """A Segmenter that pads every image to one size, as the original test nets do, where it fits."""

    side = 0

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        if self.side and max(height, width) <= self.side:
            return self.side, self.side
        return super().padded_size(height, width)


@functools.lru_cache(maxsize=1)
def _segmenter(run: Run, device: str) -> _AtSize:
    net, _ = fitting_net(run.path, run.model, run.classes)
    segmenter = _AtSize(net=net, mean_bgr=run.mean_bgr, crf=None, device=device)
    segmenter.side = run.input
    return segmenter


def count_image(run: Run, name: str, work: Path, device: str = "cpu") -> None:
    """Segment an image, count its pixels by true and predicted class, and keep the counts."""
    image, truth = read_image(run.data.image(name)), read_labels(run.data.truth(name))
    found = _segmenter(run, device)(image)
    with torch.no_grad():
        pixels, scores = torch.from_numpy(image).to(device), torch.from_numpy(found.scores).to(device)
        labels = {BEFORE: found.labels}
        for preset in run.crfs:
            marginals = DenseCRF(CRFParams.preset(preset))(pixels, scores)
            labels[preset] = marginals.argmax(0).to(torch.uint8).cpu().numpy()
    classes = zoo.DATASETS[run.classes]
    bands = [None, *(trimap_band(truth, width) for width in range(1, MOST_WIDTH + 1) if run.boundaries)]
    try:
        counts = {preset or "before": _count(each, truth, bands, classes) for preset, each in labels.items()}
    except ValueError as error:
        raise ValueError(f"{run.data.truth(name)}: {error}") from error
    with replacing(_file(run, name, work)) as temporary:
        np.savez_compressed(temporary, **counts)


def _count(
    labels: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    bands: Sequence[NDArray[np.bool_] | None],
    classes: int,
) -> NDArray[np.int64]:
    """Confusion counts [len(bands), L, L], each of the pixels of one band; None is the whole image."""
    matrices = []
    for band in bands:
        matrix = ConfusionMatrix(classes)
        matrix.update(labels if band is None else labels[band], truth if band is None else truth[band])
        matrices.append(matrix.matrix)
    return np.stack(matrices)


def count(
    run: Run,
    work: Path,
    device: str = "cpu",
    processes: int = 1,
    share: tuple[int, int] = (0, 1),
    progress: Callable[[Iterable[str], str, int], Iterable[str]] = lambda items, *_: items,
) -> None:
    """Count the images of a run that are not counted yet.

    share: (i, n), the i-th of n equal shares, for several machines or ranks. Errors as `count_image`."""
    run.folder(work).mkdir(parents=True, exist_ok=True)
    names = [name for name in run.data.names[share[0] :: share[1]] if not _file(run, name, work).is_file()]
    what = f"{run.weights} on {run.data.dataset} {run.data.split}"
    for _ in progress(_finished(run, names, work, device, processes), what, len(names)):
        pass


def _finished(run: Run, names: Sequence[str], work: Path, device: str, processes: int) -> Iterator[str]:
    if processes < 2 or len(names) < 2:
        for name in names:
            count_image(run, name, work, device)
            yield name
        return
    with worker_pool(min(processes, len(names))) as pool:
        jobs = {pool.submit(count_image, run, name, work, device): name for name in names}
        for job in as_completed(jobs):
            job.result()
            yield jobs[job]


def gather(run: Run, work: Path) -> Scored:
    """Add up a run's counts. Raises ValueError for counts that are missing or damaged."""
    total: dict[str, NDArray[np.int64]] = {}
    for name in run.data.names:
        path = _file(run, name, work)
        try:
            with np.load(path) as counts:
                for preset in counts.files:
                    key = BEFORE if preset == "before" else preset
                    total[key] = total[key] + counts[preset] if key in total else counts[preset].astype(np.int64)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{path}: no counts of this image, or damaged ones; delete it and run again") from error
    _, stand_in = fitting_net(run.path, run.model, run.classes, build=False)
    return Scored(len(run.data.names), stand_in, total)


def _file(run: Run, name: str, work: Path) -> Path:
    return run.folder(work) / f"{name}.npz"
