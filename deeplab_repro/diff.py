"""A net's blobs against recorded ones: how far each layer is from what Caffe computed.

A recording is an .npz with `in/<blob>` (or `in_u8/<blob>` and `mean`, subtracted per channel), `out/<blob>`, or
`sample/<blob>` at the flat indices `idx/<blob>` of a blob of shape `shape/<blob>`, `mask/<layer>` for dropout, `loss`,
and `param/<layer>/<i>`; several passes have `pass<k>/` in front. Names without any of these are plain blobs, as
pycaffe's or `deeplab run --blobs all` give them: the net's inputs are fed, the others compared.
"""

from __future__ import annotations

import math
import os
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from deeplab_repro.network import CaffeNet

# |ours - golden| <= ATOL + RTOL * max|golden|; the order of summation alone gives about 1e-6.
RTOL, ATOL = 5e-5, 1e-6
_PREFIX = re.compile(r"(pass\d+/)?(in|in_u8|out|sample)/")


@dataclass
class Recording:
    """One recorded forward pass: arrays by blob, layer or 'layer/index'."""

    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    samples: dict[str, tuple[np.ndarray, np.ndarray, tuple[int, ...]]] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    params: dict[str, np.ndarray] = field(default_factory=dict)
    loss: float | None = None


@dataclass(frozen=True)
class BlobDiff:
    """One blob against its record.

    max_rel: the largest absolute difference over max|golden|; worst: index of that difference, ours and golden the
    values there; note: what else is wrong (no such blob, another shape, NaN on one side), else empty."""

    source: str
    layer: str
    type: str
    blob: str
    shape: tuple[int, ...]
    max_abs: float
    max_rel: float
    worst: tuple[int, ...]
    ours: float
    golden: float
    cosine: float
    ok: bool
    note: str = ""


