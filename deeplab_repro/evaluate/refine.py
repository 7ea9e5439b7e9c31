"""The dense CRF on files: one image with its scores, or folders of both, in several processes, resumable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deeplab_repro.crf.model import CRFParams, DenseCRF
from deeplab_repro.crf.unary import scores_from_file
from deeplab_repro.files import images as image_files
from deeplab_repro.files.arrays import SCORE_SUFFIXES, read_scores, write_bin, write_mat, write_npy
from deeplab_repro.files.ledger import Notes
from deeplab_repro.files.ledger import check_record as check_settings
from deeplab_repro.files.palette import save_label_png
from deeplab_repro.jobs.processes import worker_pool

RESULT_SUFFIXES = (".png", ".bin", ".npy", ".mat")
RECORD = "crf.json"
NOTES = "crf.jsonl"


@dataclass(frozen=True)
class Settings:
    """How scores are refined; probabilities as in `read_scores`."""

    params: CRFParams
    method: str = "lattice"
    prune: float = 0.0
    probabilities: bool | None = None
    device: str = "cpu"

    def crf(self) -> DenseCRF:
        """The CRF of these settings."""
        return DenseCRF(self.params, self.method, self.prune)

    def record(self) -> dict[str, Any]:
        """What the results depend on, as JSON has it."""
        return {**asdict(self.params), "method": self.method, "prune": self.prune, "probabilities": self.probabilities}


@dataclass(frozen=True)
class Job:
    """One image, its scores, and the files to write, whose suffixes choose the formats (RESULT_SUFFIXES)."""

    image: Path
    scores: Path
    outputs: tuple[Path, ...]


def read_problem(job: Job, probabilities: bool | None = None) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Image [H, W, 3] and logits [L, H, W] of a job; errors of `read_image`, `read_scores` and `Scores.cropped`."""
    pixels = image_files.read_image(job.image)
    return pixels, scores_from_file(read_scores(job.scores, probabilities).cropped(*pixels.shape[:2]))


def refine(job: Job, settings: Settings) -> None:
    """Run the CRF on a job's files and write its outputs."""
    pixels, logits = read_problem(job, settings.probabilities)
    with torch.no_grad():
        marginals = settings.crf()(
            torch.from_numpy(pixels).to(settings.device), torch.from_numpy(logits).to(settings.device)
        )
    for target in job.outputs:
        write_marginals(marginals.cpu().numpy(), target)


def write_marginals(marginals: NDArray[np.float32], target: Path) -> None:
    """Marginals [L, H, W] by suffix: .png and .bin (int16) the label map, .npy and .mat as they are."""
    suffix = target.suffix.lower()
    if suffix == ".png":
        save_label_png(marginals.argmax(0), target)
    elif suffix == ".bin":
        write_bin(marginals.argmax(0).astype(np.int16), target)
    elif suffix == ".mat":
        write_mat(marginals, target)
    else:
        write_npy(marginals, target)


def pair_files(images: Path, scores: Path, partner: str = "scores") -> list[tuple[str, Path, Path]]:
    """(id, image, scores) of every score file in a folder, sorted by id.

    Names are ids: ID.jpg goes with ID.npy, ID.mat or Caffe's ID_blob_0.mat. Images without scores are passed over.
    Raises ValueError for a folder without scores, scores without an image, and two files of one id; OSError for
    folders that cannot be read. `partner` names the scores' role in errors."""
    found = _by_id(scores, SCORE_SUFFIXES)
    if not found:
        raise ValueError(f"{scores}: no {partner} ({', '.join(SCORE_SUFFIXES)}) in this folder")
    pictures = _by_id(images, image_files.SUFFIXES, wanted=set(found))
    missing = sorted(set(found) - set(pictures))
    if missing:
        raise ValueError(
            f"{images}: no image for {len(missing)} of the {len(found)} {partner}, the first is {found[missing[0]]}"
        )
    return [(name, pictures[name], found[name]) for name in sorted(found)]


def scores_by_id(folder: Path) -> dict[str, Path]:
    """The score files of a folder by id; errors as `pair_files`."""
    found = _by_id(folder, SCORE_SUFFIXES)
    if not found:
        raise ValueError(f"{folder}: no scores ({', '.join(SCORE_SUFFIXES)}) in this folder")
    return found


def _by_id(folder: Path, suffixes: Sequence[str], wanted: set[str] | None = None) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = path.stem.removesuffix("_blob_0")
        if path.suffix.lower() not in suffixes or not path.is_file() or (wanted is not None and name not in wanted):
            continue
        if name in files:
            raise ValueError(f"{folder}: {files[name].name} and {path.name} both stand for {name}")
        files[name] = path
    return files


def check_record(folder: Path, settings: Settings, overwrite: bool) -> None:
    """`files.check_record` for a folder of refined scores."""
    check_settings(folder / RECORD, settings.record(), overwrite)


def notes_of(folder: Path) -> Notes:
    """Which image and scores each result in the folder was made from."""
    return Notes(folder / NOTES)


def refine_all(jobs: Sequence[Job], settings: Settings, processes: int = 1) -> Iterator[tuple[Job, Exception | None]]:
    """Refine the jobs, in that many processes, which share the threads; yield each as it ends, with what went wrong."""
    if processes == 1:
        for job in jobs:
            yield job, _refine_or_error(job, settings)
        return
    with worker_pool(processes) as pool:
        running = {pool.submit(_refine_or_error, job, settings): job for job in jobs}
        for future in as_completed(running):
            yield running[future], future.result()


def _refine_or_error(job: Job, settings: Settings) -> Exception | None:
    try:
        refine(job, settings)
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        return error
    return None
