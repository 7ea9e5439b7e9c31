"""The dense CRF on files: one image with its scores, or folders of both, in several processes, resumable."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab_repro.crf.doubts import looks_like_probabilities
from deeplab_repro.crf.model import CRFParams, DenseCRF
from deeplab_repro.crf.trace import Trace
from deeplab_repro.crf.unary import scores_from_file
from deeplab_repro.files import images as image_files
from deeplab_repro.files.arrays import SCORE_SUFFIXES, read_scores, write_bin, write_mat, write_npy
from deeplab_repro.files.atomic import output_folder
from deeplab_repro.files.ledger import Notes, check_origin
from deeplab_repro.files.palette import save_label_png
from deeplab_repro.jobs.processes import worker_pool
from deeplab_repro.jobs.ranks import Ranks

RECORD = "crf.json"
NOTES = "crf.jsonl"


@dataclass(frozen=True)
class CrfSettings:
    """How scores are refined; probabilities as in `read_scores`."""

    params: CRFParams
    method: str = "lattice"
    prune: float = 0.0
    probabilities: bool | None = None
    device: str = "cpu"

    def crf(self) -> DenseCRF:
        """The CRF of these settings."""
        crf = DenseCRF(self.params, self.method, self.prune)
        crf.warns = False  # files are looked at when they are read, and images are uint8
        return crf

    def record(self) -> dict[str, Any]:
        """What the results depend on, as JSON has it."""
        return {**asdict(self.params), "method": self.method, "prune": self.prune, "probabilities": self.probabilities}


@dataclass(frozen=True)
class RefineJob:
    """One image, its scores, and the files to write, whose suffixes choose the formats (RESULT_SUFFIXES)."""

    image: Path
    scores: Path
    outputs: tuple[Path, ...]


def read_problem(
    image: Path, scores: Path, probabilities: bool | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Read an image and its scores.

    Args:
        image: The image file.
        scores: The score file.
        probabilities: Whether the scores are; None to go by the file, with a warning where they look like it.

    Returns:
        Pixels uint8 [H, W, 3] and logits float32 [L, H, W].

    Raises:
        ValueError: A file is damaged, or the scores do not cover the image.
        OSError: A file cannot be read.
    """
    pixels = image_files.read_image(image)
    read = read_scores(scores, probabilities).cropped(*pixels.shape[:2])
    if probabilities is None and not read.probabilities and looks_like_probabilities(torch.from_numpy(read.values)):
        # Without the file's name, so that a folder of them is told once.
        warnings.warn(
            "scores sum to 1 at every pixel, so they look like probabilities, and are taken as logits; give "
            "--probabilities if they are (probabilities=True in Python), else --logits (probabilities=False)",
            stacklevel=2,
        )
    return pixels, scores_from_file(read)


def refine(job: RefineJob, settings: CrfSettings) -> None:
    """Run the CRF on a job's files and write its outputs."""
    with torch.no_grad():
        _write(settings.crf()(*_problem(job, settings)), job)


def refine_traced(job: RefineJob, settings: CrfSettings) -> Trace:
    """`refine`, with the free energy and the change of every iteration.

    Args:
        job: The files.
        settings: How scores are refined.

    Returns:
        The course of the mean field.

    Raises:
        ValueError: The method is another than the lattice, or labels are pruned.
    """
    if settings.method != "lattice" or settings.prune:
        raise ValueError("--trace: shows the lattice's mean field of all labels; leave --method and --prune out")
    traced = settings.crf().trace(*_problem(job, settings))
    _write(traced.marginals, job)
    return traced


def _problem(job: RefineJob, settings: CrfSettings) -> tuple[Tensor, Tensor]:
    pixels, logits = read_problem(job.image, job.scores, settings.probabilities)
    return torch.from_numpy(pixels).to(settings.device), torch.from_numpy(logits).to(settings.device)


