"""ImageSegData and ImageData: which image comes next and what is drawn for it, and the batches made of that."""

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

from deeplab_repro.data.feeds.caffe_rng import CaffeRng
from deeplab_repro.data.feeds.feed import Opening, feed
from deeplab_repro.data.feeds.items import LoadedImage, LoadJob, LoadOptions, load, load_in_worker
from deeplab_repro.data.feeds.lists import ListItem, check_same_list, list_digest, read_list
from prototxt_import import CaffeFormatError, LayerSpec, NetSpec, read_mean
from prototxt_import.errors import complain
from prototxt_import.paths import named_file
from prototxt_import.wiring import check_shape


class Planner:
    """The order of a layer's images and its random draws, exactly as the fork of the net makes them.

    The forks differ: v1 draws a fresh transformer seed from the process generator before every batch, the others draw
    one when the net is built.

    Args:
        items: The list, in its order.
        layer: The data layer.
        spec: Its net.
        process: The process generator, which layers share.

    Raises:
        ValueError: rand_skip would skip the whole list.

    Source:
        image_seg_data_layer.cpp, image_data_layer.cpp and data_transformer.cpp of DeepLab's forks, whose draws were
        recorded; the last draw of the others is the seed of Caffe's reading thread, internal_thread.cpp.
    """

    def __init__(self, items: list[ListItem], layer: LayerSpec, spec: NetSpec, process: CaffeRng) -> None:
        options, transform = layer.options, layer.options.transform
        self._items, self._transform = items, transform
        self._crops = (layer.phase or spec.phase) == "TRAIN" and transform.crop is not None
        self._reseeds = spec.dialect in ("v0", "v1")
        self._process = process
        self._draws = bool(transform.mirror or self._crops or transform.scale_factors)
        self._shuffler: CaffeRng | None = None
        self._transformer: CaffeRng | None = None
        self._order: NDArray[np.int64] = np.arange(len(items))
        self._place = 0
        self._seed = 0
        if self._draws and not self._reseeds:
            process.next()
        if options.shuffle:
            self._shuffler = CaffeRng(process.next())
            self._shuffle(self._shuffler)
        if options.rand_skip:
            self._place = process.next() % options.rand_skip
            if self._place >= len(items):
                raise ValueError(f"rand_skip: {self._place} images are to be skipped, the list has {len(items)}")
        if self._reseeds:
            if self._draws:
                process.next()
            self.reseed()
        else:
            if self._draws:
                self._transformer = CaffeRng(process.next())
            process.next()

    @property
    def one_ahead(self) -> bool:
        """Whether a batch can only be planned once the one before it was taken, as other users of the process
        generator draw in between."""
        return self._reseeds and self._draws

    def reseed(self) -> None:
        """v1: draw the seed of the next batch; at every forward pass, once the current batch was taken."""
        if self.one_ahead:
            self._seed = self._process.next()

    def plan(self, count: int) -> list[LoadJob]:
        """The next images of the list, and what is drawn for them.

        Args:
            count: How many.

        Returns:
            One job an image.
        """
        if self.one_ahead:
            self._transformer = CaffeRng(self._seed)
        return [self._next_job() for _ in range(count)]

    def _next_job(self) -> LoadJob:
        item = self._items[self._order[self._place]]
        self._place += 1
        if self._place >= len(self._items):
            self._place = 0
            if self._shuffler is not None:
                self._shuffle(self._shuffler)
        if self._transformer is None:
            return LoadJob(item.image, item.label, item.where)
        draw, factors = self._transformer.next, self._transform.scale_factors
        mirror = bool(self._transform.mirror and draw() % 2)
        scale = factors[draw() % len(factors)] if factors else 1.0
        offsets = (draw(), draw()) if self._crops else None
        return LoadJob(item.image, item.label, item.where, mirror, scale, offsets)

    def _shuffle(self, rng: CaffeRng) -> None:
        # A new array: states that were handed out keep the order they had.
        self._order = self._order.copy()
        rng.shuffle(self._order)

    def state(self) -> dict[str, Any]:
        """The place in the data and in the generators of this layer, cheap to make.

        Returns:
            What `restore` takes; "order" is the array itself, which is never written again.
        """
        return {
            "order": self._order,
            "place": self._place,
            "seed": self._seed,
            "shuffler": self._shuffler and self._shuffler.state(),
            "transformer": self._transformer and self._transformer.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: What `state` gave, its order perhaps as a list.
        """
        self._order = np.array(state["order"], np.int64)
        self._place, self._seed = int(state["place"]), int(state["seed"])
        for rng, was in ((self._shuffler, state["shuffler"]), (self._transformer, state["transformer"])):
            if rng is not None and was is not None:
                rng.restore(was)


@dataclass
class _Batch:
    before: dict[str, Any]  # the planner's state that leads to this batch
    jobs: list[LoadJob]
    loads: list[Future[LoadedImage]] | None


@feed("ImageSegData", "ImageData", ahead=True)
class ImageFeed:
    """Batches of an ImageSegData or ImageData layer, as CPU float32 tensors by top.

    Args:
        opening: The layer and what it is opened with.

    Raises:
        CaffeFormatError: An option is one that Caffe refuses too, or the list cannot be read.
    """

    def __init__(self, opening: Opening) -> None:
        self._layer, self._spec = layer, spec = opening.layer, opening.spec
        options = layer.options
        # ImageSegData says what its labels are; ImageData's are integers.
        label = getattr(options, "label_type", None)
        segmentation = label is not None
        self._most = getattr(options, "max_labels", 1)
        self._check(segmentation)
        self._load_options = LoadOptions(
            (options.new_height, options.new_width) if options.new_height else None,
            options.transform.crop,
            options.is_color,
            segmentation,
            label,
            options.ignore_label if segmentation else 255,
        )
        named = spec.variables.values()
        items = self._or_complain(
            lambda: read_list(options.source, spec.source, options.root_folder, label or "IMAGE", named, self._most)
        )
        self._list, self._count = list_digest(options.source, spec.source, named), len(items)
        self._or_complain(lambda: self._check_batch(items[0]))
        self._planner = self._or_complain(lambda: Planner(items, layer, spec, opening.process))
        self._part = opening.part
        self._pool = opening.pool
        # Enough in flight that a worker never waits for this process to come round.
        rows = opening.part.stop - opening.part.start
        self._depth = 1 if self._planner.one_ahead else max(2, math.ceil(2 * opening.busy / rows))
        self._ahead: deque[_Batch] = deque()
        self._writer = _PixelWriter(options, self._mean())

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

    def _complain(self, what: str, found: object) -> ValueError:
        layer = self._layer
        return complain(f"{what}; found {found!r}", source=self._spec.source, line=layer.line, layer=layer.name)

    def _or_complain(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except CaffeFormatError:
            raise
        except ValueError as error:
            raise complain(
                str(error), source=self._spec.source, line=self._layer.line, layer=self._layer.name
            ) from None

    def _mean(self) -> NDArray[np.float32] | None:
        name = self._layer.options.transform.mean_file
        if not name:
            return None
        mean = np.asarray(read_mean(named_file(name, self._spec.source, self._spec.variables.values())), np.float32)
        return mean.reshape(mean.shape[-3:])

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
        jobs = self._planner.plan(self._layer.options.batch_size)
        pool = self._pool
        read = load if isinstance(pool, ThreadPoolExecutor) else load_in_worker
        loads = None if pool is None else [pool.submit(read, self._load_options, job) for job in jobs[self._part]]
        return _Batch(before, jobs, loads)

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
            tops.append(torch.tensor([float(job.label or 0) for job in jobs]))  # type: ignore[arg-type]
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
        return {**state, "order": state["order"].tolist(), "list": self._list}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; batches read ahead are dropped.

        Args:
            state: What `state` gave.

        Raises:
            ValueError: The state is of another list.
        """
        check_same_list(self._layer.options.source, state, self._list, self._count)
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
    """Writes (pixel - mean) * scale, in double precision and rounded once, as the forks do; padding stays zero."""

    def __init__(self, options: Any, mean: NDArray[np.float32] | None) -> None:
        transform = options.transform
        channels = 3 if options.is_color else 1
        self._mean, self._scale = mean, np.float64(np.float32(transform.scale))
        self._crop = transform.crop
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
        expected = (len(planes), *item.real)
        if self._mean.shape != expected:
            raise ValueError(f"{job.where}: the image is {expected}, mean_file {self._mean.shape} (channels, size)")
        (top, left), (height, width) = item.corner, planes[0].shape
        for plane, mean, target in zip(
            planes, self._mean[:, top : top + height, left : left + width], into, strict=True
        ):
            _part_of(target, plane.shape, job.mirror)[:] = (plane - mean.astype(np.float64)) * self._scale
