"""Free energy and change iteration by iteration, and pruning of labels."""

import pytest
import torch

from deeplab_repro import CRFParams, DenseCRF


def scene(labels: int = 4):
    generator = torch.Generator().manual_seed(3)
    y, x = torch.meshgrid(torch.arange(17), torch.arange(23), indexing="ij")
    image = torch.stack([10 * x, 10 * y, 5 * (x + y)], -1).to(torch.uint8)
    return image, torch.randn(labels, 17, 23, generator=generator)


@pytest.mark.parametrize("compatibility", [None, torch.tensor([-1.0, -0.5, -2, 0.3]), torch.randn(4, 4)])
@pytest.mark.parametrize("normalization", CRFParams.NORMALIZATIONS)
def test_trace_gives_the_marginals_of_the_crf(normalization, compatibility) -> None:
    image, scores = scene()
    crf = DenseCRF(CRFParams(iterations=4, normalization=normalization, compatibility=compatibility))
    traced = crf.trace(image, scores.double())
    torch.testing.assert_close(traced.marginals, crf(image, scores.double()))
    assert traced.free_energy.shape == (5,)
    assert traced.change.shape == (4,)


def test_free_energy_falls_and_changes_fade() -> None:
    image, scores = scene()
    params = CRFParams(iterations=15, bilateral_weight=1, gaussian_weight=1, normalization="symmetric")
    _, energy, change = DenseCRF(params).trace(image, scores)
    assert (energy.diff() <= 1e-6 * energy.abs().max()).all()
    assert change[-1] < change[0] / 100


def test_free_energy_without_kernels_is_the_log_partition() -> None:
    image, scores = scene()
    traced = DenseCRF(CRFParams(bilateral_weight=0, gaussian_weight=0, iterations=1)).trace(image, scores.double())
    torch.testing.assert_close(traced.free_energy, -scores.double().logsumexp(0).sum().expand(2))


def test_a_batch_is_traced_image_by_image() -> None:
    image, scores = scene()
    crf = DenseCRF(CRFParams(iterations=2))
    both = crf.trace(torch.stack([image, image.flip(0)]), torch.stack([scores, scores]))
    assert both.free_energy.shape == (2, 3)
    assert torch.equal(both.free_energy[0], crf.trace(image, scores).free_energy)
    assert torch.equal(both.change[1], crf.trace(image.flip(0), scores).change)


def test_labels_that_cannot_be_chosen_leave_the_energy_finite() -> None:
    image, scores = scene()
    scores[1] = -torch.inf
    assert torch.isfinite(DenseCRF(CRFParams(iterations=2)).trace(image, scores).free_energy).all()


def test_pruned_labels_get_nothing_and_the_rest_is_the_crf_of_the_rest() -> None:
    image, scores = scene(6)
    scores[[1, 4]] -= 30
    kept = [0, 2, 3, 5]
    matrix = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    for whole, part in ((None, None), (matrix, matrix[kept][:, kept]), (matrix[0], matrix[0][kept])):
        q = DenseCRF(CRFParams(iterations=3, compatibility=whole), prune=1e-4)(image, scores)
        assert (q[[1, 4]] == 0).all()
        assert torch.equal(q[kept], DenseCRF(CRFParams(iterations=3, compatibility=part))(image, scores[kept]))


def test_pruning_chooses_labels_image_by_image() -> None:
    image, scores = scene(5)
    scores[1] -= 30
    other = scores.flip(0)
    crf = DenseCRF(CRFParams(iterations=2), prune=1e-3)
    q = crf(torch.stack([image, image]), torch.stack([scores, other]))
    assert torch.equal(q[0], crf(image, scores))
    assert torch.equal(q[1], crf(image, other))
    assert (q[0, 1] == 0).all()
    assert (q[1, 3] == 0).all()


def test_the_most_probable_label_survives_any_bound() -> None:
    image, scores = scene(4)
    q = DenseCRF(CRFParams(iterations=1), prune=0.999)(image, torch.zeros_like(scores))
    assert torch.equal(q[0], torch.ones_like(q[0]))


def test_pruned_marginals_pass_gradients() -> None:
    image, scores = scene(4)
    scores[2] -= 30
    scores.requires_grad_()
    DenseCRF(CRFParams(iterations=2), prune=1e-3)(image, scores)[0].sum().backward()
    assert (scores.grad[2] == 0).all()
    assert (scores.grad[0] != 0).any()


def test_trace_of_the_exact_method_is_refused() -> None:
    with pytest.raises(ValueError, match="exact"):
        DenseCRF(method="exact").trace(*scene())


def test_bound_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="prune"):
        DenseCRF(prune=1.0)
