"""How a training run is carried out: what the command line adds to a solver file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from deeplab_repro.train.schedule import rate_notes
from prototxt_import import SolverSpec

CPU = torch.device("cpu")
AMP = {"bf16": torch.bfloat16}


@dataclass(frozen=True)
class Settings:
    """What a run does that its solver file does not say.

    Args:
        weights: Models to start from, later ones over earlier ones.
        snapshot: A solver state to go on from; "latest" is the newest of the prefix, or a fresh start where there is
            none.
        max_iter: Updates after which to stop, the schedule staying the solver's.
        snapshot_prefix: In place of the solver's, relative to the current folder.
        variables: Values of ${NAME}s in the prototxts.
        dialect: The fork that the nets are for.
        device: Where the net runs.
        amp: "bf16" runs the net under autocast, weights and updates staying float32.
        compile: Whether the net goes through torch.compile.
        checkpoint_activations: Whether activations are computed again instead of kept.

    Raises:
        ValueError: A value is unknown, or two exclude each other.
    """

    weights: tuple[Path, ...] = ()
    snapshot: str | None = None
    max_iter: int | None = None
    snapshot_prefix: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    dialect: str = "auto"
    device: torch.device = CPU
    amp: str | None = None
    compile: bool = False
    checkpoint_activations: bool = False

    def __post_init__(self) -> None:
        if self.amp is not None and self.amp not in AMP:
            raise ValueError(f"--amp {self.amp}: unknown; known: {', '.join(AMP)}")
        if self.max_iter is not None and self.max_iter < 1:
            raise ValueError(f"--max-iter {self.max_iter}: must be at least 1")
        if self.compile and self.checkpoint_activations:
            raise ValueError("--compile: does not go with --checkpoint-activations")
        if self.weights and self.snapshot not in (None, "latest"):
            raise ValueError("--snapshot: brings its own model; leave --weights out")

    def prefix_for(self, solver: SolverSpec) -> str:
        """What snapshots' names begin with.

        Args:
            solver: The solver.

        Returns:
            The prefix.

        Raises:
            ValueError: There is none.
            FileNotFoundError: Its folder is missing.
        """
        prefix = self.snapshot_prefix or solver.snapshot_prefix
        if not prefix:
            raise ValueError(f"{solver.source}: has no snapshot_prefix; add one, or give --snapshot-prefix")
        folder = Path(prefix).parent
        if not folder.is_dir():
            raise FileNotFoundError(f"{prefix}: the folder {folder} of the snapshots does not exist")
        return prefix

    def stop_for(self, solver: SolverSpec) -> int:
        """After how many updates to stop.

        Args:
            solver: The solver.

        Returns:
            The number of updates.

        Raises:
            ValueError: Nobody says, or the schedule ends before.
        """
        if solver.max_iter < 1 and self.max_iter is None:
            raise ValueError(f"{solver.source}: has no max_iter; add one, or give --max-iter")
        stop = solver.max_iter if self.max_iter is None else self.max_iter
        if solver.lr_policy == "poly" and stop > solver.max_iter:
            raise ValueError(
                f"{solver.source}: lr_policy poly ends at max_iter {solver.max_iter}, --max-iter asks for {stop}"
            )
        return stop

    def notes_on(self, solver: SolverSpec) -> list[str]:
        """Tell what is done otherwise than the solver or the command may lead to expect.

        Args:
            solver: The solver.

        Returns:
            Sentences.
        """
        notes = []
        if self.compile and solver.debug_info:
            notes.append("debug_info is set: the net is not compiled")
        if solver.type == "RMSProp" and solver.rms_decay is None:
            notes.append("rms_decay is not given: 0.99, as in BVLC's Caffe; the v2 fork took 0")
        if solver.weight_decay < 0:
            notes.append(f"weight_decay is {solver.weight_decay:g}: weights are made to grow")
        if solver.snapshot_diff:
            notes.append("snapshot_diff is ignored: snapshots hold no gradients")
        if solver.solver_mode == "CPU" and self.device.type != "cpu":
            notes.append(f"solver_mode CPU is overruled: the net trains on {self.device}")
        if solver.device_id:
            notes.append(f"device_id {solver.device_id} is ignored: --device and CUDA_VISIBLE_DEVICES choose")
        return [*notes, *rate_notes(solver)]
