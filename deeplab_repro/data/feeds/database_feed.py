"""Data: batches from the records of an LMDB database."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab_repro.data.feeds.feed import Opening, feed
from deeplab_repro.data.feeds.lists import read_mean_image
from deeplab_repro.data.feeds.planner import Draw, Planner
from deeplab_repro.files.images import decode_bgr
from prototxt_import import CaffeFormatError
from prototxt_import.binary.datum import Datum, parse_datum
from prototxt_import.errors import complain
from prototxt_import.layers.data import SKIPPING
from prototxt_import.paths import named_file
from prototxt_import.wiring import check_shape


class _Environment:
    """An opened database; LMDB lets a process open each but once, and a train and a test net may share one."""

    def __init__(self, file: Path) -> None:
        try:
            import lmdb
        except ImportError:
            raise complain("is an LMDB database; `pip install lmdb` to read it", source=str(file)) from None
        try:
            # Reading takes no lock: nobody writes while a net trains, and the folder may be read-only.
            self.lmdb = lmdb.open(str(file.parent), readonly=True, create=False, lock=False)
        except (lmdb.Error, OSError) as error:
            raise complain(f"no LMDB database that can be read: {error}", source=str(file)) from error
        weakref.finalize(self, self.lmdb.close)
        facts = self.lmdb.stat()
        self.count: int = facts["entries"]
        pages = self.lmdb.info()["last_pgno"] + 1
        # LMDB itself would read beyond the file's end, which ends the process.
        if pages * facts["psize"] > file.stat().st_size:
            raise complain(
                f"is cut short: {file.stat().st_size} bytes of {pages * facts['psize']}; copy it anew", source=str(file)
            )
        if not self.count:
            raise complain("holds no records", source=str(file))


_opened: weakref.WeakValueDictionary[Path, _Environment] = weakref.WeakValueDictionary()


class Records:
    """The records of an LMDB database by their place in the order of the keys.

    Going on is quick; going back starts at the first record again.

    Args:
        file: The database's data.mdb.

    Raises:
        CaffeFormatError: The database cannot be read, is cut short or empty; the message has its name.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        where = file.resolve()
        environment = _opened.get(where)
        if environment is None:
            environment = _opened[where] = _Environment(file)
        self._environment: _Environment | None = environment
        self.count = environment.count
        self._transaction = environment.lmdb.begin()
        self._cursor = self._transaction.cursor()
        # Where the cursor is, -1 before it was moved.
        self._at = -1

    def read(self, index: int) -> tuple[bytes, str]:
        """One record.

        Args:
            index: Its place, from 0.

        Returns:
            Its value, and file and key in words.

        Raises:
            CaffeFormatError: The database is damaged before or at the record.
        """
        with self._told(f"at record {index}"):
            if index < self._at or self._at < 0:
                self._at = 0 if self._cursor.first() else -1
            while 0 <= self._at < index and self._cursor.next():
                self._at += 1
            key, value = self._cursor.item()
        if self._at != index:
            raise complain(f"is damaged: its records end after {self._at + 1} of {self.count}", source=str(self.file))
        return value, f"{self.file}, key {key.decode('utf-8', 'replace')!r}"

    def digest(self) -> str:
        """What tells this database from others: the number of its records, their first and last key.

        Returns:
            Hexadecimal digits.

        Raises:
            CaffeFormatError: The database is damaged.
        """
        self._at = -1
        keys = []
        for move, where in ((self._cursor.first, "at its first record"), (self._cursor.last, "at its last record")):
            with self._told(where):
                move()
                keys.append(self._cursor.key())
        return hashlib.blake2b(b"\n".join([str(self.count).encode(), *keys]), digest_size=16).hexdigest()

    @contextmanager
    def _told(self, where: str) -> Iterator[None]:
        import lmdb

        try:
            yield
        except lmdb.Error as error:
            raise complain(f"is damaged {where}: {error}", source=str(self.file)) from error

    def close(self) -> None:
        """End the reading; the database itself is closed by the last of those who read it."""
        if self._environment is not None:
            self._cursor.close()
            self._transaction.abort()
            self._environment = None


@dataclass(frozen=True)
class _Item:
    """A record's numbers, float32 [C, h, w], its label, and its file and key in words."""

    pixels: NDArray[np.float32]
    label: int
    where: str


