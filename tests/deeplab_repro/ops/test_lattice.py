"""lattice_build and lattice_filter against the recorded filters, a plain float64 lattice, and their own contract."""

import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_repro import ops
from deeplab_repro.crf.model import PermutohedralLattice
from tests.paths import GOLDEN

RECORDED = GOLDEN / "crf"
CASES = json.loads((RECORDED / "manifest.json").read_text())["cases"]
FILTERS = [case["file"] for case in CASES if case["kind"] == "raw_filter"]


def plain_filter(features: np.ndarray, values: np.ndarray, reverse: bool = False) -> np.ndarray:
    """The lattice with a dictionary of vertices, float64, straight from the definition."""
    d = features.shape[1]
    scale = np.sqrt(2 / 3) * (d + 1) / np.sqrt((np.arange(d) + 1) * (np.arange(d) + 2))
    table: dict[tuple[int, ...], int] = {}
    corners = []
    for point in features:
        c = point * scale
        elevated = np.array([c.sum()] + [c[j:].sum() - j * c[j - 1] for j in range(1, d + 1)])
        base = np.rint(elevated / (d + 1)).astype(int)
        total, rem0 = base.sum(), base * (d + 1)
        delta = elevated - rem0
        rank = np.zeros(d + 1, int)
        for a, b in itertools.combinations(range(d + 1), 2):
            rank[a if delta[a] < delta[b] else b] += 1
        rank += total
        rem0 = np.where(rank < 0, rem0 + d + 1, np.where(rank > d, rem0 - d - 1, rem0))
        rank %= d + 1
        t = (elevated - rem0) / (d + 1)
        weight = np.zeros(d + 2)
        for j in range(d + 1):
            weight[d - rank[j]] += t[j]
            weight[d - rank[j] + 1] -= t[j]
        weight[0] += 1 + weight[d + 1]
        for q in range(d + 1):
            key = tuple(int(r) for r in rem0 + q - (d + 1) * (rank > d - q))
            corners.append((table.setdefault(key, len(table)), weight[q]))
    rows = np.zeros((len(table), values.shape[1]))
    for e, (v, w) in enumerate(corners):
        rows[v] += w * values[e // (d + 1)]
    for axis in range(d, -1, -1) if reverse else range(d + 1):
        step = np.full(d + 1, -1)
        step[axis] = d
        old = rows.copy()
        for key, v in table.items():
            for direction in (1, -1):
                other = table.get(tuple(int(k) for k in np.array(key) + direction * step))
                if other is not None:
                    rows[v] += 0.5 * old[other]
    out = np.zeros_like(values, dtype=float)
    for e, (v, w) in enumerate(corners):
        out[e // (d + 1)] += w * rows[v] / (1 + 2.0**-d)
    return out


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", FILTERS)
def test_filter_reproduces_the_recorded_library(name: str, reverse: bool, device: str) -> None:
    data = np.load(RECORDED / name)
    lattice = PermutohedralLattice(torch.tensor(data["features"], device=device))
    got = lattice.filter(torch.tensor(data["values"], device=device), reverse=reverse).cpu().numpy()
    want = data["out_reverse" if reverse else "out"]
    # Both sum in float32, in different orders.
    assert np.abs(got - want).max() <= 2e-5 * np.abs(want).max()


@pytest.mark.parametrize(("n", "d", "channels"), [(60, 1, 1), (60, 2, 3), (40, 5, 9), (12, 9, 2)])
@pytest.mark.parametrize("reverse", [False, True])
def test_filter_follows_the_definition_in_float64(n: int, d: int, channels: int, reverse: bool, device: str) -> None:
    features = torch.randn(n, d, dtype=torch.float64, device=device)
    values = torch.randn(n, channels, dtype=torch.float64, device=device)
    got = PermutohedralLattice(features).filter(values, reverse=reverse)
    want = plain_filter(features.cpu().numpy(), values.cpu().numpy(), reverse)
    np.testing.assert_allclose(got.cpu().numpy(), want, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 25),
    d=st.integers(1, 7),
    channels=st.integers(1, 20),
    spread=st.floats(0.01, 100),
    seed=st.integers(0, 2**31),
)
def test_filter_follows_the_definition_for_any_geometry(
    n: int, d: int, channels: int, spread: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    features, values = rng.normal(0, spread, (n, d)), rng.normal(size=(n, channels))
    got = PermutohedralLattice(torch.tensor(features)).filter(torch.tensor(values)).numpy()
    np.testing.assert_allclose(got, plain_filter(features, values), atol=1e-10)


def test_cuda_builds_the_same_tables_as_the_cpu(device: str) -> None:
    features = torch.randn(500, 5)
    here, there = ops.lattice_build(features), ops.lattice_build(features.to(device))
    for name, a, b in zip(ops.Lattice._fields, here, there, strict=True):
        assert torch.equal(a, b.cpu()), name


def test_reverse_filter_is_the_adjoint(device: str) -> None:
    lattice = PermutohedralLattice(torch.randn(80, 4, dtype=torch.float64, device=device))
    a, b = torch.randn(2, 80, 1, dtype=torch.float64, device=device)
    torch.testing.assert_close((lattice.filter(a) * b).sum(), (a * lattice.filter(b, reverse=True)).sum())


def test_filter_gradcheck(device: str) -> None:
    lattice = PermutohedralLattice(torch.randn(15, 3, dtype=torch.float64, device=device))
    values = torch.randn(15, 4, dtype=torch.float64, device=device, requires_grad=True)
    for reverse in (False, True):
        assert torch.autograd.gradcheck(lambda v, r=reverse: lattice.filter(v, reverse=r), (values,))


def test_build_and_filter_pass_opcheck(device: str) -> None:
    features = torch.randn(30, 3, device=device)
    lattice = ops.lattice_build(features)
    torch.library.opcheck(torch.ops.deeplab.lattice_build.default, (features,))
    values = torch.randn(30, 4, device=device, requires_grad=True)
    for reverse in (False, True):
        torch.library.opcheck(torch.ops.deeplab.lattice_filter.default, (values, *lattice, reverse))


def test_filter_takes_non_contiguous_and_many_channel_values(device: str) -> None:
    features = torch.randn(2, 50, device=device).T
    values = torch.randn(130, 50, device=device).T
    lattice = PermutohedralLattice(features)
    plain = PermutohedralLattice(features.contiguous())
    assert torch.equal(lattice.filter(values), plain.filter(values.contiguous()))


@pytest.mark.gpu
def test_filter_refuses_tables_of_another_device(needs_cuda) -> None:
    lattice = ops.lattice_build(torch.randn(30, 2, device="cuda"))
    for name in ("vertices", "neighbors", "entries", "offsets"):
        mixed = lattice._replace(**{name: getattr(lattice, name).cpu()})
        with pytest.raises(RuntimeError, match=f"{name} must be on the device of weights"):
            ops.lattice_filter(torch.randn(30, 3, device="cuda"), mixed)


@pytest.mark.parametrize(("n", "channels"), [(0, 3), (5, 0)])
def test_no_points_or_no_channels_give_empty_results(n: int, channels: int, device: str) -> None:
    lattice = PermutohedralLattice(torch.randn(n, 2, device=device))
    assert lattice.filter(torch.randn(n, channels, device=device)).shape == (n, channels)
    assert (lattice.vertex_count == 0) == (n == 0)


def test_identical_points_share_one_simplex(device: str) -> None:
    assert PermutohedralLattice(torch.full((100, 5), 0.37, device=device)).vertex_count == 6


def test_far_features_do_not_wrap_around(device: str) -> None:
    # 16-bit keys, as the reference has them, would fold 70000 units onto the origin.
    features = torch.tensor([[0.0, 0.0], [70000.0, 70000.0]], dtype=torch.float64, device=device)
    out = PermutohedralLattice(features).filter(torch.tensor([[1.0], [0.0]], dtype=torch.float64, device=device))
    assert out[0] > 0.1
    assert out[1] == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_features_out_of_range_are_refused(bad: float, device: str) -> None:
    with pytest.raises(RuntimeError, match="lattice_build: features must be finite"):
        ops.lattice_build(torch.tensor([[0.0, bad]], device=device))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.zeros(3), r"features must be \[N, d\]"),
        (torch.zeros(3, 0), "1 to 64 columns"),
        (torch.zeros(3, 2, dtype=torch.int32), "float32 or float64"),
    ],
)
def test_wrong_features_are_named(features: torch.Tensor, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        ops.lattice_build(features)


def test_wrong_values_are_named() -> None:
    lattice = ops.lattice_build(torch.randn(6, 2))
    with pytest.raises(RuntimeError, match="values have 5 rows, the lattice has 6 points"):
        ops.lattice_filter(torch.randn(5, 1), lattice)
    with pytest.raises(RuntimeError, match="values must have the dtype of weights"):
        ops.lattice_filter(torch.randn(6, 1).double(), lattice)


def test_tables_that_point_outside_are_refused() -> None:
    lattice = ops.lattice_build(torch.randn(6, 2))
    broken = lattice._replace(vertices=lattice.vertices + 1000)
    with pytest.raises(RuntimeError, match="tables point outside"):
        ops.lattice_filter(torch.randn(6, 1), broken)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case["kind"] == "raw_filter"], ids=lambda case: case["file"]
)
def test_vertices_are_those_of_the_recorded_library(case: dict) -> None:
    """Ties of rounding and of ranks included, which add vertices without mass.

    Where the number of points is no multiple of four, the library's also holds the simplex of all-zero features."""
    features = np.load(RECORDED / case["file"])["features"]
    if filled := -len(features) % 4:
        features = np.concatenate([features, np.zeros((filled, features.shape[1]), np.float32)])
    assert PermutohedralLattice(torch.tensor(features)).vertex_count == case["lattice_vertices"]


