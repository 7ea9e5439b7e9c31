"""Models by name or file."""

from dataclasses import replace

import pytest
import torch

from deeplab_repro.net import checkpoint
from deeplab_repro.net.checkpoint import save_checkpoint
from deeplab_repro.net.load import load_caffe
from deeplab_repro.predict.opening import check_model, model_names, open_model, require_weights
from deeplab_repro.predict.preprocessing import MODELS, Preprocessing, bundled_preprocessing


def test_kinds_of_models(toy, tmp_path):
    (tmp_path / "a.safetensors").touch()
    assert check_model("bundled") == "bundled"
    assert check_model(tmp_path / "a.safetensors") == "checkpoint"
    assert check_model(toy.prototxt, toy.caffemodel) == "prototxt"
    assert check_model("deeplab_largefov", toy.caffemodel) == "zoo"
    assert {"bundled", "deeplab_largefov", "deeplab_resnet101"} <= set(model_names())


def test_what_is_refused_before_anything_is_loaded(toy, tmp_path):
    for model, weights, error, message in (
        ("deeplab_largefvo", None, ValueError, "unknown model .*did you mean 'deeplab_largefov'"),
        ("bundled", toy.caffemodel, ValueError, "bundled has its own weights; leave .* out"),
        ("deeplab_largefov", None, ValueError, "its weights are missing"),
        (toy.prototxt, tmp_path / "gone", FileNotFoundError, "gone: no such file"),
        (tmp_path / "gone.safetensors", None, FileNotFoundError, "gone.safetensors: no such file"),
    ):
        with pytest.raises(error, match=message):
            check_model(model, weights)


def test_the_bundled_model_opens_with_its_record():
    for name in ("bundled", *MODELS):
        net, facts = open_model(name)
        assert repr(facts) == repr(bundled_preprocessing(name))  # CRF parameters, which may hold arrays, have no ==
        assert net.spec.phase == "TEST"
        assert not net.spec.missing_weights
        assert check_model(name) == "bundled"
    assert open_model()[0].spec.source == open_model(MODELS[0])[0].spec.source


def test_a_checkpoint_is_read_once(toy, tmp_path, monkeypatch):
    net, file, opened = load_caffe(toy.prototxt, toy.caffemodel), tmp_path / "a.safetensors", []
    save_checkpoint(net, file, {"mean_bgr": [1, 2, 3]})
    safe_open = checkpoint.safe_open
    monkeypatch.setattr(checkpoint, "safe_open", lambda name, **how: opened.append(name) or safe_open(name, **how))
    again, facts = open_model(file)
    assert facts == Preprocessing((1, 2, 3))
    assert opened == [str(file)]
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_weights_that_leave_layers_empty_are_named(toy):
    require_weights(toy.spec, toy.caffemodel, "toy")
    with pytest.raises(ValueError, match=r"^w: holds no weights for the layers a, b of toy \(train it\)$"):
        require_weights(replace(toy.spec, missing_weights=("a", "b")), "w", "toy", " (train it)")
