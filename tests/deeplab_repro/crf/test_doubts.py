"""Probabilities taken for logits and images of 0..1 are told, once and by the argument's name."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_repro import CRFParams, DenseCRF
from deeplab_repro.compat.pydensecrf.utils import create_pairwise_bilateral
from deeplab_repro.crf.unary import scores_from_probabilities

IMAGE = torch.randint(256, (8, 9, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
LOGITS = torch.randn(3, 8, 9, generator=torch.Generator().manual_seed(2))
CRF = DenseCRF(CRFParams(iterations=1))


def _told(run):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("lead", [(), (1,)])
def test_probabilities_given_as_scores_are_told(lead):
    image, logits = IMAGE.expand(*lead, -1, -1, -1), LOGITS.expand(*lead, -1, -1, -1)
    (told,) = _told(lambda: CRF(image, logits.softmax(-3)))
    assert "scores=scores_from_probabilities(probabilities)" in told
    assert _told(lambda: CRF(image, logits)) == []
    assert _told(lambda: CRF(image, scores_from_probabilities(logits.softmax(-3)))) == []


def test_images_of_0_to_1_are_told():
    for image in (torch.rand(8, 9, 3), torch.ones(8, 9, 3, dtype=torch.uint8)):
        (told,) = _told(lambda image=image: CRF(image, LOGITS))
        assert "0..255" in told
    assert _told(lambda: CRF(torch.zeros(8, 9, 3), LOGITS)) == []
    assert _told(lambda: CRF(IMAGE.float(), LOGITS)) == []
    (told,) = _told(lambda: create_pairwise_bilateral((9, 9), 13, np.random.rand(4, 5, 3), chdim=2))
    # Who divides by less than 1 means it.
    assert not _told(lambda: create_pairwise_bilateral((9, 9), 0.2, np.random.rand(4, 5, 3), chdim=2))
    assert "0..255" in told


@pytest.mark.filterwarnings("always::UserWarning")
def test_the_command_names_its_option_once(tmp_path, deeplab):
    Image.fromarray(IMAGE.numpy()).save(tmp_path / "i.png")
    np.save(tmp_path / "p.npy", LOGITS.softmax(0).numpy())
    command = ("crf", tmp_path / "i.png", "--scores", tmp_path / "p.npy", "-o", tmp_path / "o.png")
    lines = deeplab(*command).stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("deeplab crf: warning: ")
    assert "--probabilities" in lines[0]
    for option in ("--probabilities", "--logits"):
        assert deeplab(*command, option).stderr == ""