def _write(marginals: Tensor, job: RefineJob) -> None:
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
    """Every score file of a folder with its image.

    Names are ids: ID.jpg goes with ID.npy, ID.mat or Caffe's ID_blob_0.mat. Images without scores are passed over.

    Args:
        images: The folder of images.
        scores: The folder of scores.
        partner: What errors call the scores.

    Returns:
        (id, image, scores), sorted by id.

    Raises:
        ValueError: There are no scores, scores have no image, or two files are of one id.
        OSError: A folder cannot be read.
    """
    stored = scores_by_id(scores, partner)
    pictures = _by_id(images, image_files.SUFFIXES, wanted=set(stored))
    missing = sorted(set(stored) - set(pictures))
    if missing:
        raise ValueError(
            f"{images}: no image for {len(missing)} of the {len(stored)} {partner}, the first is {stored[missing[0]]}"
        )
    return [(name, pictures[name], stored[name]) for name in sorted(stored)]


def scores_by_id(folder: Path, partner: str = "scores") -> dict[str, Path]:
    """The score files of a folder.

    Args:
        folder: The folder.
        partner: What they are called in errors.

    Returns:
        The files by image id.

    Raises:
        ValueError: There is none, or two stand for one image.
    """
    stored = _by_id(folder, SCORE_SUFFIXES)
    if not stored:
        raise ValueError(f"{folder}: no {partner} ({', '.join(SCORE_SUFFIXES)}) in this folder")
    return stored


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


@dataclass(frozen=True)
class RefinedFolder:
    """What became of a folder of scores, over all ranks. images: how many have scores; refined, kept: how many of them
    were refined now and before; failed: what went wrong, by score file."""

    images: int
    refined: int
    kept: int
    failed: dict[str, str]


def refine_folder(
    images: Path,
    scores: Path,
    output: Path,
    suffixes: Sequence[str],
    settings: CrfSettings,
    ranks: Ranks = Ranks(),
    processes: int = 1,
    overwrite: bool = False,
    progress: Callable[..., Iterable[Any]] = lambda items, description, total=None: items,
    describe: Callable[[BaseException], str] = str,
) -> RefinedFolder:
    """Refine this rank's share of a folder of scores into `output`.

    Results that are there already, from the same files, are kept: crf.json in the folder has the settings, crf.jsonl
    what each result was made from.

    Args:
        images: The folder of images.
        scores: The folder of scores.
        output: Where results go, ID.png and so on.
        suffixes: Of the results.
        settings: How scores are refined.
        ranks: This process among those of the job.
        processes: How many refine, sharing the threads.
        overwrite: Whether results that are there are made anew.
        progress: Is given what is gone through, a word for it and how much it is, and gives it on.
        describe: An error as a sentence; one of an image does not stop the others.

    Returns:
        What became of the folder, over all ranks.

    Raises:
        ValueError: The folder holds results of other settings, and as `pair_files`.
        OSError: A folder cannot be read or written.
    """
    pairs = pair_files(images, scores)
    own = [
        RefineJob(picture, file, tuple(output / f"{name}{suffix}" for suffix in suffixes))
        for name, picture, file in pairs[ranks.rank :: ranks.world]
    ]
    failed: dict[str, str] = {}
    with output_folder(output):
        check_origin(output / RECORD, settings.record(), overwrite)
        notes = Notes(output / NOTES)
        compared = progress(own, "comparing")
        todo = [job for job in compared if overwrite or not notes.done(job.outputs, job.image, job.scores)]
        for job, error in progress(refine_all(todo, settings, processes), "refining", len(todo)):
            if error is None:
                notes.add(job.outputs, job.image, job.scores)
            else:
                failed[str(job.scores)] = describe(error)
    parts = ranks.gather((len(todo), failed))
    failed = {name: text for _, part in parts for name, text in part.items()}
    asked = sum(number for number, _ in parts)
    return RefinedFolder(len(pairs), asked - len(failed), len(pairs) - asked, failed)


def refine_all(
    jobs: Sequence[RefineJob], settings: CrfSettings, processes: int = 1
) -> Iterator[tuple[RefineJob, Exception | None]]:
    """Refine the jobs, in that many processes, which share the threads; yield each as it ends, with what went wrong."""
    if processes == 1:
        for job in jobs:
            yield job, _refine_or_error(job, settings)
        return
    with worker_pool(processes) as pool:
        running = {pool.submit(_refine_or_error, job, settings): job for job in jobs}
        for future in as_completed(running):
            yield running[future], future.result()


def _refine_or_error(job: RefineJob, settings: CrfSettings) -> Exception | None:
    try:
        refine(job, settings)
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        return error
    return None
