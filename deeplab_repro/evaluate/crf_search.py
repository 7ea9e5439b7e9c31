"""Coarse-to-fine search of the bilateral kernel's weight and reaches on stored scores, as in the DeepLab papers.

A grid is scored by the mean IoU over some images; then each round halves the steps around the best setting. Every
finished image is noted in a state file, so that a killed search goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from deeplab_repro import ops
from deeplab_repro.crf.model import CRFParams, DenseCRF
from deeplab_repro.evaluate.metrics import ConfusionMatrix
from deeplab_repro.evaluate.refine import pair_files, read_problem
from deeplab_repro.files.images import read_labels
from deeplab_repro.files.ledger import State, fingerprint
from deeplab_repro.jobs.processes import worker_pool

STATE = "state.json"
# Weights are tried together up to this many energies, 512 MiB.
MOST_ENERGIES = 2**27
Pool = ProcessPoolExecutor | None


class Setting(NamedTuple):
    """The bilateral kernel: weight, standard deviation in pixels and in grey levels."""

    weight: float
    xy_std: float
    rgb_std: float


@dataclass(frozen=True)
class Axis:
    """Values of one parameter, ascending, and the distance between them that refinement halves."""

    values: tuple[float, ...]
    step: float

    MOST: ClassVar[int] = 1000

    @classmethod
    def parse(cls, text: str) -> Axis:
        """From MATLAB's first:last (step 1) or first:step:last, or numbers with commas between them, or one.

        Args:
            text: The values.

        Returns:
            The axis.

        Raises:
            ValueError: It is anything else, or not of positive numbers.
        """
        try:
            numbers = [float(part) for part in text.replace(":", ",").split(",")]
            if ":" in text:
                first, step, last = numbers if len(numbers) != 2 else (numbers[0], 1.0, numbers[1])
                count = int(np.floor((last - first) / step + 1e-9)) + 1
                values = [first + i * step for i in range(min(count, cls.MOST + 1))]
            else:
                values = sorted(set(numbers))
                step = min((b - a for a, b in pairwise(values)), default=values[0] / 2)
        except (ValueError, IndexError, ZeroDivisionError, OverflowError) as error:
            raise ValueError(f"{text}: must be FIRST:LAST, FIRST:STEP:LAST, or numbers with commas between") from error
        if not (values and 0 < values[0] <= values[-1] < float("inf") and step > 0) or len(values) > cls.MOST:
            raise ValueError(f"{text}: must give positive numbers, ascending, {cls.MOST} at most")
        return cls(tuple(values), step)


# The papers' first grids, MATLAB's way.
RANGES = {
    "v1": {"weight": "5:10", "xy_std": "50:10:100", "rgb_std": "3:10"},
    "v2": {"weight": "3:6", "xy_std": "30:10:100", "rgb_std": "3:6"},
}


@dataclass(frozen=True)
class ScoredImage:
    """The files of one image."""

    name: str
    image: Path
    scores: Path
    truth: Path


@dataclass(frozen=True)
class SearchPlan:
    """A search; params: all but the bilateral kernel, which the axes give."""

    items: tuple[ScoredImage, ...]
    params: CRFParams
    weight: Axis
    xy_std: Axis
    rgb_std: Axis
    rounds: int = 1
    probabilities: bool | None = None
    ignore: int = 255
    device: str = "cpu"

    def record(self) -> dict[str, Any]:
        """What the results depend on, as JSON has it."""
        params = {key: value for key, value in asdict(self.params).items() if not key.startswith("bilateral")}
        facts = {
            "images": [item.name for item in self.items],
            "params": params,
            "axes": {name: asdict(getattr(self, name)) for name in Setting._fields},
            "probabilities": self.probabilities,
            "ignore": self.ignore,
        }
        return json.loads(json.dumps(facts))


def find_scored(images: Path, scores: Path, truth: Path, count: int, seed: int) -> tuple[ScoredImage, ...]:
    """Images that have scores, drawn at random.

    Args:
        images: The folder of images.
        scores: The folder of their scores.
        truth: The folder of true labels, ID.png.
        count: How many; all where there are no more.
        seed: Of the drawing.

    Returns:
        The images, sorted by name.

    Raises:
        ValueError: An image has no truth, and as `pair_files`.
    """
    pairs = pair_files(images, scores)
    if count < len(pairs):
        pairs = [pairs[i] for i in sorted(np.random.default_rng(seed).permutation(len(pairs))[:count])]
    items = tuple(ScoredImage(name, image, file, truth / f"{name}.png") for name, image, file in pairs)
    for item in items:
        if not item.truth.is_file():
            raise ValueError(f"{item.truth}: no true labels for {item.scores}")
    return items


class Search:
    """A search and its state, kept in a folder.

    Args:
        plan: What is searched.
        folder: Where the state is kept.

    Raises:
        ValueError: The folder holds the state of another search, or one that cannot be read.
    """

    def __init__(self, plan: SearchPlan, folder: Path) -> None:
        self.plan = plan
        self._state = State(folder / STATE, "a search", plan.record())
        self.baseline: dict[str, float] = {}
        self.results: dict[Setting, dict[str, float]] = {}
        # Where each round of refinement is centred; the best setting may change in its course.
        self._centres: list[Setting] = []
        self._open: dict[str, dict[str, Any]] = {}
        # Fingerprints by image: of all as they are now, of those in some matrix as they were then.
        self._files = {item.name: fingerprint(item.image, item.scores, item.truth) for item in plan.items}
        self._counted: dict[str, str] = {}
        self._state.load(self._take)
        for name, digest in self._counted.items():
            if digest != self._files[name]:
                raise ValueError(
                    f"{self._state.file}: image, scores or truth of {name} changed since they were counted; "
                    "choose another folder"
                )

    def _take(self, state: dict[str, Any]) -> None:
        self.baseline, self._open = state["baseline"], state["open"]
        self._counted = dict(state["files"])
        self._centres = [Setting(*centre) for centre in state["centres"]]
        self.results = {Setting(*row["setting"]): row["scores"] for row in state["results"]}

    def _save(self) -> None:
        state = {
            "files": self._counted,
            "baseline": self.baseline,
            "results": [{"setting": list(setting), "scores": scores} for setting, scores in self.results.items()],
            "centres": self._centres,
            "open": self._open,
        }
        self._state.save(state)

    def best(self) -> Setting:
        """The setting of highest mean IoU; of equal ones, the smallest."""
        return max(sorted(self.results), key=lambda setting: self.results[setting]["miou"])

    def settings(self, round: int) -> list[Setting]:
        """Settings of a round that are not yet known: the grid in round 0, then around the best of those known."""
        if round == 0:
            axes = [getattr(self.plan, name).values for name in Setting._fields]
        else:
            if len(self._centres) < round:
                self._centres.append(self.best())
            axes = [
                _around(value, getattr(self.plan, name).step / 2**round)
                for name, value in self._centres[round - 1]._asdict().items()
            ]
        return [setting for setting in map(Setting._make, product(*axes)) if setting not in self.results]

    def total(self) -> int:
        """How many images `run` goes through, one for each pair of reaches, but for settings that come up twice."""
        plan, known = self.plan, {setting[1:] for setting in self.results}
        return len(plan.items) * (len(plan.xy_std.values) * len(plan.rgb_std.values) + 9 * plan.rounds - len(known))

    def run(self, processes: int = 1) -> Iterator[None]:
        """Work through all rounds, yielding after each image of a pair of reaches, whose lattice serves all weights."""
        with worker_pool(processes) if processes > 1 else nullcontext() as pool:
            if not self.baseline:
                for _ in self._group(None, [], pool):
                    pass
            for round in range(self.plan.rounds + 1):
                groups: dict[tuple[float, float], list[float]] = {}
                for setting in self.settings(round):
                    groups.setdefault(setting[1:], []).append(setting.weight)
                for reaches, weights in groups.items():
                    yield from self._group(reaches, weights, pool)

    def _group(self, reaches: tuple[float, float] | None, weights: list[float], pool: Pool) -> Iterator[None]:
        """Score one pair of reaches with every weight (None: the scores without CRF), image by image."""
        key = "baseline" if reaches is None else f"{reaches[0]:g}/{reaches[1]:g}/{','.join(f'{w:g}' for w in weights)}"
        opened = self._open.setdefault(key, {"images": [], "matrices": []})
        for _ in opened["images"]:
            yield
        todo = [item for item in self.plan.items if item.name not in opened["images"]]
        for item, matrices in _counted(todo, self.plan, reaches, weights, pool):
            before = np.array(opened["matrices"], np.int64) if opened["matrices"] else np.zeros_like(matrices)
            if before.shape != matrices.shape:
                raise ValueError(
                    f"{item.scores}: {matrices.shape[-1]} labels, the other scores have {before.shape[-1]}"
                )
            opened["matrices"] = (before + matrices).tolist()
            opened["images"].append(item.name)
            self._counted[item.name] = self._files[item.name]
            if len(opened["images"]) == len(self.plan.items):
                self._close(key, reaches, weights)
            self._save()
            yield

    def _close(self, key: str, reaches: tuple[float, float] | None, weights: list[float]) -> None:
        matrices = self._open.pop(key)["matrices"]
        scores = [_scores(np.array(matrix, np.int64)) for matrix in matrices]
        if reaches is None:
            self.baseline = scores[0]
            return
        for weight, reached in zip(weights, scores, strict=True):
            self.results[Setting(weight, *reaches)] = reached


def _around(value: float, step: float) -> list[float]:
    return [near for near in (value - step, value, value + step) if near > 0]


def _scores(matrix: NDArray[np.int64]) -> dict[str, float]:
    confusion = ConfusionMatrix(len(matrix))
    confusion.matrix += matrix
    return {"miou": confusion.miou(), "pixel_accuracy": confusion.pixel_accuracy()}


def _counted(
    items: Sequence[ScoredImage],
    plan: SearchPlan,
    reaches: tuple[float, float] | None,
    weights: list[float],
    pool: Pool,
) -> Iterator[tuple[ScoredImage, NDArray[np.int64]]]:
    """Each image and its confusion matrices [weights, L, L], in any order."""
    if pool is None:
        for item in items:
            yield item, count_image(item, plan, reaches, weights)
        return
    slim = replace(plan, items=())
    running = {pool.submit(count_image, item, slim, reaches, weights): item for item in items}
    for future in as_completed(running):
        yield running[future], future.result()


def count_image(
    item: ScoredImage, plan: SearchPlan, reaches: tuple[float, float] | None, weights: Sequence[float]
) -> NDArray[np.int64]:
    """Count the answers for one image.

    Args:
        item: The image.
        plan: The search.
        reaches: Standard deviations of the bilateral kernel, in pixels and in levels; None: the scores alone.
        weights: Weights of that kernel.

    Returns:
        Confusion matrices, int64 [weights, L, L]; [1, L, L] of the scores alone.

    Raises:
        ValueError: Scores, image and truth do not fit each other.
    """
    pixels, logits = read_problem(item.image, item.scores, plan.probabilities)
    truth = read_labels(item.truth)
    if truth.shape != pixels.shape[:2]:
        raise ValueError(f"{item.truth}: {truth.shape} labels for an image of {pixels.shape[:2]} (height, width)")
    if reaches is None:
        predictions = [logits.argmax(0)]
    else:
        params = replace(plan.params, bilateral_weight=1, bilateral_xy_std=reaches[0], bilateral_rgb_std=reaches[1])
        predictions = refine_by_weights(params, weights, pixels, logits, plan.device)
    matrices = []
    for predicted in predictions:
        confusion = ConfusionMatrix(len(logits), plan.ignore)
        try:
            confusion.update(predicted, truth)
        except ValueError as error:
            raise ValueError(f"{item.truth}: {error}; the scores have {len(logits)} labels") from error
        matrices.append(confusion.matrix)
    return np.stack(matrices)


@torch.no_grad()
def refine_by_weights(
    params: CRFParams,
    weights: Sequence[float],
    pixels: NDArray[np.uint8],
    logits: NDArray[np.float32],
    device: str = "cpu",
) -> list[NDArray[np.int64]]:
    """Refine scores by several weights of the bilateral kernel.

    Args:
        params: The other parameters.
        weights: The weights.
        pixels: The image, uint8 [H, W, 3].
        logits: The scores, float32 [L, H, W].
        device: Where the mean field runs.

    Returns:
        A label map [H, W] for each weight.
    """
    image, scores = torch.from_numpy(pixels).to(device), torch.from_numpy(logits).to(device)
    unary, features, own, compatibility = DenseCRF(params).problem(image, scores)
    # A batch over one image builds its lattices once.
    together = max(1, MOST_ENERGIES // max(1, unary.numel()))
    labels: list[NDArray[np.int64]] = []
    for start in range(0, len(weights), together):
        batch = weights[start : start + together]
        q = ops.meanfield(
            unary.expand(len(batch), -1, -1),
            features,
            [kernel for weight in batch for kernel in (*own[:-1], weight)],
            compatibility,
            params.normalization,
            params.iterations,
        )
        labels += [*q.argmax(1).reshape(-1, *pixels.shape[:2]).cpu().numpy()]
    return labels