def test_the_filter_depends_on_place_and_order_of_the_features() -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(200, 3, dtype=torch.float64, generator=generator)
    values = torch.rand(200, 1, dtype=torch.float64, generator=generator)
    out = PermutohedralLattice(features).filter(values)
    for other in (features + 0.3, features.flip(1)):
        moved = PermutohedralLattice(other).filter(values)
        assert not torch.allclose(moved, out, rtol=1e-3)
        assert (moved / out).log().abs().mean() < 0.3


def test_blur_in_order_and_in_reverse_differ() -> None:
    features = torch.randn(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    lattice, values = PermutohedralLattice(features), torch.eye(60, dtype=torch.float64)
    matrix = lattice.filter(values)
    assert not torch.allclose(matrix, matrix.T, rtol=1e-3)
    torch.testing.assert_close(lattice.filter(values, reverse=True), matrix.T)


def plane(size: int, std: float) -> torch.Tensor:
    y, x = torch.meshgrid(*[torch.arange(size, dtype=torch.float64)] * 2, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1) / std


def test_gain_on_a_dense_plane_is_that_of_the_reference() -> None:
    """0.882 of the exact Gaussian sum inside, 0.77 in the corner at the origin."""
    features = plane(60, 3)
    out = PermutohedralLattice(features).filter(torch.ones(3600, 1, dtype=torch.float64)).reshape(60, 60)
    line = torch.exp(-(torch.cdist(features[:60, :1], features[:60, :1]) ** 2) / 2).sum(1)
    gain = out / torch.outer(line, line)
    assert gain[20:40, 20:40].mean().item() == pytest.approx(0.882, abs=1e-3)
    assert gain[0, 0].item() == pytest.approx(0.77, abs=5e-3)


@pytest.mark.parametrize("std", [1.0, 3.0, 7.3])
def test_an_impulse_spreads_by_its_deviation_over_a_compact_support(std: float) -> None:
    values = torch.zeros(6561, 1, dtype=torch.float64)
    values[3280] = 1
    out = PermutohedralLattice(plane(81, std)).filter(values)[:, 0]
    offsets = (plane(81, std) - plane(81, std)[3280]).double()
    deviations = ((out[:, None] * offsets.square()).sum(0) / out.sum()).sqrt()
    assert bool(((deviations > 0.95) & (deviations < 1.05)).all())
    assert offsets[out > 0].norm(dim=1).max() < 3.7
