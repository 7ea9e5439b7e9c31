"""deeplab_repro.models: the zoo's networks with the words of torch.hub and torchvision."""

import inspect

import pytest
import torch

from deeplab_repro import models
from deeplab_repro.zoo import models as variants
from tests.paths import GOLDEN

WEIGHTS = GOLDEN / "nets" / "v1_largefov_oldformat" / "weights.caffemodel"


def test_the_names_are_the_zoos():
    assert models.__all__ == variants.__all__
    assert all(callable(getattr(models, name)) for name in models.__all__)
    assert "pretrained" in inspect.getdoc(models.deeplab_largefov)


def test_pretrained_names_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPLAB_WEIGHTS", str(tmp_path))
    named = models.deeplab_largefov(pretrained=WEIGHTS, width=1 / 16)
    given = models.deeplab_largefov(WEIGHTS, width=1 / 16)
    assert named.spec.missing_weights == ()
    assert torch.equal(named.params["fc6"][0], given.params["fc6"][0])
    fresh = models.deeplab_largefov(pretrained=False, width=1 / 16)
    assert fresh.params["fc6"][0].shape == named.params["fc6"][0].shape
    (tmp_path / "largefov.caffemodel").write_bytes(WEIGHTS.read_bytes())
    kept = models.deeplab_largefov(pretrained="largefov", width=1 / 16)
    assert torch.equal(kept.params["fc6"][0], given.params["fc6"][0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pretrained": True}, ValueError, "not ours to serve; name a .caffemodel"),
        ({"pretrained": "nowhere"}, FileNotFoundError, "nowhere: no such file, and no such name in"),
        ({"pretrained": "v1_largefov"}, FileNotFoundError, "its file is not in .* yet. .*weights add v1_largefov"),
        ({"pretrained": "v1_largfov"}, FileNotFoundError, "`deeplab weights list` shows .*did you mean 'v1_largefov'"),
        ({"pretrained": WEIGHTS, "weights": WEIGHTS}, ValueError, "weights and pretrained exclude each other"),
    ],
)
def test_what_cannot_be_had_is_said(options, error, message, monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPLAB_WEIGHTS", str(tmp_path))
    with pytest.raises(error, match=message):
        models.deeplab_largefov(**options)


def test_a_name_like_one_of_the_zoo_is_told():
    with pytest.raises(AttributeError, match="no network 'deeplab_largefovv'; did you mean 'deeplab_largefov'"):
        _ = models.deeplab_largefovv
