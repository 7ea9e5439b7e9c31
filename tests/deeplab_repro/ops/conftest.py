import pytest
import torch

CUDA = pytest.param("cuda", marks=pytest.mark.gpu)


def cuda_is_missing() -> str | None:
    """Why tests on CUDA cannot run here; None where they can."""
    from deeplab_repro.ops import _C

    if "cuda" not in _C.devices():
        return "the extension was built without CUDA; build it where torch has CUDA and nvcc is installed"
    if not torch.cuda.is_available():
        return "no CUDA device here"
    return None


@pytest.fixture(params=["cpu", CUDA])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and (reason := cuda_is_missing()):
        pytest.skip(reason)
    return request.param


@pytest.fixture
def needs_cuda() -> None:
    if reason := cuda_is_missing():
        pytest.skip(reason)


@pytest.fixture
def problem():
    """problem(device, ...): a random unary [B, L, N] and the features of two kernels, [1, N, 2], `spread` times as far
    apart, and [B, N, 5]."""

    def draw(device, dtype=torch.float32, batch=2, labels=3, points=20, spread=1):
        unary = torch.randn(batch, labels, points, dtype=dtype, device=device)
        shared = torch.randn(1, points, 2, dtype=dtype, device=device) * spread
        return unary, [shared, torch.randn(batch, points, 5, dtype=dtype, device=device)]

    return draw


@pytest.fixture(autouse=True)
def _seeded_and_exact():
    """Same draws in every test; full float32 precision of cuDNN and cuBLAS, so that tolerances mean something."""
    torch.manual_seed(0)
    cudnn, matmul = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = cudnn, matmul
