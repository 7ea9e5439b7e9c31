"""ImageSegData, ImageData and DenseImageData: batches of the images that a list names."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from deeplab_repro.data.feeds.feed import Opening, feed
from deeplab_repro.data.feeds.items import LoadedImage, LoadJob, LoadOptions, load, load_in_worker
from deeplab_repro.data.feeds.lists import ListItem, check_same_list, list_digest, read_list, read_mean_image
from deeplab_repro.data.feeds.planner import Draw, Planner
from prototxt_import import CaffeFormatError
from prototxt_import.errors import complain
from prototxt_import.wiring import check_shape


@dataclass
class _Batch:
    before: dict[str, Any]  # the planner's state that leads to this batch
    jobs: list[LoadJob]
    loads: list[Future[LoadedImage]] | None


@feed("ImageSegData", "ImageData", "DenseImageData", ahead=True)
class ImageFeed:
    """Batches of an ImageSegData, ImageData or DenseImageData layer, as CPU float32 tensors by top.

    Args:
        opening: The layer and what it is opened with.

    Raises:
        CaffeFormatError: An option is one that Caffe refuses too, or the list cannot be read.
    """

    def __init__(self, opening: Opening) -> None:
        self._layer, self._spec = layer, spec = opening.layer, opening.spec
        options = layer.options
        # ImageSegData says what its labels are; ImageData's are integers, DenseImageData's maps.
        self._dense = layer.type == "DenseImageData"
        label: Any = "PIXEL" if self._dense else getattr(options, "label_type", None)
        segmentation = label is not None and not self._dense
        self._most = getattr(options, "max_labels", 1)
        self._check(segmentation)
        self._load_options = LoadOptions(
            (options.new_height, options.new_width) if options.new_height else None,
            options.window,
            options.is_color,
            segmentation,
            label,
            options.ignore_label if segmentation else 255,
            smooth_labels=segmentation,
            mirrors_first=self._dense,
            padding_means=bool(options.transform.mean_value),
        )
        named = spec.variables.values()
        items = self._or_complain(
            lambda: read_list(options.source, spec.source, options.root_folder, label or "IMAGE", named, self._most)
        )
        self._items: list[ListItem] = items
        self._list = list_digest(options.source, spec.source, named)
        self._or_complain(lambda: self._check_batch(items[0]))
        self._planner = self._or_complain(lambda: Planner(len(items), layer, spec, opening.process))
        self._part = opening.part
        self._pool = opening.pool
        # Enough in flight that a worker never waits for this process to come round.
        rows = opening.part.stop - opening.part.start
        self._depth = 1 if self._planner.one_ahead else max(2, math.ceil(2 * opening.busy / rows))
        self._ahead: deque[_Batch] = deque()
        mean = read_mean_image(options.transform.mean_file, spec) if options.transform.mean_file else None
        self._writer = _PixelWriter(options, mean, self._dense)

    def _check(self, segmentation: bool) -> None:
        options, transform = self._layer.options, self._layer.options.transform
        if (options.new_height > 0) != (options.new_width > 0):
            raise self._complain("new_height and new_width must be given together", options.new_height or 0)
        if segmentation and transform.mean_file:
            raise self._complain("mean_file is not for ImageSegData; give mean_value", transform.mean_file)
        if not segmentation and transform.scale_factors:
            raise self._complain("scale_factors are for ImageSegData", list(transform.scale_factors))
        if transform.mean_file and transform.mean_value:
            raise self._complain("mean_file and mean_value exclude each other", transform.mean_file)
        channels = 3 if options.is_color else 1
        if len(transform.mean_value) not in (0, 1, channels):
            raise self._complain(f"mean_value must be given once, or {channels} times", len(transform.mean_value))

    def _check_batch(self, first: ListItem) -> None:
        """Refuse batches of more elements than Caffe can count, where only the images tell their size."""
        if self._load_options.crop or self._load_options.size:
            return
        try:
            with Image.open(first.image) as image:
                width, height = image.size
        except OSError:
            return  # reading it says what is wrong, with its place in the list
        try:
            check_shape((self._layer.options.batch_size, 3 if self._load_options.color else 1, height, width))
        except ValueError as error:
            raise ValueError(f"batch_size {self._layer.options.batch_size}: {error}; give a smaller one") from None

    def _complain(self, fault: str, value: object) -> ValueError:
        layer = self._layer
        return complain(f"{fault}; found {value!r}", source=self._spec.source, line=layer.line, layer=layer.name)

    def _or_complain(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except CaffeFormatError:
            raise
        except ValueError as error:
            raise complain(
                str(error), source=self._spec.source, line=self._layer.line, layer=self._layer.name
            ) from None

    def next(self) -> dict[str, Tensor]:
        """The next batch.

        Returns:
            Tensors by top, float32 on the CPU.

        Raises:
            ValueError: An image cannot be used; the message names list, line and file.
            RuntimeError: A process that reads images died.
        """
        try:
            batch = self._take()
            if self._pool is not None:
                while len(self._ahead) < self._depth:
                    self._ahead.append(self._plan())
            jobs = batch.jobs[self._part]
            if batch.loads is None:
                items = [load(self._load_options, job) for job in jobs]
            else:
                items = [future.result() for future in batch.loads]
        except BrokenProcessPool as error:
            raise RuntimeError("a process that reads images ended without a word (out of memory, killed?)") from error
        return self._blobs(items, jobs)

    def skip(self) -> None:
        """Pass over a batch: everything is drawn, nothing is read."""
        self._take()

    def _take(self) -> _Batch:
        batch = self._ahead.popleft() if self._ahead else self._plan()
        self._planner.reseed()
        return batch

    def _plan(self) -> _Batch:
        before = self._planner.state()
        jobs = [self._job(draw) for draw in self._planner.plan(self._layer.options.batch_size)]
        pool = self._pool
        read = load if isinstance(pool, ThreadPoolExecutor) else load_in_worker
        loads = None if pool is None else [pool.submit(read, self._load_options, job) for job in jobs[self._part]]
        return _Batch(before, jobs, loads)

    def _job(self, draw: Draw) -> LoadJob:
        item = self._items[draw.index]
        return LoadJob(item.image, item.label, item.where, draw.mirror, draw.scale, draw.offsets)

    def _blobs(self, items: list[LoadedImage], jobs: list[LoadJob]) -> dict[str, Tensor]:
        height, width = items[0].window
        for item, job in zip(items, jobs, strict=True):
            if item.window != (height, width):
                raise ValueError(
                    f"{job.where}: {item.window[0]} x {item.window[1]} pixels in a batch of {height} x {width}; "
                    "give crop_size, new_height and new_width, or batch_size 1"
                )
        options, count = self._load_options, len(items)
        data = torch.zeros(count, 3 if options.color else 1, height, width)
        tops: list[Tensor] = [data]
        pixels = data.numpy()
        for i, (item, job) in enumerate(zip(items, jobs, strict=True)):
            self._writer.write(item, job, pixels[i])
        if self._most > 1:
            label = torch.full((count, self._most, 1, 1), -1.0)
            for i, job in enumerate(jobs):
                assert isinstance(job.label, tuple)
                label[i, : len(job.label), 0, 0] = torch.tensor(job.label, dtype=torch.float32)
            tops.append(label)
        elif options.label is None:
            label = torch.tensor([float(job.label or 0) for job in jobs])  # type: ignore[arg-type]
            tops.append(label.reshape(count, 1, 1, 1) if self._layer.options.four_axes else label)
        else:
            label = torch.full((count, 1, height, width), float(options.ignore_label))
            for i, (item, job) in enumerate(zip(items, jobs, strict=True)):
                assert item.label is not None
                _part_of(label.numpy()[i, 0], item.label.shape, job.mirror)[:] = item.label
            real = [[min(height, item.real[0]), min(width, item.real[1])] for item in items]
            tops += [label, torch.tensor(real, dtype=torch.float32).reshape(count, 1, 1, 2)]
        return dict(zip(self._layer.tops, tops, strict=False))

    def state(self) -> dict[str, Any]:
        """What leads to the batch that `next` would give.

        Returns:
            What `restore` takes, as plain numbers and lists.
        """
        state = self._ahead[0].before if self._ahead else self._planner.state()
        order = range(len(self._items)) if state["order"] is None else state["order"].tolist()
        return {**state, "order": list(order), "list": self._list}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; batches read ahead are dropped.

        Args:
            state: What `state` gave.

        Raises:
            ValueError: The state is of another list.
        """
        check_same_list(self._layer.options.source, state, self._list, len(self._items))
        self.close()
        self._planner.restore(state)

    def close(self) -> None:
        """Drop the batches read ahead."""
        for batch in self._ahead:
            for future in batch.loads or ():
                future.cancel()
        self._ahead.clear()


