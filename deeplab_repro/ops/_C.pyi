"""The compiled extension (`csrc/bind/module.cpp`). Importing it registers the operators of `torch.ops.deeplab`."""

from collections.abc import Callable

torch_version: str
"""The torch that it was compiled for, as "2.13.0"; another release may not load it."""

cuda_architectures: str
"""`TORCH_CUDA_ARCH_LIST` of the CUDA build; empty where it was built for the CPU alone."""

def has_bfloat16() -> bool:
    """Whether the kernels multiply bfloat16 in instructions of the processor (AVX512-BF16).

    Returns:
        False, too, where `DEEPLAB_CPU_CAPABILITY` lowers the instruction set.
    """

def devices() -> list[str]:
    """Device types that the operators were built for.

    Returns:
        `["cpu"]`, or `["cpu", "cuda"]`.
    """

def stage_seconds(call: Callable[[], object]) -> dict[str, float]:
    """Times the steps of the CPU operators that `call()` runs on this thread.

    Args:
        call: What to time; its result is dropped.

    Returns:
        Seconds spent in each step, by the step's name.
    """
