"""Recorded forward and backward passes: the .npz files that a net's own blobs are held against.

A recording has `in/<blob>` (or `in_u8/<blob>` and `mean`, subtracted per channel), `out/<blob>`, or `sample/<blob>` at
the flat indices `idx/<blob>` of a blob of shape `shape/<blob>`, `mask/<layer>` for dropout, `loss`, and
`param/<layer>/<i>`. Gradients are `topdiff/<blob>`, from which the backward pass starts (else it starts from the loss),
`diff/<blob>` and `pdiff/<layer>/<i>`, or `psample/<layer>/<i>` at the flat indices `pidx/<layer>/<i>`. Several passes
have `pass<k>/` in front. Names without any of these are plain blobs, as pycaffe's or `deeplab run --blobs all` give
them: the net's inputs are fed, the others compared.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deeplab_repro.files.arrays import load_numpy

if TYPE_CHECKING:
    from deeplab_repro.net.network import CaffeNet

_PREFIX = re.compile(r"(pass\d+/)?(in|in_u8|out|sample|diff|topdiff|pdiff|psample)/")


@dataclass(frozen=True)
class RecordedArray:
    """A recorded array, whole (index None) or its `values` at flat indices; shape: the whole array's, if known."""

    values: np.ndarray
    index: np.ndarray | None = None
    shape: tuple[int, ...] | None = None


@dataclass
class Recording:
    """One recorded pass: arrays by blob, layer or 'layer/index'.

    gradients are those of blobs, param_gradients those of parameters; top_gradients start the backward pass."""

    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: dict[str, RecordedArray] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    params: dict[str, np.ndarray] = field(default_factory=dict)
    loss: float | None = None
    top_gradients: dict[str, np.ndarray] = field(default_factory=dict)
    gradients: dict[str, RecordedArray] = field(default_factory=dict)
    param_gradients: dict[str, RecordedArray] = field(default_factory=dict)

    @property
    def has_gradients(self) -> bool:
        """Whether a backward pass can be compared."""
        return bool(self.gradients or self.param_gradients) and (bool(self.top_gradients) or self.loss is not None)


def read_recordings(path: str | os.PathLike[str], inputs: Collection[str]) -> list[Recording]:
    """The passes recorded in an .npz.

    Args:
        path: The file.
        inputs: Names of the net's inputs, to know them among plain blobs.

    Returns:
        The passes in order.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such file; the message names it.
    """
    arrays = load_numpy(path)
    if not isinstance(arrays, dict):
        raise ValueError(f"{path}: must be an .npz of named arrays, not a single one")
    if not any(_PREFIX.match(name) for name in arrays):
        plain = Recording(
            {name: values for name, values in arrays.items() if name in inputs},
            {name: RecordedArray(values) for name, values in arrays.items() if name not in inputs},
        )
        return [plain]
    passes = sorted({match[1] for name in arrays if (match := re.match(r"(pass\d+)/", name))}, key=lambda p: int(p[4:]))
    recordings: list[Recording] = []
    for prefix in [f"{name}/" for name in passes] or [""]:
        recording = _recording(path, arrays, prefix)
        if recordings:  # a pass repeats only the inputs that change
            recording.inputs = {**recordings[-1].inputs, **recording.inputs}
        recording.params = {name[6:]: values for name, values in arrays.items() if name.startswith("param/")}
        recordings.append(recording)
    return recordings


def _recording(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], prefix: str) -> Recording:
    own = {name[len(prefix) :]: values for name, values in arrays.items() if name.startswith(prefix)}

    def group(kind: str) -> Iterator[tuple[str, np.ndarray]]:
        # Caffe copies a blob for each of several readers; the copies equal it.
        yield from (
            (name[len(kind) + 1 :], values)
            for name, values in own.items()
            if name.startswith(f"{kind}/") and "_split_" not in name
        )

    def index(kind: str, name: str, *more: str) -> np.ndarray:
        lacking = [f"{part}/{name}" for part in (kind, *more) if f"{part}/{name}" not in own]
        if lacking:
            raise ValueError(f"{path}: the sample of {name} lacks {' and '.join(lacking)}")
        return own[f"{kind}/{name}"]

    recording = Recording(masks=dict(group("mask")))
    for blob, values in group("in_u8"):
        if "mean" not in arrays:
            raise ValueError(f"{path}: holds in_u8/{blob} but no 'mean' to subtract")
        recording.inputs[blob] = (values.astype(np.float64) - arrays["mean"].reshape(1, -1, 1, 1)).astype(np.float32)
    recording.inputs.update(group("in"))
    for blob, values in group("sample"):
        places = index("idx", blob, "shape")
        recording.outputs[blob] = RecordedArray(values, places, tuple(own[f"shape/{blob}"].tolist()))
    recording.outputs.update((blob, RecordedArray(values)) for blob, values in group("out"))
    if "loss" in own and own["loss"].size == 1:
        recording.loss = float(own["loss"].reshape(()))
    recording.top_gradients = dict(group("topdiff"))
    recording.gradients = {blob: RecordedArray(values) for blob, values in group("diff")}
    recording.param_gradients = {name: RecordedArray(values, index("pidx", name)) for name, values in group("psample")}
    recording.param_gradients.update((name, RecordedArray(values)) for name, values in group("pdiff"))
    return recording


def load_parameters(net: CaffeNet, recording: Recording) -> None:
    """Copy recorded parameters into the net.

    Args:
        net: The net, which is changed.
        recording: What was recorded.

    Raises:
        ValueError: A layer or blob is recorded that the net has not.
    """
    import torch

    for name, values in recording.params.items():
        layer, _, index = name.rpartition("/")
        blobs = net.params.get(layer, [])
        if not index.isdigit() or int(index) >= len(blobs) or blobs[int(index)].numel() != values.size:
            raise ValueError(f"param/{name} {list(values.shape)}: the net has no such parameter")
        with torch.no_grad():
            blobs[int(index)].copy_(torch.tensor(values).reshape(blobs[int(index)].shape))


def golden_files(path: str | os.PathLike[str]) -> list[Path]:
    """The recordings that a path stands for.

    Args:
        path: A .npz file, or a folder of them.

    Returns:
        The files, sorted.

    Raises:
        FileNotFoundError: The folder holds none.
    """
    place = Path(path)
    if not place.is_dir():
        return [place]
    files = sorted(place.glob("*.npz"))
    if not files:
        raise FileNotFoundError(f"{place}: no .npz files in this folder")
    return files
