"""Nets trained from nothing: the solver, the run as anyone would start it, and the plain net it ends as."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from deeplab_repro.net.network import CaffeNet
from deeplab_repro.net.plain import plain_net
from deeplab_repro.train.snapshot import latest_snapshot, read_snapshot
from prototxt_import import NetSpec, read_net

TRAIN_NET = "train.prototxt"
PREFIX = "train"
LOG = "train.jsonl"
_POLICIES = {"poly": "power: 0.9\n", "step": "gamma: 0.1\nstepsize: {third}\n"}


def solver_text(policy: str, base_lr: float, max_iter: int, seed: int, mode: str = "GPU") -> str:
    """A solver whose net is train.prototxt beside it, with a snapshot `train` every 100 iterations.

    Args:
        policy: "poly", of v2's power 0.9, or "step", which divides the rate by ten at each third, as v1's 2000 of 6000.
        base_lr: The first rate.
        max_iter: Updates in all.
        seed: random_seed.
        mode: solver_mode, "GPU" or "CPU".

    Returns:
        The solver prototxt's text.

    Raises:
        ValueError: The policy is another one.
    """
    if policy not in _POLICIES:
        raise ValueError(f"policy must be one of {', '.join(_POLICIES)}, got {policy!r}")
    return (
        f'net: "{TRAIN_NET}"\nbase_lr: {base_lr}\nlr_policy: "{policy}"\n'
        + _POLICIES[policy].format(third=max(max_iter // 3, 1))
        + f"max_iter: {max_iter}\nmomentum: 0.9\nweight_decay: 0.0005\naverage_loss: 20\ndisplay: 20\n"
        f'snapshot: 100\nsnapshot_prefix: "{PREFIX}"\nsolver_mode: {mode}\nrandom_seed: {seed}\n'
    )


def train(
    solver: str | os.PathLike[str],
    folder: Path,
    device: str = "auto",
    quiet: bool = True,
    weights: Path | None = None,
) -> Path:
    """Run a solver of `solver_text` by the command line, or go on with it.

    Args:
        solver: The solver's file.
        folder: Gets the snapshots, the log train.jsonl and its curve loss.png; lists that are not beside the nets are
            looked up there.
        device: As of --device.
        quiet: Whether display lines are left out.
        weights: The model it begins with; without one the fillers draw.

    Returns:
        The model it ends with.

    Raises:
        CalledProcessError: The training fails.
        FileNotFoundError: It leaves no snapshot.
    """
    command = [sys.executable, "-m", "deeplab_repro", "train", os.path.abspath(solver), "--snapshot", "latest"]
    command += ["--log", LOG, "--report", "loss.png", "--device", device]
    command += [] if weights is None else ["--weights", str(weights)]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL if quiet else None)
    state = latest_snapshot(str(folder / PREFIX))
    if state is None:
        raise FileNotFoundError(f"{folder}: the training left no snapshot {PREFIX}_iter_*.solverstate")
    return read_snapshot(state).model


def folded(prototxt: str | os.PathLike[str], model: str | os.PathLike[str]) -> NetSpec:
    """Fold a trained model's normalisation into its convolutions.

    Args:
        prototxt: The TEST net.
        model: Its weights.

    Returns:
        Graph and weights of the plain net.

    Raises:
        CaffeFormatError: A file cannot be read.
        ValueError: As of `plain_net`.
    """
    return plain_net(CaffeNet(read_net(prototxt, model)))
