from __future__ import annotations

import pytest
import torch

from deeplab_repro import CRFParams, DenseCRF


def crf_bottoms(rng, labels: int = 3, height: int = 6, width: int = 8):
    dims = torch.tensor([float(height), float(width)]).reshape(1, 1, 1, 2)
    return torch.randn(1, labels, height, width, generator=rng), dims, torch.randn(1, 3, height, width, generator=rng)


def test_repeated_fields_of_the_crf_are_several_kernels(run, rng):
    scores, dims, image = crf_bottoms(rng)
    once = run("DenseCRF", scores, dims, image, pos_xy_stds=(2.0,), pos_weights=(3.0,))
    twice = run("DenseCRF", scores, dims, image, pos_xy_stds=(2.0, 2.0), pos_weights=(1.0, 2.0))
    torch.testing.assert_close(twice, once)
    bilateral = {"bi_xy_stds": (5.0,), "bi_rgb_stds": (1.0,), "bi_weights": (2.0,)}
    assert not torch.allclose(run("DenseCRF", scores, dims, image, **bilateral), once)


def test_the_crf_is_the_module_of_the_same_name(run, rng):
    """Unary -bottom, always divided after the filter, ten iterations by default, self message included."""
    scores, dims, image = crf_bottoms(rng)  # 48 points: no zero features fill up the lattice
    options = {"pos_xy_stds": (2.0,), "pos_weights": (3.0,)}
    options |= {"bi_xy_stds": (5.0,), "bi_rgb_stds": (1.5,), "bi_weights": (2.0,)}
    crf = DenseCRF(CRFParams(10, 3, 2, 2, 5, 1.5, "after"))
    crf.warns = False
    want = crf(image[0].permute(1, 2, 0), scores[0])
    torch.testing.assert_close(run("DenseCRF", scores, dims, image, **options)[0], want)
    softmax = run("DenseCRF", scores.log_softmax(1), dims, image, unary="softmax", **options)
    torch.testing.assert_close(softmax[0], want)


def test_logarithms_of_the_crf_end_at_the_least_float(run, rng):
    """The forks' exponential is 0 from e^-20 on; the marginals of the module go on below."""
    scores, dims, image = crf_bottoms(rng)
    scores[:, 0] = -30
    options = {"pos_xy_stds": (2.0,), "pos_weights": (1.0,), "max_iter": 2}
    logs = run("DenseCRF", scores, dims, image, output_probability=False, **options)
    torch.testing.assert_close(logs[:, 0], torch.full((1, 6, 8), torch.finfo(torch.float32).tiny).log())
    torch.testing.assert_close(logs[:, 1:].exp(), run("DenseCRF", scores, dims, image, **options)[:, 1:])
    crf = DenseCRF(CRFParams(2, 1, 2, 0))
    crf.warns = False
    assert bool((crf(image[0].permute(1, 2, 0), scores[0])[0] > 0).all())


def test_bias_of_listed_channels_counts_every_entry_but_the_ignored(run):
    label = torch.tensor([0.0, 3.0, 3.0, 2.0, -1.0]).reshape(1, 5, 1, 1)
    scores = torch.zeros(1, 4, 2, 2, requires_grad=True)
    top = run("BiasChannel", scores, label, bg_bias=1.5, fg_bias=2.5, ignore_label=(2,))
    assert top[0, :, 1, 1].tolist() == [1.5, 0, 0, 5]
    top.sum().backward()
    assert torch.equal(scores.grad, torch.ones_like(scores))


def test_bias_of_labelled_pixels_with_and_without_a_background(run):
    label = torch.tensor([[0.0, 2.0], [255.0, -1.0]]).reshape(1, 1, 2, 2)
    scores = torch.zeros(1, 3, 2, 2)
    options = {"bg_bias": 1.0, "fg_bias": 3.0, "label_type": "PIXEL", "ignore_label": (255,)}
    plain = run("BiasChannel", scores, label, **options)
    assert plain[0].flatten(1).tolist() == [[3, 0, 0, 0], [0, 0, 0, 0], [0, 3, 0, 0]]
    ground = run("BiasChannel", scores, label, background_label=0, **options)
    assert ground[0].flatten(1).tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 3, 0, 0]]