def read_recordings(path: str | os.PathLike[str], inputs: Collection[str]) -> list[Recording]:
    """The passes recorded in an .npz, in order; `inputs` names the net's inputs, to know them among plain blobs.

    Raises OSError when the file cannot be read, ValueError naming it when it is no such file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except OSError:
        raise
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: no .npz file of arrays, or a damaged one") from error
    if not any(_PREFIX.match(name) for name in arrays):
        plain = Recording(
            {name: values for name, values in arrays.items() if name in inputs},
            {name: values for name, values in arrays.items() if name not in inputs},
        )
        return [plain]
    passes = sorted({match[1] for name in arrays if (match := re.match(r"(pass\d+)/", name))}, key=lambda p: int(p[4:]))
    recordings: list[Recording] = []
    for prefix in [f"{each}/" for each in passes] or [""]:
        one = _recording(path, arrays, prefix)
        if recordings:  # a pass repeats only the inputs that change
            one.inputs = {**recordings[-1].inputs, **one.inputs}
        one.params = {name[6:]: values for name, values in arrays.items() if name.startswith("param/")}
        recordings.append(one)
    return recordings


def _recording(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], prefix: str) -> Recording:
    found = {name[len(prefix) :]: values for name, values in arrays.items() if name.startswith(prefix)}

    def group(kind: str) -> Iterator[tuple[str, np.ndarray]]:
        yield from ((name[len(kind) + 1 :], values) for name, values in found.items() if name.startswith(f"{kind}/"))

    one = Recording(masks=dict(group("mask")))
    for blob, values in group("in_u8"):
        if "mean" not in arrays:
            raise ValueError(f"{path}: holds in_u8/{blob} but no 'mean' to subtract")
        one.inputs[blob] = (values.astype(np.float64) - arrays["mean"].reshape(1, -1, 1, 1)).astype(np.float32)
    one.inputs.update(group("in"))
    # Caffe copies a blob for each of several readers; the copies equal it.
    one.outputs = {blob: values for blob, values in group("out") if "_split_" not in blob}
    for blob, values in group("sample"):
        if f"idx/{blob}" not in found or f"shape/{blob}" not in found:
            raise ValueError(f"{path}: sample/{blob} lacks idx/{blob} or shape/{blob}")
        one.samples[blob] = values, found[f"idx/{blob}"], tuple(found[f"shape/{blob}"].tolist())
    if "loss" in found and found["loss"].size == 1:
        one.loss = float(found["loss"].reshape(()))
    return one


def diff_net(
    net: CaffeNet, recording: Recording, rtol: float = RTOL, atol: float = ATOL, source: str = ""
) -> list[BlobDiff]:
    """Run the net on the recorded inputs and compare every recorded blob, in the order of the net's layers.

    Raises ValueError when an input the net needs is not recorded, or has a shape it does not take."""
    import torch

    lacking = [f"{name} {list(shape)}" for name, shape in net.inputs.items() if name not in recording.inputs]
    if lacking:
        raise ValueError(f"{source or 'recording'}: no record of the net's input {', '.join(lacking)}")
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))

    def tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        return {name: torch.tensor(np.asarray(values, np.float32), device=device) for name, values in arrays.items()}

    inputs = {name: values for name, values in recording.inputs.items() if name in net.inputs}
    with torch.no_grad():
        blobs = net(**tensors(inputs), blobs="all", masks=tensors(recording.masks) or None)
    writers = {top: layer for layer in net.spec.layers for top in layer.tops}
    place = {top: index for index, layer in enumerate(net.spec.layers) for top in layer.tops}
    rows = []
    for blob in sorted({**recording.outputs, **recording.samples}, key=lambda name: place.get(name, -1)):
        layer = writers.get(blob)
        head = (source, layer.name if layer else "", layer.type if layer else "Input", blob)
        if blob not in blobs:
            rows.append(
                BlobDiff(*head, (), math.inf, math.inf, (), math.nan, math.nan, math.nan, False, "no such blob")
            )
            continue
        ours = blobs[blob].detach().cpu().numpy()
        if blob in recording.outputs:
            golden = recording.outputs[blob]
            rows.append(_compare(head, ours, golden, None, tuple(golden.shape), rtol, atol))
        else:
            golden, index, shape = recording.samples[blob]
            rows.append(_compare(head, ours, golden, index, shape, rtol, atol))
    if recording.loss is not None:
        total = 0.0 if blobs.loss is None else float(blobs.loss)
        head = (source, "", "total loss", "loss")
        # A sum of many float32 logarithms: not closer than 1e-5 whatever is asked of blobs.
        rows.append(_compare(head, np.array([total]), np.array([recording.loss]), None, (1,), max(rtol, 1e-5), atol))
    return rows


def _incomparable(head: tuple[str, str, str, str], shape: tuple[int, ...], note: str) -> BlobDiff:
    return BlobDiff(*head, shape, math.inf, math.inf, (), math.nan, math.nan, math.nan, False, note)


def _compare(
    head: tuple[str, str, str, str],
    ours: np.ndarray,
    golden: np.ndarray,
    index: np.ndarray | None,
    shape: tuple[int, ...],
    rtol: float,
    atol: float,
) -> BlobDiff:
    """index: flat indices that `golden` was sampled at; shapes that differ in axes of length 1 only are the same."""
    if ours.size != math.prod(shape) or [n for n in ours.shape if n != 1] != [n for n in shape if n != 1]:
        note = f"shape {list(ours.shape)}, recorded {list(shape)}"
        return _incomparable(head, ours.shape, note)
    a = ours.reshape(-1).astype(np.float64)
    b = golden.reshape(-1).astype(np.float64)
    if index is not None:
        a = a[index]
    if not b.size:
        return BlobDiff(*head, shape, 0.0, 0.0, (), math.nan, math.nan, 1.0, True)
    gap = np.where(np.isnan(a) & np.isnan(b) | (a == b), 0.0, np.abs(a - b))
    gap = np.where(np.isnan(gap), np.inf, gap)
    worst = int(gap.argmax())
    max_abs = float(gap[worst])
    finite = np.abs(b[np.isfinite(b)])
    scale = float(finite.max()) if finite.size else 0.0
    place = np.unravel_index(int(index[worst]) if index is not None else worst, shape)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return BlobDiff(
        *head,
        shape,
        max_abs,
        max_abs / scale if scale else (0.0 if max_abs == 0 else math.inf),
        tuple(int(axis) for axis in place),
        float(a[worst]),
        float(b[worst]),
        float(a @ b / norms) if norms else (1.0 if max_abs == 0 else 0.0),
        max_abs <= atol + rtol * scale,
        "NaN or infinite on one side" if not np.isfinite(max_abs) else "",
    )


def load_parameters(net: CaffeNet, recording: Recording) -> None:
    """Copy recorded parameters into the net; ValueError for a layer or blob that the net has not."""
    import torch

    for name, values in recording.params.items():
        layer, index = name.rsplit("/", 1)
        blobs = net.params.get(layer, []) if layer in net.params else []
        if int(index) >= len(blobs) or blobs[int(index)].numel() != values.size:
            raise ValueError(f"param/{name} {list(values.shape)}: the net has no such parameter")
        with torch.no_grad():
            blobs[int(index)].copy_(torch.tensor(values).reshape(blobs[int(index)].shape))


def golden_files(path: str | os.PathLike[str]) -> list[Path]:
    """The .npz named, or those inside the folder named, sorted; FileNotFoundError where there is none."""
    place = Path(path)
    if not place.is_dir():
        return [place]
    found = sorted(place.glob("*.npz"))
    if not found:
        raise FileNotFoundError(f"{place}: no .npz files in this folder")
    return found
