"""The learnable blobs of a net with their histories, moved once an iteration by a solver's rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from deeplab_repro.net.network import CaffeNet
from deeplab_repro.train.rules import make_rule, regularize
from deeplab_repro.train.schedule import Schedule
from prototxt_import import SolverSpec, SolverState


@dataclass(frozen=True)
class Learnable:
    """One learnable blob; of layers that share it by name, the first has it.

    Args:
        layer: The layer's name.
        index: Of the blob in the layer.
        blob: The blob.
        lr_mult: Factor on the rate.
        decay_mult: Factor on the weight decay.
    """

    layer: str
    index: int
    blob: nn.Parameter
    lr_mult: float
    decay_mult: float


Watch = Callable[[Learnable, Tensor | None], None]


def learnables(net: CaffeNet) -> list[Learnable]:
    """List every learnable blob once, frozen ones and BatchNorm's included.

    Args:
        net: The net.

    Returns:
        The blobs in the order of first appearance, which is that of a solver state's history.
    """
    by_blob: dict[int, Learnable] = {}
    for layer in net.spec.layers:
        for index, (param, blob) in enumerate(zip(layer.params, net.params.get(layer.name, ()), strict=True)):
            by_blob.setdefault(id(blob), Learnable(layer.name, index, blob, param.lr_mult, param.decay_mult))
    return list(by_blob.values())


class Optimizer:
    """Caffe's SGDSolver and its children: clip, divide by iter_size, decay, update.

    Gradients are read from the blobs' `grad`.

    Args:
        net: The net whose blobs move.
        solver: The solver.

    Raises:
        ValueError: A value of the solver makes no sense.

    Source:
        Caffe's SGDSolver::ApplyUpdate (sgd_solver.cpp).
    """

    def __init__(self, net: CaffeNet, solver: SolverSpec) -> None:
        self.solver = solver
        self.learnables = learnables(net)
        self.schedule = Schedule(solver)
        self.rule = make_rule(solver)
        # None stands for zeros: frozen blobs can be most of a net.
        self._history: list[list[Tensor] | None] = [None] * len(self.learnables)
        for name in ("iter_size", "average_loss"):
            if getattr(solver, name) < 1:
                raise ValueError(f"{solver.source}: {name} must be at least 1, is {getattr(solver, name)}")
        if solver.regularization_type not in ("L1", "L2", "L2sqrt"):
            raise ValueError(f"{solver.source}: regularization_type {solver.regularization_type!r} is unknown")

    @torch.no_grad()
    def step(self, iteration: int, watch: Watch | None = None) -> float:
        """Move every blob by its gradient, which is gone afterwards.

        Args:
            iteration: Counted from 0.
            watch: Told before each move what is subtracted, None for nothing.

        Returns:
            The learning rate of the iteration.
        """
        rate = self.schedule.rate(iteration)
        solver = self.solver
        self._clip()
        for at, learnable in enumerate(self.learnables):
            own_rate = float(np.float32(rate) * np.float32(learnable.lr_mult))
            decay = float(np.float32(solver.weight_decay) * np.float32(learnable.decay_mult))
            if (
                own_rate == 0
                and self._history[at] is None
                and (self.rule.lazy or (learnable.blob.grad is None and not decay))
            ):
                learnable.blob.grad = None
                if watch is not None:
                    watch(learnable, None)
                continue
            diff = torch.zeros_like(learnable.blob) if learnable.blob.grad is None else learnable.blob.grad
            if solver.iter_size > 1:
                diff.mul_(1.0 / solver.iter_size)
            if decay:
                regularize(solver.regularization_type, learnable.blob, diff, decay)
            history = self._history[at]
            if history is None:
                history = self._history[at] = [torch.zeros_like(learnable.blob) for _ in range(self.rule.slots)]
            if watch is not None:
                move = torch.zeros_like(learnable.blob)
                self.rule.update(move, diff.clone(), [slot.clone() for slot in history], own_rate, iteration)
                watch(learnable, -move)
            self.rule.update(learnable.blob, diff, history, own_rate, iteration)
            learnable.blob.grad = None
        return rate

    def _clip(self) -> None:
        # Before the division by iter_size, as Caffe does it.
        limit = self.solver.clip_gradients
        grads = [learnable.blob.grad for learnable in self.learnables if learnable.blob.grad is not None]
        if limit < 0 or not grads:
            return
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grad) for grad in grads]))
        if norm > limit:
            torch._foreach_mul_(grads, limit / norm)

    def history(self) -> tuple[np.ndarray, ...]:
        """The histories as a solver state has them.

        Returns:
            For each slot of the rule one array per blob, float32.
        """
        blank = [np.zeros(learnable.blob.shape, np.float32) for learnable in self.learnables]
        return tuple(
            blank[at] if held is None else held[slot].detach().cpu().numpy()
            for slot in range(self.rule.slots)
            for at, held in enumerate(self._history)
        )

    def restore(self, state: SolverState) -> None:
        """Take over history and current_step of a solver state.

        Args:
            state: The state.

        Raises:
            ValueError: The histories are not those of this net and solver type.
        """
        wanted = self.rule.slots * len(self.learnables)
        if len(state.history) != wanted:
            raise ValueError(
                f"{state.source}: holds {len(state.history)} histories; this net with type {self.solver.type} "
                f"has {wanted}; is it the state of another net or solver type?"
            )
        self.schedule.current_step = state.current_step
        for at, learnable in enumerate(self.learnables):
            arrays = state.history[at :: len(self.learnables)]
            self._history[at] = self._restored(learnable, arrays, state.source)

    def _restored(self, learnable: Learnable, arrays: Sequence[np.ndarray], source: str) -> list[Tensor] | None:
        held = []
        for array in arrays:
            # v1 fills shapes up to four axes with ones in front.
            shape = tuple(array.shape)
            if (1,) * (len(shape) - learnable.blob.dim()) + tuple(learnable.blob.shape) != shape:
                raise ValueError(
                    f"{source}: the history of blob {learnable.index} of layer {learnable.layer!r} has shape "
                    f"{list(shape)}, the blob {list(learnable.blob.shape)}; is it the state of another net?"
                )
            values = torch.tensor(np.asarray(array, np.float32).reshape(learnable.blob.shape))
            held.append(torch.empty_like(learnable.blob, requires_grad=False).copy_(values))
        return held if any(bool(history.any()) for history in held) else None
