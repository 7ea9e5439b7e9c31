"""Images a second out of a training data layer, against the loader of the common PyTorch port."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from deeplab_repro.data.feeds.feeds import open_feeds
from deeplab_repro.data.scenes.scenes import benchmark_scene, draw_scene
from deeplab_repro.files.images import write_image
from deeplab_repro.zoo.training import MEAN_BGR
from prototxt_import import NetSpec, read_net

SIZE, CROP, BATCH = (375, 500), 321, 10
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)
Kind = Literal["thread", "process"]
WORKERS: tuple[tuple[Kind, int], ...] = (("thread", 0), ("process", 2), ("thread", 2))


def bench_data(
    seconds: float = 10.0,
    progress: Callable[[str], None] = lambda line: None,
    workers: tuple[tuple[Kind, int], ...] = WORKERS,
    images: int = 32,
) -> list[dict[str, Any]]:
    """A row without and one with scale augmentation; a row passes when batches do not depend on the workers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_images(folder, images)
        rows = []
        for scales in ((), SCALES):
            rows.append(_bench(folder, scales, seconds, workers))
            progress(format_row(rows[-1]))
    return rows


def format_row(row: dict[str, Any]) -> str:
    """One line: images a second of each loader, and ours over the port's."""
    base = row["images_per_s"]["port"]
    cells = [f"{name} {rate:.0f}/s {rate / base:.2f}x" for name, rate in row["images_per_s"].items()]
    return f"{row['case']}  {'  '.join(cells)}{'' if row['passed'] else '  WRONG: batches differ'}"


def _write_images(folder: Path, images: int) -> None:
    """JPEGs and palette-free label PNGs of VOC's usual size, with a photograph's detail."""
    lines = []
    for i in range(images):
        write_image(benchmark_scene(i, *SIZE, "busy"), folder / f"{i}.jpg")
        cv2.imwrite(str(folder / f"{i}.png"), draw_scene(i, *SIZE)[1])
        lines.append(f"{i}.jpg {i}.png\n")
    (folder / "list.txt").write_text("".join(lines))


def layer_spec(folder: Path, scales: tuple[float, ...]) -> NetSpec:
    """A training net of one ImageSegData layer over the folder's list."""
    means = " ".join(f"mean_value: {value}" for value in MEAN_BGR)
    factors = " ".join(f"scale_factors: {value}" for value in scales)
    (folder / "net.prototxt").write_text(
        'layer { name: "data" type: "ImageSegData" top: "data" top: "label" include { phase: TRAIN }\n'
        f" transform_param {{ mirror: true crop_size: {CROP} {means} {factors} }}\n"
        f' image_data_param {{ source: "list.txt" batch_size: {BATCH} shuffle: true label_type: PIXEL }} }}\n'
    )
    return read_net(folder / "net.prototxt", phase="TRAIN")


def _bench(
    folder: Path, scales: tuple[float, ...], seconds: float, workers: tuple[tuple[Kind, int], ...]
) -> dict[str, Any]:
    spec = layer_spec(folder, scales)
    rates = {"port": _rate(_port_batches(folder, scales or (1.0,)), seconds)}
    firsts = []
    for kind, number in workers:
        with open_feeds(spec, seed=1, workers=number, worker_kind=kind) as feeds:
            firsts.append(feeds.next()["data"])
            rates[_name(kind, number)] = _rate((feeds.next()["data"] for _ in count()), seconds)
    return {
        "case": f"{SIZE[1]}x{SIZE[0]} JPEG, crop {CROP}, batch {BATCH}, {'scales' if scales else 'no scales'}",
        "images_per_s": rates,
        "over_port": max(rates.values()) / rates["port"],
        "passed": all(torch.equal(first, firsts[0]) for first in firsts),
    }


def _name(kind: Kind, number: int) -> str:
    return f"{number} {'threads' if kind == 'thread' else 'processes'}" if number else "no workers"


def _rate(batches: Iterator[Tensor], seconds: float) -> float:
    """Images a second, after one batch to begin with."""
    next(batches)
    done, elapsed, start = 0, 0.0, time.perf_counter()
    while not done or elapsed < seconds:
        done += len(next(batches))
        elapsed = time.perf_counter() - start
    return done / elapsed


class _PortDataset(Dataset[tuple[np.ndarray, np.ndarray]]):
    """The steps of the common PyTorch port of DeepLab v2 for one image: float pixels from the start, then scale, pad,
    crop, flip and mean on the whole of them."""

    def __init__(self, folder: Path, scales: tuple[float, ...]) -> None:
        self._names = [line.split() for line in (folder / "list.txt").read_text().splitlines()]
        self._folder, self._scales = folder, scales
        self._random = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        first, second = self._names[index]
        stored = cv2.imread(str(self._folder / first), cv2.IMREAD_COLOR)
        assert stored is not None
        image: np.ndarray = stored.astype(np.float32)
        label: np.ndarray = np.asarray(Image.open(self._folder / second), dtype=np.int32)
        scale = float(self._random.choice(self._scales))
        size = int(label.shape[1] * scale), int(label.shape[0] * scale)
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        label = np.asarray(Image.fromarray(label.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
        missing = max(CROP - size[1], 0), max(CROP - size[0], 0)
        if any(missing):
            border = (0, missing[0], 0, missing[1], cv2.BORDER_CONSTANT)
            image = cv2.copyMakeBorder(image, *border, value=MEAN_BGR)
            label = cv2.copyMakeBorder(label, *border, value=255)
        top, left = (int(self._random.integers(side - CROP + 1)) for side in label.shape)
        image, label = image[top : top + CROP, left : left + CROP], label[top : top + CROP, left : left + CROP]
        if self._random.random() < 0.5:
            image, label = np.fliplr(image).copy(), np.fliplr(label).copy()
        image = image - np.array(MEAN_BGR)
        return image.transpose(2, 0, 1).astype(np.float32), label.astype(np.int64)


def _port_batches(folder: Path, scales: tuple[float, ...]) -> Iterator[Tensor]:
    loader = DataLoader(_PortDataset(folder, scales), batch_size=BATCH, shuffle=True, drop_last=True)
    while True:
        for image, _ in loader:
            yield image
