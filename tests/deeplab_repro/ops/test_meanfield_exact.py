"""Mean field over all pairs of points: against its definition, and what its error bound promises."""

from functools import partial

import pytest
import torch

from deeplab_repro import ops

NORMALIZATIONS = ["no", "before", "after", "symmetric"]


@pytest.fixture
def problem(problem):
    return partial(problem, dtype=torch.float64, points=150, spread=2)


def dense(unary, features, weights, matrix, normalization: str, iterations: int) -> torch.Tensor:
    """The update written with the full kernel matrices."""
    out = []
    for image in range(len(unary)):
        kernels = []
        for kernel, weight in zip(features, weights, strict=True):
            f = kernel[image if len(kernel) > 1 else 0]
            k = torch.exp(-0.5 * (f[:, None] - f[None]).square().sum(-1))
            n = k.sum(1)
            before = {"before": 1 / n, "symmetric": n**-0.5}.get(normalization, torch.ones_like(n))
            after = {"after": 1 / n, "symmetric": n**-0.5}.get(normalization, torch.ones_like(n))
            kernels.append(weight * after[:, None] * k * before)
        q = torch.softmax(-unary[image], 0)
        for _ in range(iterations):
            q = torch.softmax(-unary[image] - matrix @ sum(q @ k.T for k in kernels), 0)
        out.append(q)
    return torch.stack(out)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_follows_the_definition(problem, normalization: str, device: str) -> None:
    unary, features = problem(device)
    matrix = torch.randn(3, 3, dtype=torch.float64, device=device)
    q, bound = ops.meanfield_exact(unary, features, [1.5, 0.7], matrix, normalization, 4)
    torch.testing.assert_close(q, dense(unary, features, [1.5, 0.7], matrix, normalization, 4))
    assert (bound == 0).all()


@pytest.mark.parametrize(("labels", "points"), [(1, 1), (2, 63), (7, 64), (8, 65), (70, 129)])
def test_any_number_of_labels_and_points_in_float32(problem, labels: int, points: int, device: str) -> None:
    unary, features = problem(device, dtype=torch.float32, labels=labels, points=points)
    q, _ = ops.meanfield_exact(unary, features, [3.0, 4.0])
    want = dense(
        unary.double(),
        [f.double() for f in features],
        [3.0, 4.0],
        -torch.eye(labels, device=device).double(),
        "after",
        10,
    )
    torch.testing.assert_close(q.double(), want, atol=2e-4, rtol=0)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("skip_below", [1e-3, 1e-6, 1e-10])
def test_error_bound_holds(problem, normalization: str, skip_below: float, device: str) -> None:
    unary, features = problem(device, points=700)
    features = [kernel * 3 for kernel in features]
    order = ops.spatial_order(features[0][0])
    unary, features = unary[..., order], [kernel[:, order] for kernel in features]
    arguments = (unary * 3, features, [0.5, 0.4], None, normalization, 3)
    full, _ = ops.meanfield_exact(*arguments)
    fast, bound = ops.meanfield_exact(*arguments, skip_below)
    difference = (full - fast).abs().amax((1, 2))
    assert (difference <= bound + 1e-12).all()
    assert (difference > 0).any() or skip_below < 1e-6


def test_bound_becomes_small_with_the_threshold(problem) -> None:
    unary, features = problem("cpu", points=400)
    features = [kernel * 3 for kernel in features]
    bounds = [ops.meanfield_exact(unary * 3, features, [0.5, 0.4], iterations=3, skip_below=s)[1] for s in (1e-6, 1e-9)]
    assert (bounds[1] <= bounds[0]).all()
    assert (bounds[1] < 1e-3).all()


@pytest.mark.parametrize("points", [1, 63, 64, 65, 1000])
def test_spatial_order_is_a_permutation(points: int, device: str) -> None:
    order = ops.spatial_order(torch.randn(points, 3, device=device))
    assert torch.equal(order.sort().values, torch.arange(points, device=device))


def test_spatial_order_gathers_close_points() -> None:
    features = torch.rand(4096, 2)
    blocks = features[ops.spatial_order(features)].view(-1, 64, 2)
    spread = (blocks.amax(1) - blocks.amin(1)).mean()
    # 64 of 4096 points in the unit square fill a cell of side 1/8.
    assert spread < 0.16


def test_empty_batch_and_no_points(problem, device: str) -> None:
    for batch, points in ((0, 7), (2, 0)):
        unary, features = problem(device, batch=batch, points=points)
        q, bound = ops.meanfield_exact(unary, features, [1.0, 1.0])
        assert q.shape == (batch, 3, points)
        assert bound.shape == (batch,)


def test_two_runs_give_the_same_bits(problem, device: str) -> None:
    unary, features = problem(device, dtype=torch.float32, points=500)
    first, _ = ops.meanfield_exact(unary, features, [3.0, 4.0])
    assert torch.equal(first, ops.meanfield_exact(unary, features, [3.0, 4.0])[0])


def test_passes_opcheck(problem, device: str) -> None:
    unary, features = problem(device, points=20)
    op = torch.ops.deeplab.meanfield_exact.default
    torch.library.opcheck(op, (unary, features, [3.0, 4.0], None, "after", 2, 0.0))
    matrix = torch.randn(3, 3, dtype=torch.float64, device=device)
    torch.library.opcheck(op, (unary, features, [3.0, 4.0], matrix, "symmetric", 1, 1e-4))


def test_refuses_gradients_and_wrong_thresholds(problem) -> None:
    unary, features = problem("cpu", points=10)
    q, _ = ops.meanfield_exact(unary.requires_grad_(), features, [1.0, 1.0])
    with pytest.raises(RuntimeError, match="meanfield_exact: no gradient is implemented"):
        q.sum().backward()
    with pytest.raises(RuntimeError, match=r"skip_below must be in \[0, 1\), got -1"):
        ops.meanfield_exact(unary.detach(), features, [1.0, 1.0], skip_below=-1.0)
