"""A net's blobs and gradients against recorded ones: how far each layer is from what Caffe computed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deeplab_repro.inspect.recording import RecordedArray, Recording, load_parameters, read_recordings

if TYPE_CHECKING:
    import torch

    from deeplab_repro.net.blobs import Blobs
    from deeplab_repro.net.network import CaffeNet
    from prototxt_import import NetSpec

# |ours - golden| <= ATOL + RTOL * max|golden|; the order of summation alone gives about 1e-6.
RTOL, ATOL = 5e-5, 1e-6


@dataclass(frozen=True)
class Difference:
    """One blob, loss or gradient against its record.

    kind: 'blob', 'loss' or 'gradient'; layer, type: of the blob's last writer, or the parameter's owner; writers: all
    layers of an in-place chain. max_rel: the largest absolute difference over max|golden|; worst: its index, ours and
    golden the values there; tolerance: what max_abs may be; note: what else is wrong (no such blob, another shape, NaN
    on one side), else empty. inherited: off, and computed from something that is off already. after: a row before this
    one, in the order of computation, is off."""

    source: str
    kind: str
    layer: str
    type: str
    blob: str
    writers: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    max_abs: float = math.inf
    max_rel: float = math.inf
    worst: tuple[int, ...] = ()
    ours: float = math.nan
    golden: float = math.nan
    cosine: float = math.nan
    tolerance: float = 0.0
    ok: bool = False
    note: str = ""
    inherited: bool = False
    after: bool = False

    @property
    def state(self) -> str:
        """'ok'; 'off'; 'inherited': off, as is what it reads; 'after': right, but a row before it is off."""
        if self.ok:
            return "after" if self.after else "ok"
        return "inherited" if self.inherited else "off"


def first_off(rows: Iterable[Difference]) -> Difference | None:
    """The row at which a comparison stops being right, in the order of computation; None where all is."""
    return next((row for row in rows if not row.ok), None)


def verdict(row: Difference) -> str:
    """The row's state in words, with its note."""
    words = {"ok": "ok", "after": "ok", "off": "off", "inherited": "inherited?"}[row.state]
    return f"{words}: {row.note}" if row.note else words


def diff_net(
    net: CaffeNet,
    recording: Recording,
    rtol: float = RTOL,
    atol: float = ATOL,
    source: str = "",
    backward: bool = False,
) -> list[Difference]:
    """Run the net on the recorded inputs and compare what is recorded.

    Args:
        net: The net.
        recording: One recorded pass.
        rtol: Share of max|golden| that a value may be off by.
        atol: And this much more.
        source: What rows and errors call the recording.
        backward: Whether to compare gradients, too.

    Returns:
        A row for each blob in the order of the net's layers, then the total loss, then the gradients of parameters and
        blobs from the last layer to the first.

    Raises:
        ValueError: An input that the net needs is not recorded or has a shape it does not take, or gradients are asked
            for and not recorded.
    """
    import torch

    name = source or "recording"
    lacking = [f"{blob} {list(shape)}" for blob, shape in net.inputs.items() if blob not in recording.inputs]
    if lacking:
        raise ValueError(f"{name}: no record of the net's input {', '.join(lacking)}")
    if backward and not recording.has_gradients:
        raise ValueError(f"{name}: no gradients to compare (pdiff/ or diff/, and topdiff/ or a loss to start from)")
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    judge = _Judge(net.spec, source, rtol, atol)
    inputs = _tensors({blob: values for blob, values in recording.inputs.items() if blob in net.inputs}, device)
    if backward:
        for blob in inputs.keys() & recording.gradients.keys():
            inputs[blob].requires_grad_()
    with torch.set_grad_enabled(backward):
        blobs = net(**inputs, blobs="all", masks=_tensors(recording.masks, device) or None)
    place = {top: number for number, layer in enumerate(net.spec.layers) for top in layer.tops}
    rows = [
        judge.blob(blob, blobs.get(blob), recording.outputs[blob])
        for blob in sorted(recording.outputs, key=lambda blob: place.get(blob, -1))
    ]
    if recording.loss is not None:
        rows.append(judge.loss(0.0 if blobs.loss is None else float(blobs.loss.detach()), recording.loss))
    rows = _marked(rows, net.spec)
    if backward:
        rows += _gradients(net, recording, inputs, blobs, judge, after=first_off(rows) is not None)
    return rows


