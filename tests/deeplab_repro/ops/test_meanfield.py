"""The meanfield operator: its contract with torch. Its numbers are held against recordings in test_crf.py."""

import pytest
import torch

from deeplab_repro import ops


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("normalization", ["no", "before", "after", "symmetric"])
def test_equals_the_update_written_with_lattice_filter(
    problem, dtype: torch.dtype, normalization: str, device: str
) -> None:
    unary, features = problem(device, dtype)
    weights = [1.5, 0.7]
    matrix = torch.randn(3, 3, dtype=dtype, device=device)
    got = ops.meanfield(unary, features, weights, matrix, normalization, 3)
    for image in range(2):
        q = torch.softmax(-unary[image], 0)
        for _ in range(3):
            message = torch.zeros_like(q)
            for kernel, weight in zip(features, weights, strict=True):
                lattice = ops.lattice_build(kernel[image if len(kernel) > 1 else 0])
                norm = ops.lattice_filter(torch.ones_like(q[:1]).T, lattice).T
                before = {"before": 1 / norm, "symmetric": norm**-0.5}.get(normalization, torch.ones_like(norm))
                after = {"after": 1 / norm, "symmetric": norm**-0.5}.get(normalization, torch.ones_like(norm))
                message += weight * after * ops.lattice_filter((q * before).T.contiguous(), lattice).T
            q = torch.softmax(-unary[image] - matrix @ message, 0)
        torch.testing.assert_close(got[image], q)


def test_negative_views_count_with_their_sign(problem, device: str) -> None:
    unary, features = problem(device)
    matrix = torch.randn(3, 3, device=device)
    views = [torch._neg_view(-tensor) for tensor in (unary, *features, matrix)]
    got = ops.meanfield(views[0], views[1:-1], [1.5, 0.7], views[-1])
    torch.testing.assert_close(got, ops.meanfield(unary, features, [1.5, 0.7], matrix))


def test_no_iterations_give_the_softmax(problem, device: str) -> None:
    unary, features = problem(device)
    torch.testing.assert_close(ops.meanfield(unary, features, [1.0, 1.0], iterations=0), torch.softmax(-unary, 1))


def test_no_kernels_give_the_softmax(problem, device: str) -> None:
    unary, _ = problem(device)
    torch.testing.assert_close(ops.meanfield(unary, [], [], iterations=5), torch.softmax(-unary, 1))


@pytest.mark.parametrize("labels", [1, 2, 8, 9, 33, 150])
def test_any_number_of_labels(problem, labels: int, device: str) -> None:
    unary, features = problem(device, labels=labels, batch=1)
    q = ops.meanfield(unary, features, [1.0, 1.0])
    torch.testing.assert_close(q.sum(1), torch.ones_like(q[:, 0]))
    wide = torch.cat([unary, torch.full_like(unary, 1e4)], 1)
    # Labels that cannot be chosen change nothing.
    torch.testing.assert_close(ops.meanfield(wide, features, [1.0, 1.0])[:, :labels], q)


def test_an_infinite_unary_is_never_chosen(problem, device: str) -> None:
    unary, features = problem(device)
    unary[:, 1] = float("inf")
    q = ops.meanfield(unary, features, [1.0, 1.0])
    assert torch.isfinite(q).all()
    assert (q[:, 1] == 0).all()


def test_images_of_a_batch_do_not_mix(problem, device: str) -> None:
    unary, features = problem(device)
    both = ops.meanfield(unary, features, [1.0, 1.0])
    for image in range(2):
        alone = ops.meanfield(unary[image : image + 1], [features[0], features[1][image : image + 1]], [1.0, 1.0])
        assert torch.equal(both[image : image + 1], alone)


def test_empty_batch_and_no_pixels(problem, device: str) -> None:
    for batch, points in ((0, 7), (2, 0)):
        unary, features = problem(device, batch=batch, points=points)
        assert ops.meanfield(unary, features, [1.0, 1.0]).shape == (batch, 3, points)


