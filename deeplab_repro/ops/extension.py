"""The compiled extension `_C`, whose loading registers the operators of the torch library `deeplab`.

Every module that calls one imports this one first."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["register_autograd"]


def _load_extension() -> None:
    """Import ``_C``, turning the two usual failures into one clear line each."""
    try:
        from deeplab_repro.ops import _C
    except ImportError as error:
        raise ImportError(
            "deeplab_repro: the C++ extension does not load under torch "
            f"{torch.__version__}; build it here with: pip install --no-build-isolation . ({error})"
        ) from error

    def release(version: str) -> str:
        match = re.match(r"\d+\.\d+", version)
        return match.group() if match else version

    if release(_C.torch_version) != release(torch.__version__):
        raise ImportError(
            f"deeplab_repro: the C++ extension was built for torch {_C.torch_version}, but torch {torch.__version__} "
            "is running; build it again with: pip install --no-build-isolation --force-reinstall --no-deps ."
        )


_load_extension()


def register_autograd(operator: str, backward: Callable[..., Any], setup: Callable[..., None] | None = None) -> None:
    """Give an operator of the library its gradient; arguments as of `torch.library.register_autograd`."""
    torch.library.register_autograd(f"deeplab::{operator}", backward, setup_context=setup)
