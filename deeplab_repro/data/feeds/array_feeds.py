"""HDF5Data, MemoryData, DummyData and MatRead: batches from arrays, in files, in memory, or made up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab_repro.data.feeds.feed import Opening, feed
from deeplab_repro.data.feeds.lists import check_same_list, list_digest
from deeplab_repro.files.arrays import read_mat
from deeplab_repro.files.lists import read_pairs
from deeplab_repro.layers.fillers import fill_
from prototxt_import import Filler
from prototxt_import.errors import complain
from prototxt_import.paths import named_file


@feed("HDF5Data")
class HDF5Feed:
    """Rows of the data sets named like the tops, file after file, wrapping around at the end.

    With `shuffle` files and rows come in an order drawn anew for every pass, by a generator of our own: Caffe takes the
    C library's, which differs from machine to machine.

    Args:
        opening: The layer and what it is opened with.

    Raises:
        CaffeFormatError: A file or data set is missing, or rows do not agree.

    Source:
        Caffe's hdf5_data_layer.cpp.
    """

    def __init__(self, opening: Opening) -> None:
        self._layer, self._spec, self._part = opening.layer, opening.spec, opening.part
        options, spec = self._layer.options, self._spec
        self._rng = np.random.default_rng(opening.seed)
        named = spec.variables.values()
        listed = read_pairs(named_file(options.source, spec.source, named), 1)
        self._list = list_digest(options.source, spec.source, named)
        self._files = [named_file(words[0], spec.source, named) for _, words in listed]
        self._rows = [self._row_count(file) for file in self._files]
        # (file, row) of every row in the order of this pass.
        self._order = self._new_order()
        self._place = 0

    def _row_count(self, file: Path) -> int:
        import h5py

        try:
            with h5py.File(file, "r") as content:
                members = {top: content[top] for top in self._layer.tops if top in content}
                shapes = {top: member.shape for top, member in members.items() if isinstance(member, h5py.Dataset)}
        except OSError as error:
            raise self._complain(f"{file}: no HDF5 file that can be read: {error}") from error
        lacking = [top for top in self._layer.tops if top not in shapes]
        if lacking:
            raise self._complain(f"{file}: holds no data set {lacking[0]!r}, which a top is called after")
        counts = {shape[0] for shape in shapes.values() if shape}
        if len(counts) != 1 or 0 in counts:
            raise self._complain(f"{file}: its data sets must have one row each a sample, their shapes are {shapes}")
        return counts.pop()

    def _complain(self, fault: str) -> ValueError:
        return complain(fault, source=self._spec.source, line=self._layer.line, layer=self._layer.name)

    def _new_order(self) -> NDArray[np.int64]:
        files = np.arange(len(self._files))
        shuffled = self._layer.options.shuffle
        if shuffled:
            self._rng.shuffle(files)
        rows = [self._rng.permutation(self._rows[f]) if shuffled else np.arange(self._rows[f]) for f in files]
        return np.concatenate([np.stack([np.full_like(r, f), r], 1) for f, r in zip(files, rows, strict=True)])

    def _draw(self) -> list[tuple[int, int]]:
        places = []
        for _ in range(self._layer.options.batch_size):
            file, row = self._order[self._place]
            places.append((int(file), int(row)))
            self._place += 1
            if self._place == len(self._order):
                self._place = 0
                if self._layer.options.shuffle:
                    self._order = self._new_order()
        return places

    def skip(self) -> None:
        self._draw()

    def next(self) -> dict[str, Tensor]:
        import h5py

        places = self._draw()[self._part]
        rows: dict[str, list[NDArray[np.float32]]] = {top: [] for top in self._layer.tops}
        opened: dict[int, Any] = {}
        try:
            for index, row in places:
                if index not in opened:
                    opened[index] = h5py.File(self._files[index], "r")
                for top, values in rows.items():
                    values.append(np.asarray(opened[index][top][row], np.float32))
        except (OSError, KeyError, ValueError) as error:
            raise self._complain(f"{self._files[index]}: cannot be read any more: {error}") from error
        finally:
            for file in opened.values():
                file.close()
        try:
            batch = {top: np.stack(values) for top, values in rows.items()}
        except ValueError as error:
            raise self._complain(f"rows of different shapes in one batch: {error}") from error
        if self._layer.options.four_axes:
            batch = {top: values.reshape(values.shape + (1,) * (4 - values.ndim)) for top, values in batch.items()}
        return {top: torch.from_numpy(values) for top, values in batch.items()}

    def state(self) -> dict[str, Any]:
        place = {"order": self._order.tolist(), "place": self._place, "list": self._list}
        return {**place, "rng": self._rng.bit_generator.state}

    def restore(self, state: Mapping[str, Any]) -> None:
        check_same_list(self._layer.options.source, state, self._list, len(self._order))
        self._order, self._place = np.array(state["order"], np.int64), int(state["place"])
        self._rng.bit_generator.state = state["rng"]

    def close(self) -> None:
        """Nothing is held open."""


@feed("MemoryData", from_program=True)
class MemoryFeed:
    """Arrays handed over by a program, in batches, wrapping around.

    Args:
        opening: The layer, and `arrays` by top: rows [n, ...] with n a multiple of the batch size, as Caffe wants them.

    Raises:
        ValueError: An array is missing or does not fit.

    Source:
        Caffe's memory_data_layer.cpp.
    """

    def __init__(self, opening: Opening) -> None:
        layer, arrays = opening.layer, opening.arrays
        options = layer.options
        size = options.batch_size
        shapes = options.shapes((), len(layer.tops))
        expected = {top: shape[1:] for top, shape in zip(layer.tops, shapes, strict=True)}
        lacking = sorted(set(expected) - set(arrays))
        if lacking:
            raise ValueError(f"layer {layer.name!r} (MemoryData): needs arrays for {', '.join(map(repr, lacking))} too")
        self._values: dict[str, Tensor] = {}
        for top, shape in expected.items():
            values = torch.from_numpy(np.ascontiguousarray(arrays[top], np.float32))
            if values.dim() and tuple(values.shape[1:]) != shape and values[0].numel() == int(np.prod(shape)):
                values = values.reshape(len(values), *shape)
            if not values.dim() or tuple(values.shape[1:]) != shape or not len(values) or len(values) % size:
                raise ValueError(
                    f"layer {layer.name!r} (MemoryData): {top!r} must be [n, {', '.join(map(str, shape))}] with n a "
                    f"multiple of batch_size {size}, got {list(values.shape)}"
                )
            self._values[top] = values
        self._count = {len(values) for values in self._values.values()}
        if len(self._count) != 1:
            raise ValueError(f"layer {layer.name!r} (MemoryData): its arrays differ in number: {sorted(self._count)}")
        self._size, self._part, self._place = size, opening.part, 0

    def next(self) -> dict[str, Tensor]:
        start = self._place
        self.skip()
        return {top: values[start : start + self._size][self._part] for top, values in self._values.items()}

    def skip(self) -> None:
        self._place = (self._place + self._size) % max(self._count)

    def state(self) -> dict[str, Any]:
        return {"place": self._place}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._place = int(state["place"])

    def close(self) -> None:
        """Nothing is held."""


@feed("DummyData")
class DummyFeed:
    """Tops filled by fillers: constant ones once, random ones at every pass, drawn from a torch generator.

    Args:
        opening: The layer and what it is opened with.

    Raises:
        ValueError: The rows of a top do not divide by the number of processes.

    Source:
        Caffe's dummy_data_layer.cpp.
    """

    def __init__(self, opening: Opening) -> None:
        layer, world = opening.layer, opening.world
        self._generator = torch.Generator().manual_seed(opening.seed)
        self._facts = list(zip(layer.tops, layer.options.sizes, layer.options.fillers, strict=True))
        for top, size, _ in self._facts:
            if size and size[0] % world:
                raise ValueError(
                    f"layer {layer.name!r}: the {size[0]} rows of {top!r} do not divide by {world} processes"
                )
        self._rank, self._world = opening.rank, world
        self._constant = {
            top: self._fill(size, filler) for top, size, filler in self._facts if filler.type == "constant"
        }

    def _fill(self, size: tuple[int, ...], filler: Filler) -> Tensor:
        whole = fill_(torch.empty(size), filler, self._generator)
        return whole.chunk(self._world)[self._rank] if size else whole

    def next(self) -> dict[str, Tensor]:
        return {
            top: self._constant[top] if top in self._constant else self._fill(size, filler)
            for top, size, filler in self._facts
        }

    def skip(self) -> None:
        self.next()

    def state(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._generator.set_state(state["generator"])

    def close(self) -> None:
        """Nothing is held."""


@feed("MatRead")
class MatFeed:
    """The variable `data` of <prefix><name>_blob_0.mat, batch_size files a pass, wrapping around.

    Names are the list's, without the last `strip` characters; without a list they are iter_0, iter_1, ...

    Args:
        opening: The layer and what it is opened with.

    Raises:
        CaffeFormatError: The list is missing.
        ValueError: The list is empty.

    Source:
        mat_read_layer.cpp of DeepLab's forks.
    """

    def __init__(self, opening: Opening) -> None:
        self._layer, self._spec, self._part, self._place = opening.layer, opening.spec, opening.part, 0
        options, spec = self._layer.options, self._spec
        self._names: list[str] = []
        if options.source:
            listed = read_pairs(named_file(options.source, spec.source, spec.variables.values()), 1)
            self._names = [words[0][: len(words[0]) - options.strip] for _, words in listed]

    def _draw(self) -> list[str]:
        start, size = self._place, self._layer.options.batch_size
        self._place += size
        if not self._names:
            return [f"iter_{i}" for i in range(start, start + size)]
        self._place %= len(self._names)
        return [self._names[i % len(self._names)] for i in range(start, start + size)]

    def skip(self) -> None:
        self._draw()

    def next(self) -> dict[str, Tensor]:
        prefix = self._layer.options.prefix
        names = [f"{prefix}{name}_blob_0.mat" for name in self._draw()[self._part]]
        files = [named_file(name, self._spec.source, self._spec.variables.values()) for name in names]
        values = [np.array(read_mat(file), np.float32) for file in files]
        for file, blob in zip(files, values, strict=True):
            if blob.shape != values[0].shape:
                raise complain(
                    f"{file}: holds {list(blob.shape)}, the first of the batch {list(values[0].shape)}",
                    source=self._spec.source,
                    layer=self._layer.name,
                )
        return {self._layer.tops[0]: torch.from_numpy(np.stack(values))}

    def state(self) -> dict[str, Any]:
        return {"place": self._place}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._place = int(state["place"])

    def close(self) -> None:
        """Nothing is held open."""