def diff_files(
    net: CaffeNet,
    files: Iterable[Path],
    rtol: float = RTOL,
    atol: float = ATOL,
    backward: bool = False,
    own_parameters: bool = True,
) -> tuple[list[Difference], bool]:
    """Compare a net with every pass of recordings.

    Args:
        net: The net.
        files: The recordings.
        rtol: As for `diff_net`.
        atol: As for `diff_net`.
        backward: As for `diff_net`.
        own_parameters: Whether the net keeps its parameters; else those recorded are copied into it.

    Returns:
        The rows, and whether a recording holds gradients that were not compared.

    Raises:
        ValueError: As `diff_net`, and for a file that is no recording.
        OSError: A file cannot be read.
    """
    rows: list[Difference] = []
    has_more = False
    for file in files:
        recordings = read_recordings(file, net.inputs)
        for number, recording in enumerate(recordings):
            if not own_parameters:
                load_parameters(net, recording)
            source = f"{file} pass {number}" if len(recordings) > 1 else str(file)
            rows += diff_net(net, recording, rtol, atol, source, backward)
            has_more = has_more or (recording.has_gradients and not backward)
    return rows, has_more


def summary(rows: Sequence[Difference]) -> str:
    """What the rows say, as a sentence.

    Args:
        rows: Of a comparison, at least one.

    Returns:
        That all agree, or the first that does not, how far it is off, and how many others are.
    """
    first = first_off(rows)
    if first is None:
        finite = max(row.max_rel for row in rows)
        gradients = sum(row.kind == "gradient" for row in rows)
        counted = f"{len(rows) - gradients} blobs" + (f" and {gradients} gradients" if gradients else "")
        return f"{counted} agree; largest relative difference {finite:.2e}"
    off = [row for row in rows if not row.ok]
    blob = f"gradient of {first.blob}" if first.kind == "gradient" else f"blob {first.blob}"
    where = f"layer {first.layer} ({first.type})" if first.layer else first.type
    if len(first.writers) > 1:
        where = f"layer {' or '.join(first.writers)} (in place)"
    start = f"{len(off)} of {len(rows)} rows beyond tolerance; the first is {where}, {blob}"
    inherited = sum(row.inherited for row in off)
    tail = f"; {inherited} of the others may inherit it" if inherited else ""
    return f"{start}: {first.note or f'off by {first.max_abs:.2e}, allowed {first.tolerance:.2e}'}{tail}"


def _tensors(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, torch.Tensor]:
    import torch

    return {name: torch.tensor(np.asarray(values, np.float32), device=device) for name, values in arrays.items()}


def _marked(rows: Sequence[Difference], spec: NetSpec) -> list[Difference]:
    """The forward rows, told apart by what they are computed from."""
    off = {row.blob for row in rows if row.kind == "blob" and not row.ok}
    last = {top: number for number, layer in enumerate(spec.layers) for top in layer.tops}
    tainted = off - last.keys()
    inherited: set[str] = set()
    for number, layer in enumerate(spec.layers):
        above = not tainted.isdisjoint(layer.bottoms)
        for top in layer.tops:
            (inherited.add if above else inherited.discard)(top)
            # What is recorded of an in-place chain is its last value.
            wrong = above or (top in off and last[top] == number)
            (tainted.add if wrong else tainted.discard)(top)
    marked, after = [], False
    for row in rows:
        hereditary = after if row.kind == "loss" else row.blob in inherited
        marked.append(replace(row, after=after, inherited=not row.ok and hereditary))
        after = after or not row.ok
    return marked


def _gradients(
    net: CaffeNet,
    recording: Recording,
    inputs: Mapping[str, torch.Tensor],
    blobs: Blobs,
    judge: _Judge,
    after: bool,
) -> list[Difference]:
    """Rows of a backward pass; each depends on all before it that lie above it, so that none is judged on its own."""
    import torch

    # The diff Caffe leaves in an in-place chain's blob is that of its first value, which no blob of ours holds.
    recorded = {
        blob: gradient for blob, gradient in recording.gradients.items() if blob in inputs or not judge.in_place(blob)
    }
    for blob in recorded.keys() & blobs.keys() - inputs.keys():
        if blobs[blob].requires_grad:
            blobs[blob].retain_grad()
    net.zero_grad()
    tops = [(blobs[blob], values) for blob, values in recording.top_gradients.items() if blob in blobs]
    tops = [(blob, values) for blob, values in tops if blob.requires_grad]
    if tops:
        seeds = [
            torch.tensor(values, dtype=blob.dtype, device=blob.device).reshape(blob.shape) for blob, values in tops
        ]
        torch.autograd.backward([blob for blob, _ in tops], seeds)
    elif blobs.loss is not None and blobs.loss.requires_grad:
        blobs.loss.backward()
    place = {layer.name: number for number, layer in enumerate(net.spec.layers)}
    placed: list[tuple[float, Difference]] = []
    for name, recorded_gradient in recording.param_gradients.items():
        layer, _, index = name.rpartition("/")
        params = net.params.get(layer, [])
        param = params[int(index)] if index.isdigit() and int(index) < len(params) else None
        placed.append((place.get(layer, -1), judge.parameter(layer, name, param, recorded_gradient)))
    for blob, recorded_gradient in recorded.items():
        # A blob's gradient is done after those of its readers, before those of its writer.
        writer = -1 if blob in inputs else max((place[name] for name in judge.writers(blob)), default=-1)
        placed.append((writer + 0.5, judge.gradient(blob, inputs.get(blob, blobs.get(blob)), recorded_gradient)))
    rows = []
    for _, row in sorted(placed, key=lambda pair: -pair[0]):
        rows.append(replace(row, after=after, inherited=after and not row.ok))
        after = after or not row.ok
    return rows