def test_two_runs_give_the_same_bits(problem, device: str) -> None:
    unary, features = problem(device, points=3000)
    first = ops.meanfield(unary, features, [3.0, 4.0])
    assert torch.equal(first, ops.meanfield(unary, features, [3.0, 4.0]))


def test_thread_count_does_not_change_the_bits(problem) -> None:
    unary, features = problem("cpu", points=5000)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = ops.meanfield(unary, features, [3.0, 4.0])
        torch.set_num_threads(3)
        three = ops.meanfield(unary, features, [3.0, 4.0])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(alone, three)


def test_passes_opcheck(problem, device: str) -> None:
    unary, features = problem(device)
    op = torch.ops.deeplab.meanfield.default
    torch.library.opcheck(op, (unary, features, [3.0, 4.0], None, "after", 2))
    torch.library.opcheck(op, (unary, features, [3.0, 4.0], torch.randn(3, device=device), "symmetric", 1))


def test_survives_compile_and_export_with_dynamic_shapes(problem, device: str) -> None:
    class Refine(torch.nn.Module):
        def forward(self, unary: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
            return ops.meanfield(unary * 2, [features], [3.0], iterations=2) + 1

    module = Refine()
    compiled = torch.compile(module, dynamic=True, fullgraph=True, backend="aot_eager")
    batch, points = torch.export.Dim("batch"), torch.export.Dim("points", min=2)
    unary, features = problem(device)
    shapes = {"unary": {0: batch, 2: points}, "features": {0: batch, 1: points}}
    exported = torch.export.export(module, (unary, features[1]), dynamic_shapes=shapes).module()
    for b, p in ((2, 20), (3, 31)):
        unary, features = problem(device, batch=b, points=p)
        want = module(unary, features[1])
        assert torch.equal(compiled(unary, features[1]), want)
        assert torch.equal(exported(unary, features[1]), want)


def test_wrong_arguments_are_named(problem) -> None:
    unary, features = problem("cpu")
    with pytest.raises(RuntimeError, match="normalization must be 'no', 'before', 'after' or 'symmetric', got 'off'"):
        ops.meanfield(unary, features, [1.0, 1.0], normalization="off")
    with pytest.raises(RuntimeError, match="2 feature tensors for 1 kernel weights"):
        ops.meanfield(unary, features, [1.0])
    with pytest.raises(RuntimeError, match=r"features \[1, 19, 2\] do not fit unary \[2, 3, 20\]"):
        ops.meanfield(unary, [features[0][:, 1:]], [1.0])
    with pytest.raises(RuntimeError, match="compatibility must be"):
        ops.meanfield(unary, features, [1.0, 1.0], torch.zeros(4))
    with pytest.raises(RuntimeError, match="iterations must be 0 or more, got -1"):
        ops.meanfield(unary, features, [1.0, 1.0], iterations=-1)
    with pytest.raises(RuntimeError, match="unary must be float32 or float64"):
        ops.meanfield(unary.half(), [], [])


def test_images_may_bring_their_own_weights(problem, device: str) -> None:
    unary, features = problem(device, batch=3)
    shared = [features[0], features[1][:1]]
    q = ops.meanfield(unary, shared, [1.0, 2.0, 0.5, 0.0, 3.0, 4.0], iterations=3)
    for image, weights in enumerate(([1.0, 2.0], [0.5, 0.0], [3.0, 4.0])):
        assert torch.equal(q[image], ops.meanfield(unary[image : image + 1], shared, weights, iterations=3)[0])
    torch.library.opcheck(
        torch.ops.deeplab.meanfield.default, (unary, shared, [1.0, 2.0, 0.5, 0.0, 3.0, 4.0], None, "after", 2)
    )
    with pytest.raises(RuntimeError, match="2 feature tensors for 4 kernel weights"):
        ops.meanfield(unary, shared, [1.0, 2.0, 0.5, 0.0])
