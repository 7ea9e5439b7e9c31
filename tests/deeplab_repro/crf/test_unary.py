"""Scores from probabilities and labels, and images in either layout."""

import math

import numpy as np
import pytest
import torch

from deeplab_repro import CRFParams, DenseCRF
from deeplab_repro.crf.unary import log_probabilities, scores_from_file, scores_from_labels, scores_from_probabilities
from deeplab_repro.files.arrays import Scores


def test_probabilities_and_logits_refine_alike() -> None:
    generator = torch.Generator().manual_seed(2)
    image = torch.randint(0, 256, (9, 11, 3), dtype=torch.uint8, generator=generator)
    logits = torch.randn(4, 9, 11, generator=generator)
    crf = DenseCRF(CRFParams(iterations=2))
    torch.testing.assert_close(crf(image, scores_from_probabilities(logits.softmax(0))), crf(image, logits))


def test_probability_zero_is_never_chosen_unless_clipped() -> None:
    probabilities = torch.tensor([1.0, 0.0]).reshape(2, 1, 1)
    assert scores_from_probabilities(probabilities).flatten().tolist() == [0, -math.inf]
    clipped = scores_from_probabilities(probabilities, clip=1e-5)
    torch.testing.assert_close(clipped.flatten(), torch.tensor([0, math.log(1e-5)]))
    image = torch.zeros(1, 1, 3, dtype=torch.uint8)
    assert DenseCRF()(image, scores_from_probabilities(probabilities)).flatten().tolist() == [1, 0]


def test_certainty_mixes_in_the_uniform_distribution() -> None:
    scores = scores_from_probabilities(torch.tensor([1.0, 0.0]).reshape(2, 1, 1), certainty=0.8)
    torch.testing.assert_close(scores.exp().flatten(), torch.tensor([0.9, 0.1]))


def test_a_file_of_probabilities_gives_their_logarithm_and_others_what_they_hold() -> None:
    p = np.array([0.25, 0, 0.75, 1], np.float32).reshape(2, 1, 2)
    scores = scores_from_file(Scores(p, True, "a.bin"))
    np.testing.assert_allclose(scores.flatten()[[0, 2, 3]], np.log([0.25, 0.75, 1]), rtol=1e-6)
    assert scores[0, 0, 1] == np.log(np.finfo(np.float32).tiny)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores_from_file(Scores(p, False, "a.npy")), p)


def test_arrays_and_tensors_have_the_same_logarithms() -> None:
    p = torch.rand(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    options = {"least": 0.2, "most": 0.9, "certainty": 0.7}
    of_array = log_probabilities(p.numpy(), **options)
    torch.testing.assert_close(log_probabilities(p, **options), torch.from_numpy(of_array))


def test_labels_share_the_rest_and_unknown_is_uniform() -> None:
    labels = torch.tensor([[0, 2], [255, 1]], dtype=torch.uint8)
    p = scores_from_labels(labels, 3, certainty=0.7, unknown=255).exp()
    torch.testing.assert_close(p[:, 0, 0], torch.tensor([0.7, 0.15, 0.15]))
    torch.testing.assert_close(p[:, 0, 1], torch.tensor([0.15, 0.15, 0.7]))
    torch.testing.assert_close(p[:, 1, 0], torch.full((3,), 1 / 3))
    torch.testing.assert_close(scores_from_labels(labels[None], 3, 0.7, 255)[0].exp(), p)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scores_from_probabilities(torch.full((2, 1, 1), 3.0)), "are they logits"),
        (lambda: scores_from_probabilities(torch.ones(2, 1, 1, dtype=torch.int64)), "floating point"),
        (lambda: scores_from_probabilities(torch.full((2, 1, 1), float("nan"))), "must lie in 0..1"),
        (lambda: scores_from_probabilities(torch.ones(2, 1, 1), certainty=0.0), "certainty"),
        (lambda: scores_from_probabilities(torch.ones(2, 1, 1), clip=2.0), "clip"),
        (lambda: scores_from_labels(torch.tensor([[3]]), 3), r"label 3 is none of 0\.\.2"),
        (lambda: scores_from_labels(torch.tensor([[0]]), 3, 1.0), "certainty"),
        (lambda: scores_from_labels(torch.tensor([[0]]), 1), "num_labels"),
        (lambda: scores_from_labels(torch.tensor([[0.0]]), 3), "integers"),
    ],
)
def test_wrong_arguments_are_named(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_uint8_images_may_have_their_channels_first() -> None:
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (2, 9, 11, 3), dtype=torch.uint8, generator=generator)
    scores = torch.randn(2, 4, 9, 11, generator=generator)
    crf = DenseCRF(CRFParams(iterations=2))
    assert torch.equal(crf(images.permute(0, 3, 1, 2), scores), crf(images, scores))
    assert torch.equal(crf(images[0].permute(2, 0, 1), scores[0]), crf(images[0], scores[0]))
