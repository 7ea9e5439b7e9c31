"""Layers at the rim of a net: what feeds it and what stores its blobs.

Sources (ImageSegData, HDF5Data, ...) have no module: their tops are inputs of the CaffeNet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deeplab_repro.files.arrays import write_mat
from deeplab_repro.files.atomic import replacing
from deeplab_repro.layers.base import CaffeLayer, module
from deeplab_repro.layers.uncompiled import uncompiled
from prototxt_import import LayerSpec, NetSpec
from prototxt_import.paths import named_file, output_file


class Sink(CaffeLayer):
    """A layer that writes files, at every pass as Caffe does, once `open` was called; until then it writes nothing.

    `deeplab run` opens them. A net that is only looked at, trained or searched for scores leaves no files."""

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        self._source, self._trusted = spec.source, tuple(spec.variables.values())
        self._passes: int | None = None

    def open(self) -> None:
        """Write from the next pass on, the first of all.

        Raises:
            ValueError: A file cannot be written.
        """
        self.check()
        self._passes = 0

    def forward(self, *bottoms: Tensor) -> tuple[()]:
        if self._passes is not None:
            self._store(bottoms, self._passes)
            self._passes += 1
        return ()

    @uncompiled
    def _store(self, bottoms: Sequence[Tensor], passes: int) -> None:
        self.write([blob.detach().float().cpu().numpy() for blob in bottoms], passes)

    @property
    def writes(self) -> bool:
        """Whether passes leave files."""
        return self._passes is not None

    def check(self) -> None:
        """ValueError unless the layer can write."""

    def write(self, blobs: list[np.ndarray], passes: int) -> None:
        """Write the blobs of a pass, counted from 0."""
        raise NotImplementedError

    def target(self, name: str) -> Path:
        """The file to write of a name.

        Args:
            name: As the net's file has it.

        Returns:
            Its path.

        Raises:
            ValueError: It would lie elsewhere than the user's own files.
        """
        try:
            return output_file(name, self._source, self._trusted)
        except ValueError as error:
            raise self.fail(str(error)) from None


@module("MatWrite")
class MatWrite(Sink):
    """Each bottom as `<prefix><id>_blob_<i>.mat` at every period-th pass; ids from the list, else `iter_<n>`."""

    def check(self) -> None:
        o = self.options
        if o.period < 1 or o.strip < 0:
            raise self.fail(f"period {o.period} must be positive, strip {o.strip} not negative")
        self._ids: list[str] | None = None
        if o.source:
            lines = named_file(o.source, self._source, self._trusted).read_text(errors="replace").splitlines()
            words = [line.split()[0] for line in lines if line.split()]
            short = next((word for word in words if len(word) <= o.strip), None)
            if short is not None:
                raise self.fail(f"strip {o.strip} leaves nothing of {short!r} in {o.source}")
            self._ids = [word[: len(word) - o.strip] for word in words]

    def write(self, blobs: list[np.ndarray], passes: int) -> None:
        if passes % self.options.period:
            return
        if self._ids is not None and passes >= len(self._ids):
            raise self.fail(f"pass {passes + 1} has no name: {self.options.source} has {len(self._ids)} lines")
        name = f"iter_{passes}" if self._ids is None else self._ids[passes]
        for index, blob in enumerate(blobs):
            path = self.target(f"{self.options.prefix}{name}_blob_{index}.mat")
            write_mat(blob.reshape(blob.shape + (1,) * (4 - blob.ndim)), path)


@module("HDF5Output")
class HDF5Output(Sink):
    """Both bottoms as data sets `data` and `label` of one file. As in Caffe there is room for one pass."""

    def check(self) -> None:
        if not self.options.file_name:
            raise self.fail("file_name is missing in hdf5_output_param")

    def write(self, blobs: list[np.ndarray], passes: int) -> None:
        import h5py

        if passes:
            raise self.fail(f"{self.options.file_name} holds a pass already; Caffe writes no second one")
        with replacing(self.target(self.options.file_name)) as temporary, h5py.File(temporary, "w") as file:
            for name, blob in zip(("data", "label"), blobs, strict=True):
                file.create_dataset(name, data=blob)


def open_sinks(modules: Iterable[torch.nn.Module]) -> None:
    """Let all layers that write files do so from the next pass on, the first of a net."""
    for layer in modules:
        if isinstance(layer, Sink):
            layer.open()
