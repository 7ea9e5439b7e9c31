"""The learning rate of each iteration, as Caffe's SGDSolver::GetLearningRate computes it in single precision."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from deeplab_repro.train.rules import check_finite
from prototxt_import import SolverSpec, read_solver
from prototxt_import.errors import nearest

POLICIES = ("fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid")
_ONE = np.float32(1)
_GAMMA_ZERO = {
    "step": "the rate is 0 from iteration stepsize on",
    "multistep": "the rate is 0 from the first stepvalue on",
    "exp": "the rate is 0 from iteration 1 on",
    "inv": "the rate stays base_lr",
    "sigmoid": "the rate stays half of base_lr",
}


class Schedule:
    """The policy of a solver file. `current_step` counts the steps of the rate taken; it is part of a solver state.

    Args:
        solver: The solver.

    Raises:
        ValueError: The policy is missing or unknown, or fields make no sense.
    """

    def __init__(self, solver: SolverSpec) -> None:
        self.current_step = 0
        self._solver = solver
        check_finite(solver, "base_lr", "gamma", "power")
        if not solver.lr_policy:
            raise ValueError(f"{solver.source}: has no lr_policy; give one of {', '.join(POLICIES)}")
        if solver.lr_policy not in POLICIES:
            raise ValueError(
                f"{solver.source}: lr_policy {solver.lr_policy!r} is unknown{nearest(solver.lr_policy, POLICIES)}"
            )
        if solver.lr_policy == "step" and solver.stepsize < 1:
            raise ValueError(f"{solver.source}: lr_policy step needs a positive stepsize, has {solver.stepsize}")

    def rate(self, iteration: int) -> float:
        """The rate of an iteration. Call it once for each in order, since multistep takes at most one step a call.

        Args:
            iteration: Counted from 0.

        Returns:
            The rate, a value of single precision.
        """
        s = self._solver
        base, gamma, power = (np.float32(value) for value in (s.base_lr, s.gamma, s.power))
        at = np.float32(iteration)
        if s.lr_policy == "step":
            self.current_step = iteration // s.stepsize
        elif (
            s.lr_policy == "multistep"
            and self.current_step < len(s.stepvalue)
            and iteration >= s.stepvalue[self.current_step]
        ):
            self.current_step += 1
        with np.errstate(over="ignore"):
            factor = {
                "fixed": lambda: _ONE,
                "step": lambda: gamma ** np.float32(self.current_step),
                "multistep": lambda: gamma ** np.float32(self.current_step),
                "exp": lambda: gamma**at,
                "inv": lambda: (_ONE + gamma * at) ** -power,
                "poly": lambda: (_ONE - at / np.float32(s.max_iter)) ** power,
                "sigmoid": lambda: _ONE / (_ONE + np.exp(-gamma * (at - np.float32(s.stepsize)))),
            }[s.lr_policy]()
        return float(base * factor)


def rate_notes(solver: SolverSpec) -> list[str]:
    """Tell rates that Caffe takes without a word and that nobody is likely to want.

    Args:
        solver: The solver.

    Returns:
        Sentences.
    """
    notes = []
    if solver.base_lr <= 0:
        notes.append(
            f"base_lr is {solver.base_lr:g}: " + ("the loss is climbed" if solver.base_lr else "nothing is learned")
        )
    if solver.gamma == 0 and solver.lr_policy in _GAMMA_ZERO:
        notes.append(f"gamma is 0 or missing: with lr_policy {solver.lr_policy} {_GAMMA_ZERO[solver.lr_policy]}")
    if solver.power == 0 and solver.lr_policy in ("poly", "inv"):
        notes.append(f"power is 0 or missing: with lr_policy {solver.lr_policy} the rate stays base_lr")
    if not solver.stepvalue and solver.lr_policy == "multistep":
        notes.append("lr_policy multistep has no stepvalue: the rate stays base_lr")
    return notes


def learning_rates(
    solver: str | os.PathLike[str], n: int, variables: Mapping[str, str] | None = None
) -> NDArray[np.float64]:
    """The rates of the first iterations of a solver file.

    Args:
        solver: The solver prototxt.
        n: The number of iterations.
        variables: Values of the ${NAME}s in it.

    Returns:
        [n] float64, values of single precision.

    Raises:
        CaffeFormatError: The file cannot be read.
        ValueError: The policy makes no sense.

    Source:
        Caffe's SGDSolver::GetLearningRate (sgd_solver.cpp).

    Example:
        >>> from pathlib import Path
        >>> from deeplab_repro.train import learning_rates
        >>> _ = Path("solver.prototxt").write_text('base_lr: 1 lr_policy: "step" gamma: 0.5 stepsize: 2')
        >>> learning_rates("solver.prototxt", 5)
        array([1.  , 1.  , 0.5 , 0.5 , 0.25])
    """
    schedule = Schedule(read_solver(os.fspath(solver), variables))
    return np.array([schedule.rate(iteration) for iteration in range(n)])
