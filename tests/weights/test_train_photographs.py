"""The recipe of the models of photographs: its files, its record, and a run of two iterations."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from deeplab_repro.files.palette import save_label_png
from deeplab_repro.net.network import CaffeNet
from prototxt_import import read_net, read_solver
from tests.deeplab_repro.zoo.test_backbone import write_classifier
from tests.paths import ROOT, SHARED
from tests.sets import write_set

WEIGHTS = ROOT / "weights"
MODELS = [file.parent.name for file in (WEIGHTS / "recipe").glob("*/solver.prototxt") if file.parent.name != "scenes"]


@pytest.fixture
def backbone(tmp_path):
    """A classifier's folder."""
    return write_classifier(tmp_path / "backbone")


@pytest.fixture
def data(tmp_path):
    """A set of four photographs of noise, three to learn from."""
    rng = np.random.default_rng(5)
    pairs = {
        name: (rng.integers(0, 256, (40, 50, 3), np.uint8), rng.integers(0, 3, (40, 50), np.uint8)) for name in "abcd"
    }
    held = {"d": pairs.pop("d")}
    return write_set(tmp_path / "data", {"train": pairs, "val": held}, classes=["sky", "sea", "sand"])


@pytest.mark.parametrize("name", MODELS)
def test_the_files_beside_the_recipe_are_those_it_writes(recipe, name):
    folder = SHARED / "backbones" / "mobilenet_v2"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    classifier = read_net(folder / "deploy.prototxt")
    for file, text in recipe.RECIPES[name].files(classifier).items():
        path = WEIGHTS / "recipe" / name / file
        assert path.read_text() == text, f"{path}: run train_photographs.py"


@pytest.mark.parametrize("name", MODELS)
def test_the_record_is_of_the_recipe_and_its_solver(recipe, name):
    record = json.loads((WEIGHTS / f"{name}.json").read_text())
    solver = read_solver(WEIGHTS / "recipe" / record["recipe"]["solver"])
    facts = json.loads(json.dumps(asdict(recipe.RECIPES[name])))
    assert {key: record["recipe"][key] for key in facts} == facts
    assert (solver.max_iter, solver.type, solver.lr_policy) == (record["recipe"]["iterations"], "Adam", "poly")
    assert solver.base_lr == pytest.approx(record["recipe"]["base_lr"])
    assert record["val"]["miou_after"] > record["val"]["miou_before"]


def test_a_run_is_trained_and_folded_and_passed_over_when_it_is_done(recipe, backbone, data, tmp_path):
    small = recipe.Recipe(
        "tiny", "noise", 3, cut="b3/add", fc_channels=4, size=(65, 65), crop=33, batch=2, iterations=2
    )  # fmt: skip
    files, work = tmp_path / "files", tmp_path / "work"
    spec, facts = recipe.trained(small, backbone, data, files, work)
    assert facts["resumed"] == 0
    assert not spec.missing_weights
    assert not {part.type for part in spec.layers} & {"BatchNorm", "Scale"}
    lines = (work / recipe.LIST).read_text().split()
    assert [line.rsplit("/", 1)[1] for line in lines] == ["a.jpg", "a.png", "b.jpg", "b.png", "c.jpg", "c.png"]
    image = torch.rand(1, 3, 65, 65) * 50
    with torch.no_grad():
        scores = CaffeNet(spec)(data=image)["fc8_interp"]
        normalised = CaffeNet(read_net(files / recipe.TEST_NET, work / "train_iter_2.caffemodel"))
        expected = normalised(data=image)["fc8_interp"]
    # Folding rounds once more than running the layers one by one.
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    again, facts_again = recipe.trained(small, backbone, data, files, work)
    assert facts_again == facts
    assert np.array_equal(again.weights["fc6"][0], spec.weights["fc6"][0])
    with pytest.raises(ValueError, match="iterations"):
        recipe.trained(replace(small, iterations=3), backbone, data, files, work)


def test_a_peer_of_vocs_classes_is_scored_on_those_of_the_set(recipe, data, tmp_path, monkeypatch):
    class Peer:
        def __init__(self, *files, **options):
            pass

        def __call__(self, image):
            labels = np.full(image.shape[:2], recipe.VOC.index("cat"), np.uint8)
            labels[0] = recipe.VOC.index("bus")
            return type("Answer", (), {"labels": labels})

    (data / "classes.json").write_text(json.dumps({"classes": ["background", "cat", "cow"]}))
    labels = np.ones((40, 50), np.uint8)
    labels[0] = 0
    save_label_png(labels, data / "SegmentationClass" / "d.png")
    for name in ("net.prototxt", "net.caffemodel"):
        (tmp_path / name).touch()
    monkeypatch.setattr(recipe, "Segmenter", Peer)
    # The cow is nowhere and counts nothing; a bus is background here.
    assert recipe.peer_score(tmp_path, recipe.open_dataset(data, "val")) == 1
