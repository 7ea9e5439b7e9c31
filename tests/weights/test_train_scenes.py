import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from deeplab_repro.files.images import read_image, read_labels
from deeplab_repro.net.network import CaffeNet
from prototxt_import import parse_net, read_net, read_solver
from tests.paths import ROOT

WEIGHTS = ROOT / "weights"


@pytest.fixture
def small(recipe):
    return recipe.Recipe(
        channels=(4, 4, 8, 8, 8), fc_channels=8, size=(49, 65), scenes=3, crop=33, batch=2, iterations=2
    )


@pytest.fixture
def folders(tmp_path):
    """Of the prototxts and of the run."""
    (tmp_path / "recipe").mkdir()
    return tmp_path / "recipe", tmp_path / "run"


def test_the_files_beside_the_recipe_are_those_it_writes(recipe):
    for name, text in recipe.Recipe().files().items():
        assert (WEIGHTS / "recipe" / "scenes" / name).read_text() == text, (
            f"{name}: run {WEIGHTS / 'recipe'}/train_scenes.py"
        )


def test_the_record_is_of_the_recipe_and_its_solver(recipe):
    record = json.loads((WEIGHTS / "scenes.json").read_text())["recipe"]
    solver = read_solver(WEIGHTS / "recipe" / "scenes" / record["solver"])
    facts = json.loads(json.dumps(asdict(recipe.Recipe())))
    assert {name: record[name] for name in facts} == facts
    assert (solver.max_iter, solver.base_lr) == (record["iterations"], record["base_lr"])


def test_the_loss_is_over_all_pixels_of_the_enlarged_scores(recipe, small):
    spec = parse_net(small.files()[recipe.TRAIN_NET], phase="TRAIN")
    loss = next(layer for layer in spec.layers if layer.type == "SoftmaxWithLoss")
    assert [spec.blobs[name] for name in loss.bottoms] == [(2, len(recipe.CLASSES), 33, 33), (2, 1, 33, 33)]
    assert not any(layer.type == "Dropout" for layer in spec.layers)
    assert sum(layer.type == "BatchNorm" for layer in spec.layers) == 15


def test_a_run_is_trained_and_folded_and_passed_over_when_it_is_done(recipe, small, folders):
    files, work = folders
    spec, facts = recipe.trained(small, files, work)
    assert facts["resumed"] == 0
    assert spec.dialect == "v1"
    assert not spec.missing_weights
    data = torch.randn(1, 3, *small.size, generator=torch.Generator().manual_seed(1)) * 60
    with torch.no_grad():
        scores = CaffeNet(spec)(data=data)["fc8_interp"]
        normalised = CaffeNet(read_net(files / recipe.TEST_NET, work / "train_iter_2.caffemodel"))
        expected = normalised(data=data)["fc8_interp"]
    # Folding rounds once more than running the layers one by one.
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())

    again, facts_again = recipe.trained(small, files, work)
    assert facts_again == facts
    for name, blobs in spec.weights.items():
        for blob, other in zip(blobs, again.weights[name], strict=True):
            np.testing.assert_array_equal(blob, other)
    with pytest.raises(ValueError, match="base_lr"):
        recipe.trained(replace(small, base_lr=1.0), files, work)


def test_training_labels_are_void_more_often_for_frequent_classes(recipe, small, tmp_path):
    replace(small, scenes=2).draw(tmp_path)
    image, truth = recipe.draw_scene(recipe.FIRST_TRAINING_SEED + 1)
    labels = read_labels(tmp_path / "scenes/00001_label.png")
    np.testing.assert_array_equal(read_image(tmp_path / "scenes/00001.png"), image)
    void = labels == recipe.IGNORE_LABEL
    np.testing.assert_array_equal(labels[~void], truth[~void])
    kept = small.kept_shares()
    assert kept.max() == 1
    for index in np.unique(truth):
        count = (truth == index).sum()
        # Four standard deviations of a share of so many pixels.
        assert (~void[truth == index]).mean() == pytest.approx(kept[index], abs=2 / np.sqrt(count))


def test_drawing_goes_on_where_it_was(recipe, small, tmp_path):
    replace(small, scenes=1).draw(tmp_path)
    label = tmp_path / "scenes/00000_label.png"
    before = label.stat().st_mtime_ns
    small.draw(tmp_path)
    assert label.stat().st_mtime_ns == before
    lines = (tmp_path / recipe.LIST).read_text().splitlines()
    assert lines[2] == "scenes/00002.png scenes/00002_label.png"
    assert all((tmp_path / name).is_file() for line in lines for name in line.split())


def test_scenes_of_training_validation_and_demo_are_apart(recipe):
    first = recipe.FIRST_TRAINING_SEED
    training = set(range(first, first + max(recipe.COUNTED, recipe.Recipe().scenes)))
    sets = [set(recipe.DEMO_SEEDS), set(recipe.VALIDATION_SEEDS), training]
    assert sum(map(len, sets)) == len(set().union(*sets))