@pytest.mark.parametrize("type_name", ["BiasChannel", "AdaptiveBiasChannel"])
def test_label_that_is_no_channel_is_refused(run, type_name):
    with pytest.raises(ValueError, match="label 4 is none of the 4 channels"):
        run(type_name, torch.zeros(1, 4, 2, 2), torch.full((1, 1, 1, 1), 4.0))


def test_adaptive_bias_lets_each_listed_label_win_its_portion(run, rng):
    scores = torch.randn(1, 4, 10, 10, generator=rng)
    label = torch.tensor([0.0, 2.0]).reshape(1, 2, 1, 1)
    top = run("AdaptiveBiasChannel", scores, label, num_iter=3, bg_portion=0.3, fg_portion=0.4, margin_others=0.01)
    listed = top[0, [0, 2]]
    assert bool((top[0, [1, 3]] <= listed.amin(0)).all())
    assert int((listed[1] >= listed[0]).sum()) > 40
    torch.testing.assert_close(listed.amax(0).mean(), scores[0, [0, 2]].amax(0).mean())


def test_adaptive_bias_leaves_an_item_without_labels_alone(run, rng):
    scores = torch.randn(1, 3, 4, 4, generator=rng)
    assert torch.equal(run("AdaptiveBiasChannel", scores, torch.full((1, 2, 1, 1), -1.0)), scores)


CRF = {"max_iter": 3, "pos_xy_stds": (3.0,), "pos_weights": (3.0,), "bi_xy_stds": (20.0,), "bi_rgb_stds": (13.0,),
       "bi_weights": (4.0,)}  # fmt: skip


def field(rng, items=1, size=(8, 9)):
    """Scores, sizes that cover them, and a mean-free image."""
    scores = torch.randn(items, 4, *size, generator=rng)
    return (
        scores,
        torch.tensor([size] * items).float().reshape(items, 1, 1, 2),
        40 * torch.randn(items, 3, *size, generator=rng),
    )


def test_every_item_is_filtered_with_its_own_image(run, rng):
    """The forks filter all items with the colours of the first."""
    scores, dims, image = field(rng, 2)
    both = run("DenseCRF", scores, dims, image, **CRF)
    for i in range(2):
        torch.testing.assert_close(both[i : i + 1], run("DenseCRF", scores[i:][:1], dims[:1], image[i:][:1], **CRF))


@pytest.mark.parametrize(("real", "used"), [((5, 7), (5, 7)), ((20, 6), (8, 6)), ((8, 9), (8, 9)), ((30, 9), (8, 9))])
def test_only_the_real_size_is_filtered_and_the_rest_is_zero(run, rng, real, used):
    scores, _, image = field(rng)
    top = run("DenseCRF", scores, torch.tensor(real).float().reshape(1, 1, 1, 2), image, **CRF)
    rows, columns = used
    part = slice(None), slice(None), slice(rows), slice(columns)
    cropped = run("DenseCRF", scores[part], torch.tensor(used).float().reshape(1, 1, 1, 2), image[part], **CRF)
    assert torch.equal(top[part], cropped)
    assert not top[..., rows:, :].any()
    assert not top[..., columns:].any()


def test_no_gradient_passes_the_mean_field_layer(run, rng):
    scores, dims, image = field(rng)
    assert not run("DenseCRF", scores.requires_grad_(), dims, image.requires_grad_(), **CRF).requires_grad


def test_unary_of_v1_and_v2_give_the_same_marginals(run, rng):
    scores, dims, image = field(rng)
    v1, v2 = (run("DenseCRF", scores, dims, image, unary=unary, **CRF) for unary in ("softmax", "score"))
    torch.testing.assert_close(v1, v2)
    torch.testing.assert_close(run("DenseCRF", scores, dims, image, **{**CRF, "max_iter": 0}), scores.softmax(1))
    far = run("DenseCRF", 1e4 * scores, dims, image, unary="softmax", **CRF)
    assert far.isfinite().all()
    logs = run("DenseCRF", 100 * scores, dims, image, output_probability=False, **CRF)
    assert logs.min() == torch.tensor(torch.finfo(torch.float32).tiny).log()
