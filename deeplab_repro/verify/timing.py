"""Speeds beside the published ones: each is a measurement of the machine it runs on, never right or wrong."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from deeplab_repro import zoo
from deeplab_repro.bench.machine import machine_record
from deeplab_repro.crf.model import CRFParams, DenseCRF
from deeplab_repro.data.scenes.scenes import benchmark_scene
from deeplab_repro.layers.resize import interpolate
from deeplab_repro.verify.facts import SIDES, gigaflops
from deeplab_repro.verify.records import Record
from deeplab_repro.zoo import models

# Runs are repeated up to this time: a first run that takes as long costs little more than the next would.
_ENOUGH_S = 3.0
_RUNS = 3
# Numbers a training step keeps per parameter (value, gradient, momentum), and what blobs take besides.
_STEP_COPIES, _BLOBS = 3, 2 << 30
_CRF_LABELS, _CRF_SIZE = 21, (375, 500)
# See published.toml: agreement of a ratio of training speeds, stated before measuring.
MARGIN = 1.15


class NotEnoughMemory(ValueError):
    """What a measurement needs is not there."""


@dataclass
class Stopwatch:
    """Measures what records ask for, each thing once.

    Args:
        device: Where it runs.
    """

    device: torch.device
    _known: dict[str, float] = field(default_factory=dict)

    def measure(self, record: Record) -> tuple[float, str]:
        """Measure what a timing record asks for.

        Args:
            record: The record.

        Returns:
            Our value in its unit, and how it was taken.

        Raises:
            NotEnoughMemory: The machine has too little.
            ValueError: Nobody measures the record's quantity.
        """
        if record.quantity == "train_speed":
            return self.train_speed(record.of), "batch 1, scores 41x41, forward, backward and update"
        if record.quantity == "train_speed_ratio":
            return self._ratio(record)
        if record.quantity == "inference_speed":
            return self._once("inference", lambda: 1 / inference_seconds(record.of, self.device)), "batch 1, 306x306"
        if record.quantity == "crf_time":
            height, width = _CRF_SIZE
            how = f"{width}x{height} pixels, {_CRF_LABELS} labels"
            return self._once("crf", lambda: crf_seconds(record.of, self.device)), how
        raise ValueError(f"{record.id}: unknown quantity {record.quantity!r}")

    def train_speed(self, name: str) -> float:
        """Measure a training step.

        Args:
            name: The zoo's net.

        Returns:
            Images a second.

        Raises:
            NotEnoughMemory: The machine has too little.
        """
        return self._once(name, lambda: 1 / training_seconds(name, self.device))

    def _ratio(self, record: Record) -> tuple[float, str]:
        base, speeds = "deeplab_7x7", {name: self.train_speed(name) for name in SIDES}
        ratio = speeds[record.of] / speeds[base]
        arithmetic = gigaflops(base) / gigaflops(record.of)
        ordered = speeds[base] < min(speeds["deeplab"], speeds["deeplab_4x4"])
        ordered = ordered and max(speeds["deeplab"], speeds["deeplab_4x4"]) < speeds["deeplab_largefov"]
        agrees = ordered and 1 <= ratio <= MARGIN * arithmetic
        words = f"order {'kept' if ordered else 'not kept'}, arithmetic alone gives {arithmetic:.2f}"
        return ratio, f"{'agrees' if agrees else 'does not agree'} as stated beforehand: {words}"

    def _once(self, name: str, measure: Callable[[], float]) -> float:
        if name not in self._known:
            self._known[name] = measure()
        return self._known[name]


def machine(device: torch.device) -> str:
    """Say what a figure was measured on.

    Args:
        device: Where it was measured.

    Returns:
        The machine in words.
    """
    facts = machine_record()
    if device.type == "cuda":
        return f"{facts['gpu']}, torch {facts['torch']}"
    return f"{facts['cpu']}, {facts['threads']} threads, torch {facts['torch']}"


def training_seconds(name: str, device: torch.device) -> float:
    """Time one training step at full width, batch 1.

    Args:
        name: The zoo's net.
        device: Where it runs.

    Returns:
        Seconds.

    Raises:
        NotEnoughMemory: The machine has too little; raised before taking any.
    """
    side = SIDES[name]
    parameters = zoo.variant(name).parameters or 0
    _check_memory(4 * _STEP_COPIES * parameters + _BLOBS, device)
    net = models.build(name, phase="TRAIN", size=(side, side)).to(device)
    learned = [blob for blob in net.parameters() if blob.requires_grad]
    optimizer = torch.optim.SGD(learned, lr=1e-9, momentum=0.9)

    def step(side: int) -> None:
        picture = torch.randn(1, 3, side, side, device=device)
        labels = torch.randint(0, 21, (1, 1, side, side), device=device).float()
        optimizer.zero_grad(set_to_none=False)
        net(data=picture, label=labels, blobs=[]).loss.backward()
        optimizer.step()

    # Gradients and momentum take their memory in the first step: a small one.
    step(side - 8 * (side // 8 - 4))
    return _seconds(lambda: step(side), device)


def inference_seconds(name: str, device: torch.device, side: int = 306) -> float:
    """Time a forward pass to the scores, batch 1.

    Args:
        name: The zoo's net.
        device: Where it runs.
        side: Of the image in pixels, by default that of the training.

    Returns:
        Seconds.
    """
    net = models.build(name, phase="TRAIN", size=(side, side)).to(device)
    scores = zoo.score_blob(net.spec)
    picture = torch.randn(1, 3, side, side, device=device)
    with torch.no_grad():
        return _seconds(lambda: net(data=picture, blobs=[scores]), device)


def crf_seconds(preset: str, device: torch.device) -> float:
    """Time the dense CRF on a drawn scene that loads it as a photograph does.

    Args:
        preset: The parameters' preset.
        device: Where it runs.

    Returns:
        Seconds.
    """
    image = torch.from_numpy(benchmark_scene(1, *_CRF_SIZE, "busy")).to(device)
    height, width = _CRF_SIZE
    generator = torch.Generator().manual_seed(1)
    coarse = 4 * torch.randn(1, _CRF_LABELS, height // 8, width // 8, generator=generator)
    scores = interpolate(coarse, height, width)[0].to(device)
    crf = DenseCRF(CRFParams.preset(preset))
    with torch.no_grad():
        return _seconds(lambda: crf(image, scores), device)


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    """Median seconds of a few runs after one that does not count; where that one is long it is all there is."""
    runs = [_timed(run, device)]
    while len(runs) <= _RUNS and sum(runs) < _ENOUGH_S:
        runs.append(_timed(run, device))
    return statistics.median(runs[1:] or runs)


def _timed(run: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _check_memory(wanted: int, device: torch.device) -> None:
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _available_memory()
    if free is not None and free < wanted:
        raise NotEnoughMemory(f"needs {wanted / 2**30:.1f} GiB of memory, {free / 2**30:.1f} are free")


def _available_memory() -> int | None:
    """Bytes that can be had without swapping, caches counted as free; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
