"""The compiled extension (csrc/bind); loading it registers the operators of the torch library `deeplab`."""

from collections.abc import Callable

torch_version: str
cuda_architectures: str

def devices() -> list[str]:
    """Device types the operators were built for."""

def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself."""

def stage_seconds(call: Callable[[], object]) -> dict[str, float]:
    """Seconds that the CPU operators which call() runs on this thread spend in each of their stages."""
