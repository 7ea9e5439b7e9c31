"""How a training run is carried out: what the command line adds to a solver file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

CPU = torch.device("cpu")
AMP = {"bf16": torch.bfloat16}


@dataclass(frozen=True)
class Settings:
    """weights: models to start from, later ones over earlier ones. snapshot: a solver state to go on from; "latest" is
    the newest of the prefix, or a fresh start where there is none. max_iter: updates after which to stop, the schedule
    staying the solver's. snapshot_prefix: in place of the solver's, relative to the current folder. variables: values
    of ${NAME}s in the prototxts. amp: "bf16" runs the net under autocast, weights and updates staying float32.
    compile: through torch.compile. checkpoint_activations: compute activations again instead of keeping them."""

    weights: tuple[Path, ...] = ()
    snapshot: str | None = None
    max_iter: int | None = None
    snapshot_prefix: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
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
