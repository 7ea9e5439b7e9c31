"""The solvers' update rules, each as Caffe's sgd_solvers.cpp writes it: the rate is inside the history."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from prototxt_import import SolverSpec

# BVLC's default and x2's; v2's own schema has none and so takes 0.
RMS_DECAY = 0.99


class Rule(ABC):
    """How one blob moves.

    A class says `slots`, the histories per blob, and whether it is `lazy`: without a rate and with empty histories
    nothing changes, so that a frozen blob needs neither history nor work.

    Args:
        solver: The solver that gives momentum, delta and decay.

    Source:
        Caffe's sgd_solvers.hpp and the *_solver.cpp beside it.
    """

    slots = 1
    lazy = False

    def __init__(self, solver: SolverSpec) -> None:
        self.momentum, self.momentum2 = solver.momentum, solver.momentum2
        self.delta = solver.delta
        self.decay = RMS_DECAY if solver.rms_decay is None else solver.rms_decay

    @abstractmethod
    def update(self, blob: Tensor, diff: Tensor, history: Sequence[Tensor], rate: float, iteration: int) -> None:
        """Change a blob and its histories in place.

        Args:
            blob: The blob.
            diff: Its regularised gradient, which is scratch.
            history: Its `slots` histories.
            rate: The blob's own, lr_mult included.
            iteration: Counted from 0.
        """


class SGD(Rule):
    """h = momentum h + rate g; w -= h.

    torch.optim.SGD applies the rate outside of h: the two part whenever it changes."""

    lazy = True

    def update(self, blob: Tensor, diff: Tensor, history: Sequence[Tensor], rate: float, iteration: int) -> None:
        (h,) = history
        blob.sub_(h.mul_(self.momentum).add_(diff, alpha=rate))


class Nesterov(Rule):
    """h' = momentum h + rate g; w -= (1 + momentum) h' - momentum h."""

    lazy = True

    def update(self, blob: Tensor, diff: Tensor, history: Sequence[Tensor], rate: float, iteration: int) -> None:
        (h,) = history
        blob.add_(h, alpha=self.momentum)
        h.mul_(self.momentum).add_(diff, alpha=rate)
        blob.sub_(h, alpha=1 + self.momentum)


class AdaGrad(Rule):
    """h += g^2; w -= rate g / (sqrt(h) + delta)."""

    def update(self, blob: Tensor, diff: Tensor, history: Sequence[Tensor], rate: float, iteration: int) -> None:
        (h,) = history
        h.addcmul_(diff, diff)
        blob.addcdiv_(diff, h.sqrt().add_(self.delta), value=-rate)


class RMSProp(Rule):
    """h = decay h + (1 - decay) g^2; w -= rate g / (sqrt(h) + delta)."""

    def update(self, blob: Tensor, diff: Tensor, history: Sequence[Tensor], rate: float, iteration: int) -> None:
        (h,) = history
        h.mul_(self.decay).addcmul_(diff, diff, value=1 - self.decay)
        blob.addcdiv_(diff, h.sqrt().add_(self.delta), value=-rate)


class AdaDelta(Rule):
    """h1 = m h1 + (1 - m) g^2; v = g sqrt((h2 + delta) / (h1 + delta)); h2 = m h2 + (1 - m) v^2; w -= rate v."""

    slots = 2

    def update(self, blob: Tensor, diff: Tensor, history: Sequence[Tensor], rate: float, iteration: int) -> None:
        squares, moves = history
        squares.mul_(self.momentum).addcmul_(diff, diff, value=1 - self.momentum)
        move = diff.mul_(((moves + self.delta) / (squares + self.delta)).sqrt_())
        moves.mul_(self.momentum).addcmul_(move, move, value=1 - self.momentum)
        blob.sub_(move, alpha=rate)


class Adam(Rule):
    """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + delta).

    b1 is momentum, b2 momentum2. delta is not bias-corrected, unlike torch.optim.Adam's eps."""

    slots = 2

    def update(self, blob: Tensor, diff: Tensor, history: Sequence[Tensor], rate: float, iteration: int) -> None:
        first, second = history
        t = iteration + 1
        correction = math.sqrt(1 - self.momentum2**t) / (1 - self.momentum**t)
        first.mul_(self.momentum).add_(diff, alpha=1 - self.momentum)
        second.mul_(self.momentum2).addcmul_(diff, diff, value=1 - self.momentum2)
        blob.addcdiv_(first, second.sqrt().add_(self.delta), value=-rate * correction)


_RULES: dict[str, type[Rule]] = {rule.__name__: rule for rule in (SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam)}


def check_finite(solver: SolverSpec, *fields: str) -> None:
    """Make sure that fields of a solver file are numbers.

    Args:
        solver: The solver.
        fields: Their names.

    Raises:
        ValueError: One is NaN or infinite.
    """
    for field in fields:
        value = getattr(solver, field)
        if not math.isfinite(value):
            raise ValueError(f"{solver.source}: {field} must be a finite number, is {value:g}")


def make_rule(solver: SolverSpec) -> Rule:
    """Choose the rule of a solver file.

    Args:
        solver: The solver.

    Returns:
        The rule.

    Raises:
        ValueError: The type cannot work with a value, as Caffe checks them.
    """
    check_finite(solver, "weight_decay", "delta")
    if math.isnan(solver.clip_gradients):
        raise ValueError(f"{solver.source}: clip_gradients must be a number, is nan")
    for name in ("AdaGrad", "RMSProp"):
        if solver.type == name and solver.momentum:
            raise ValueError(f"{solver.source}: momentum {solver.momentum:g} cannot be used with {name}; leave it out")
    for field, value in (("momentum", solver.momentum), ("momentum2", solver.momentum2)):
        if not 0 <= value < 1:
            raise ValueError(f"{solver.source}: {field} must be in [0, 1), is {value:g}")
    if solver.rms_decay is not None and not 0 <= solver.rms_decay < 1:
        raise ValueError(f"{solver.source}: rms_decay must be in [0, 1), is {solver.rms_decay:g}")
    return _RULES[solver.type](solver)


def regularize(kind: str, blob: Tensor, diff: Tensor, decay: float) -> None:
    """Add the gradient of the weight decay.

    Args:
        kind: "L2" for decay w, "L1" for decay sign(w), v1's "L2sqrt" for decay w over its norm, held at 1e-6.
        blob: w.
        diff: What it is added to, in place.
        decay: The blob's own, decay_mult included.

    Raises:
        ValueError: The kind is another one.

    Source:
        Caffe's SGDSolver::Regularize (sgd_solver.cpp), of the v1 fork for "L2sqrt".
    """
    if kind == "L2":
        diff.add_(blob, alpha=decay)
    elif kind == "L1":
        diff.add_(torch.sign(blob), alpha=decay)
    elif kind == "L2sqrt":
        diff.addcdiv_(blob, blob.norm().clamp(min=1e-6), value=decay)
    else:
        raise ValueError(f"regularization_type {kind!r} is unknown; known are L1, L2 and L2sqrt")