def _part_of(plane: NDArray[np.float32], size: tuple[int, ...], mirror: bool) -> NDArray[np.float32]:
    """Where an image of that size lies in its window, as a view that is written left to right in the image's order."""
    view = plane[:, ::-1] if mirror else plane
    return view[: size[0], : size[1]]


class _PixelWriter:
    """Writes (pixel - mean) * scale, in double precision and rounded once, as the forks do; padding stays zero.

    cut_before: a mean image is as large as the part that was cut out and mirrored, not as the image was."""

    def __init__(self, options: Any, mean: NDArray[np.float32] | None, cut_before: bool = False) -> None:
        transform = options.transform
        self._cut_before = cut_before
        channels = 3 if options.is_color else 1
        self._mean, self._scale = mean, np.float64(np.float32(transform.scale))
        values = np.zeros(channels) if not transform.mean_value else np.float32(transform.mean_value).astype(np.float64)
        levels = (np.arange(256) - np.broadcast_to(values, channels)[:, None]) * self._scale
        self._levels = levels.astype(np.float32)

    def write(self, item: LoadedImage, job: LoadJob, into: NDArray[np.float32]) -> None:
        """Fill a place in the batch with one image.

        Args:
            item: The image.
            job: Whether it is mirrored, and where it stands.
            into: float32 [C, h, w], zeros.

        Raises:
            ValueError: The mean image has another size.
        """
        planes = cv2.split(item.image)
        if self._mean is not None:
            self._write_with_mean_image(item, job, planes, into)
            return
        for plane, levels, target in zip(planes, self._levels, into, strict=True):
            _part_of(target, plane.shape, job.mirror)[:] = cv2.LUT(plane, levels)

    def _write_with_mean_image(self, item: LoadedImage, job: LoadJob, planes: Any, into: NDArray[np.float32]) -> None:
        assert self._mean is not None
        expected = (len(planes), *(item.window if self._cut_before else item.real))
        if self._mean.shape != expected:
            raise ValueError(f"{job.where}: the image is {expected}, mean_file {self._mean.shape} (channels, size)")
        height, width = planes[0].shape
        if self._cut_before:
            means = self._mean[:, :, ::-1] if job.mirror else self._mean
        else:
            top, left = item.corner
            means = self._mean[:, top : top + height, left : left + width]
        for plane, mean, target in zip(planes, means, into, strict=True):
            _part_of(target, plane.shape, job.mirror)[:] = (plane - mean.astype(np.float64)) * self._scale
