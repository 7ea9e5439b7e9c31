"""What a compiled graph has to leave to Python, marked without loading the compiler."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


def uncompiled(function: Callable[_Arguments, _Answer]) -> Callable[_Arguments, _Answer]:
    """Decorator as `torch.compiler.disable`, which loads torch._dynamo, half as long as torch itself, when it marks.

    This one asks for it when a compiler is at work, and torch._dynamo is there anyway.

    Args:
        function: What looks at values or writes files.

    Returns:
        The function, which torch.compile breaks its graph for.

    Example:
        >>> from deeplab_repro.layers.uncompiled import uncompiled
        >>> @uncompiled
        ... def largest(x):
        ...     return float(x.max())
        >>> largest(torch.tensor([1.0, 3.0]))
        3.0
    """

    @wraps(function)
    def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Answer:
        if torch.compiler.is_compiling():
            return torch.compiler.disable(function)(*args, **kwargs)
        return function(*args, **kwargs)

    return call
