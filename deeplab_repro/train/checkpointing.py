"""Activations computed again in the backward pass instead of kept: half the memory for a third more time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from deeplab_repro.net.graph import Step
from deeplab_repro.net.network import CaffeNet

# Segments tried, as shares of all activations.
_SHARES = tuple(2.0 ** (-i / 2) for i in range(2, 15))


class CheckpointedNet(CaffeNet):
    """A CaffeNet that keeps, where gradients are asked for, only the blobs between segments of layers.

    Same results bit for bit: masks are given, nothing is drawn twice. Layers that change with every pass (BatchNorm
    with batch statistics, SegAccuracy that sums up, SpatialDropout) run once, outside of segments."""

    def _run_steps(
        self, steps: Sequence[Step], values: dict[str, Tensor], masks: Mapping[str, Tensor]
    ) -> Tensor | None:
        if not torch.is_grad_enabled():
            return super()._run_steps(steps, values, masks)
        loss: Tensor | None = None
        for segment, again in self._segments(steps):
            part = self._again(segment, values, masks) if again else super()._run_steps(segment, values, masks)
            if part is not None:
                loss = part if loss is None else loss + part
        return loss

    def _again(self, steps: Sequence[Step], values: dict[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor | None:
        made = {name for step in steps for name in step.layer.tops}
        freed = {name for step in steps for name in step.free}
        read = [name for name in dict.fromkeys(n for step in steps for n in step.layer.bottoms) if name in values]

        def run(*given: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
            local = dict(zip(read, given, strict=True))
            part = super(CheckpointedNet, self)._run_steps(steps, local, masks)
            return part, {name: local[name] for name in made & local.keys()}

        given = [values[name] for name in read]
        part, tops = checkpoint(run, *given, use_reentrant=False, preserve_rng_state=False)
        for name in freed:
            values.pop(name, None)
        values.update(tops)
        return part

    def _segments(self, steps: Sequence[Step]) -> Iterator[tuple[list[Step], bool]]:
        sizes = self.spec.blobs if self.spec.blobs else {}
        best = min((_cut(steps, sizes, share) for share in _SHARES), key=lambda cut: cut[0])[1]
        run: list[Step] = []
        for at, step in enumerate(steps):
            if self._changes(step):
                if run:
                    yield run, True
                    run = []
                yield [step], False
                continue
            run.append(step)
            if at in best:
                yield run, True
                run = []
        if run:
            # What comes last is gone backwards first: keeping it costs nothing.
            yield run, False

    def _changes(self, step: Step) -> bool:
        options = step.layer.options
        counts = getattr(options, "reset", True) is False
        return counts or options.from_batch(self.spec.phase) or options.draws_itself()


def _cut(steps: Sequence[Step], sizes: Mapping[str, tuple[int, ...]], share: float) -> tuple[float, set[int]]:
    """(numbers in memory at the worst, steps after which to cut) when a segment makes about `share` of all numbers."""
    # Of a chain in place only the last value is kept for the backward pass.
    writer = {name: at for at, step in enumerate(steps) for name in step.layer.tops}
    made = [
        sum(math.prod(sizes.get(name, ())) for name in step.layer.tops if writer[name] == at)
        for at, step in enumerate(steps)
    ]
    limit = share * sum(made)
    live: dict[str, int] = {}
    cuts, kept, largest, run = set(), 0, 0, 0
    for at, step in enumerate(steps):
        live.update((name, math.prod(sizes.get(name, ()))) for name in step.layer.tops)
        for name in step.free:
            live.pop(name, None)
        run += made[at]
        if run >= limit:
            cuts.add(at)
            kept += sum(live.values())
            largest, run = max(largest, run), 0
    return kept + max(largest, run), cuts
