"""Which device a process runs on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def pick_device(name: str | torch.device) -> torch.device:
    """Choose a device.

    Args:
        name: As of --device; "auto" is CUDA where this build and this machine have it.

    Returns:
        The device.

    Raises:
        ValueError: The name is unknown, or is CUDA where this build or this machine lacks it.
    """
    import torch

    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and _built_with_cuda() else "cpu")
    try:
        device = torch.device(str(name))
    except RuntimeError as error:
        raise ValueError(f"device {name}: unknown; choose auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name}: torch {torch.__version__} finds no CUDA device here; choose cpu or auto")
    if device.type == "cuda" and not _built_with_cuda():
        raise ValueError(f"device {name}: the extension was built without CUDA; build it again where nvcc is present")
    return device


def _built_with_cuda() -> bool:
    from deeplab_repro import ops  # noqa: F401 - loads the extension, with clear errors where it cannot be

    from deeplab_repro.ops import _C  # isort: skip

    return "cuda" in _C.devices()


def local_device(device: torch.device) -> torch.device:
    """Choose the device of this process: with torchrun on CUDA each takes its own.

    Args:
        device: The device of the job.

    Returns:
        This process's.
    """
    import torch

    if device.type != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(own)
    return own