class _Judge:
    """Makes rows: knows the net, where the recording came from, and the tolerances."""

    def __init__(self, spec: NetSpec, source: str, rtol: float, atol: float) -> None:
        self.spec, self.source, self.rtol, self.atol = spec, source, rtol, atol

    def writers(self, blob: str) -> tuple[str, ...]:
        return tuple(layer.name for layer in self.spec.layers if blob in layer.tops)

    def in_place(self, blob: str) -> bool:
        return len(self.writers(blob)) > 1

    def _head(self, kind: str, blob: str, owner: str | None = None) -> Difference:
        names = self.writers(blob) if owner is None else (owner,)
        types = {layer.name: layer.type for layer in self.spec.layers}
        last = names[-1] if names else ""
        return Difference(self.source, kind, last, types.get(last, "Input"), blob, names)

    def blob(self, blob: str, ours: torch.Tensor | None, golden: RecordedArray) -> Difference:
        head = self._head("blob", blob)
        if ours is None:
            return replace(head, note="no such blob")
        return self._compared(head, ours.detach().cpu().numpy(), golden)

    def loss(self, ours: float, golden: float) -> Difference:
        head = Difference(self.source, "loss", "", "total loss", "loss")
        # A sum of many float32 logarithms: not closer than 1e-5 whatever is asked of blobs.
        return self._compared(head, np.array([ours]), RecordedArray(np.array([golden])), max(self.rtol, 1e-5))

    def gradient(self, blob: str, ours: torch.Tensor | None, golden: RecordedArray) -> Difference:
        head = self._head("gradient", blob)
        return replace(head, note="no such blob") if ours is None else self._compared(head, _grad(ours), golden)

    def parameter(self, layer: str, name: str, ours: torch.Tensor | None, golden: RecordedArray) -> Difference:
        head = self._head("gradient", name, layer)
        return replace(head, note="no such parameter") if ours is None else self._compared(head, _grad(ours), golden)

    def _compared(
        self, head: Difference, ours: np.ndarray, golden: RecordedArray, rtol: float | None = None
    ) -> Difference:
        """Shapes that differ in axes of length 1 only are the same."""
        shape = golden.shape or (ours.shape if golden.index is not None else golden.values.shape)
        if ours.size != math.prod(shape) or [n for n in ours.shape if n != 1] != [n for n in shape if n != 1]:
            return replace(head, shape=ours.shape, note=f"shape {list(ours.shape)}, recorded {list(shape)}")
        a = ours.reshape(-1).astype(np.float64)
        b = golden.values.reshape(-1).astype(np.float64)
        if golden.index is not None:
            a = a[golden.index]
        head = replace(head, shape=tuple(shape))
        if not b.size:
            return replace(head, max_abs=0.0, max_rel=0.0, cosine=1.0, tolerance=self.atol, ok=True)
        with np.errstate(invalid="ignore"):
            gap = np.where(np.isnan(a) & np.isnan(b) | (a == b), 0.0, np.abs(a - b))
        gap = np.where(np.isnan(gap), np.inf, gap)
        worst = int(gap.argmax())
        max_abs = float(gap[worst])
        finite = np.abs(b[np.isfinite(b)])
        scale = float(finite.max()) if finite.size else 0.0
        place = np.unravel_index(int(golden.index[worst]) if golden.index is not None else worst, shape)
        norms = float(np.linalg.norm(a) * np.linalg.norm(b))
        tolerance = self.atol + (self.rtol if rtol is None else rtol) * scale
        return replace(
            head,
            max_abs=max_abs,
            max_rel=max_abs / scale if scale else (0.0 if max_abs == 0 else math.inf),
            worst=tuple(int(axis) for axis in place),
            ours=float(a[worst]),
            golden=float(b[worst]),
            cosine=float(a @ b / norms) if norms else (1.0 if max_abs == 0 else 0.0),
            tolerance=tolerance,
            ok=max_abs <= tolerance,
            note="" if np.isfinite(max_abs) else "NaN or infinite on one side",
        )


def _grad(tensor: torch.Tensor) -> np.ndarray:
    """The gradient, zero where none arrived: Caffe's diffs begin as zeros."""
    return np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.cpu().numpy()