@feed("Data")
class DatabaseFeed:
    """Batches of a Data layer, in the order of the keys, beginning anew after the last.

    Args:
        opening: The layer and what it is opened with.

    Raises:
        CaffeFormatError: The database is no LMDB database, damaged or cut short, or an option is one that Caffe
            refuses.

    Source:
        BVLC Caffe 1.0, data_layer.cpp and DataTransformer::Transform of a Datum.
    """

    def __init__(self, opening: Opening) -> None:
        self._layer, self._spec, self._part = opening.layer, opening.spec, opening.part
        options, transform = self._layer.options, self._layer.options.transform
        if options.backend != "LMDB":
            raise self._leveldb(f"backend is {options.backend} (Caffe's choice where none is given)")
        if transform.scale_factors:
            raise self._complain("scale_factors are for ImageSegData")
        if transform.mean_file and transform.mean_value:
            raise self._complain("mean_file and mean_value exclude each other")
        if transform.force_color and transform.force_gray:
            raise self._complain("force_color and force_gray exclude each other")
        self._records = Records(self._database(options.source))
        try:
            self._prepare(opening)
        except BaseException:
            self._records.close()
            raise

    def _database(self, source: str) -> Path:
        """The database's file; CaffeFormatError where there is none, or a LevelDB one."""
        named = self._spec.variables.values()
        try:
            return named_file(f"{source}/data.mdb", self._spec.source, named)
        except CaffeFormatError as error:
            fault = error
        with suppress(CaffeFormatError):
            named_file(f"{source}/CURRENT", self._spec.source, named)
            fault = self._leveldb(f"{source} is a LevelDB database")
        raise fault

    def _leveldb(self, found: str) -> CaffeFormatError:
        return self._complain(
            f"{found}, which nothing here reads; write its records to LMDB, by convert_imageset --backend lmdb or key "
            "by key, and say backend: LMDB"
        )

    def _prepare(self, opening: Opening) -> None:
        options, transform = self._layer.options, self._layer.options.transform
        self._list = self._records.digest()
        # Where Caffe looks at force_encoded_color, it knows no force_color yet.
        forced = options.force_encoded_color and self._spec.dialect in SKIPPING
        self._mode = (
            cv2.IMREAD_COLOR
            if transform.force_color or forced
            else cv2.IMREAD_GRAYSCALE
            if transform.force_gray
            else cv2.IMREAD_UNCHANGED
        )
        self._mean_image = read_mean_image(transform.mean_file, self._spec) if transform.mean_file else None
        self._mean_values = np.array(transform.mean_value, np.float32)
        self._scale = np.float32(transform.scale)
        try:
            self._planner = Planner(self._records.count, self._layer, self._spec, opening.process)
            check_shape((options.batch_size, *self._item(Draw(0)).pixels.shape))
        except CaffeFormatError:
            raise
        except ValueError as error:
            raise self._complain(str(error)) from None

    def _complain(self, fault: str) -> CaffeFormatError:
        layer = self._layer
        return complain(fault, source=self._spec.source, line=layer.line, layer=layer.name, type_name="Data")

    def next(self) -> dict[str, Tensor]:
        """The next batch.

        Returns:
            Tensors by top, float32 on the CPU.

        Raises:
            CaffeFormatError: A record cannot be used; the message names file and key.
        """
        items = [self._item(draw) for draw in self._take()[self._part]]
        shape = items[0].pixels.shape
        for item in items:
            if item.pixels.shape != shape:
                raise complain(
                    f"{_words(item.pixels.shape)} in a batch of {_words(shape)}; give crop_size, or batch_size 1",
                    source=item.where,
                )
        data = torch.from_numpy(np.stack([item.pixels for item in items]))
        label = torch.tensor([float(item.label) for item in items])
        if self._layer.options.four_axes:
            label = label.reshape(-1, 1, 1, 1)
        return dict(zip(self._layer.tops, (data, label), strict=False))

    def skip(self) -> None:
        """Pass over a batch: what is random is drawn, no record is read."""
        self._take()

    def _take(self) -> list[Draw]:
        draws = self._planner.plan(self._layer.options.batch_size)
        self._planner.reseed()
        return draws

    def _item(self, draw: Draw) -> _Item:
        """One record as it goes into the batch."""
        data, where = self._records.read(draw.index)
        datum = parse_datum(data, where)
        values = self._decoded(datum, where)
        height, width = values.shape[1:]
        mean = self._mean_of(values.shape, where)
        window = self._layer.options.window
        if window is not None:
            spare = height - window[0], width - window[1]
            if min(spare) < 0:
                raise complain(
                    f"{_words(values.shape)} are fewer than the crop's {window[0]} x {window[1]}", source=where
                )
            corner = [room // 2 for room in spare]
            if draw.offsets is not None:
                corner = [drawn % (room + 1) for drawn, room in zip(draw.offsets, spare, strict=True)]
            cut = (slice(None), *(slice(start, start + side) for start, side in zip(corner, window, strict=True)))
            values = values[cut]
            mean = mean[cut] if mean.shape[1:] == (height, width) else mean
        pixels = (values.astype(np.float32) - mean) * self._scale
        if draw.mirror:
            pixels = pixels[..., ::-1]
        return _Item(np.ascontiguousarray(pixels), datum.label, where)

    def _decoded(self, datum: Datum, where: str) -> NDArray[Any]:
        """The numbers [C, H, W] of a record."""
        if datum.picture is None:
            assert datum.values is not None
            return datum.values
        try:
            image = decode_bgr(datum.picture, where, self._mode)
        except ValueError as error:
            raise complain(str(error)) from None
        if image.dtype != np.uint8:
            raise complain(f"the picture has {image.dtype} values; Caffe takes 8 bits a channel", source=where)
        return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)

    def _mean_of(self, shape: tuple[int, ...], where: str) -> NDArray[np.float32]:
        """What is subtracted: an image, or a value a channel."""
        if self._mean_image is not None:
            if self._mean_image.shape != shape:
                raise complain(
                    f"{_words(shape)}, mean_file {self._layer.options.transform.mean_file} has "
                    f"{_words(self._mean_image.shape)}",
                    source=where,
                )
            return self._mean_image
        count = len(self._mean_values)
        if count not in (0, 1, shape[0]):
            raise complain(f"{_words(shape)}, and {count} mean_value; give one, or one a channel", source=where)
        values = self._mean_values if count else np.zeros(1, np.float32)
        return np.broadcast_to(values, shape[0])[:, None, None]

    def state(self) -> dict[str, Any]:
        """What leads to the batch that `next` would give.

        Returns:
            What `restore` takes, as plain numbers and lists.
        """
        return {**self._planner.state(), "list": self._list, "count": self._records.count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: What `state` gave.

        Raises:
            ValueError: The state is of another database.
        """
        if state["list"] != self._list:
            raise ValueError(
                f"{self._records.file}: is not the database that the saved state is of ({self._records.count} records, "
                f"that has {state['count']}); put that one back, or remove the .resume to go on with the data restarted"
            )
        self._planner.restore(state)

    def close(self) -> None:
        """End the reading."""
        self._records.close()


def _words(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[2]} pixels of {shape[0]} channels"
