import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

RECIPE = Path(__file__).parents[2] / "weights" / "recipe" / "train_bundled.py"


@pytest.fixture(scope="module")
def recipe():
    spec = importlib.util.spec_from_file_location("train_bundled", RECIPE)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small(recipe):
    return recipe.Recipe(channels=(4, 4, 8, 8, 8), fc_channels=8, rounds=((4, 0.02),), batch=1, warmup=1)


def test_folding_the_normalisation_leaves_the_scores(recipe, small):
    trainee = recipe.Trainee(small)
    trainee.step(0)
    trainee.norms.eval()
    data, _ = small.batch_at(1)
    with torch.no_grad():
        expected = trainee.net(data=data)["fc8_interp"]
        scores = trainee.plain()(data=data / small.input_scale)["fc8_interp"]
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)


def test_training_resumed_from_a_snapshot_ends_in_the_same_weights(recipe, small, tmp_path):
    straight = recipe.Trainee(small)
    for iteration in range(2):
        straight.step(iteration)
    first = recipe.Trainee(small)
    first.step(0)
    torch.save(first.state(), tmp_path / "state.pt")
    resumed = recipe.Trainee(small)
    resumed.load(torch.load(tmp_path / "state.pt", weights_only=True))
    resumed.step(1)
    for name, blobs in straight.plain().params.items():
        for blob, other in zip(blobs, resumed.plain().params[name], strict=True):
            assert torch.equal(blob, other)


def test_update_keeps_the_rate_inside_the_history(recipe, small):
    trainee = recipe.Trainee(replace(small, momentum=0.5, weight_decay=0.01))
    weight, bias = trainee.net.params[recipe.CLASSIFIER]
    before = weight.detach().clone(), bias.detach().clone()
    expected = [blob.clone() for blob in before]
    history = [torch.zeros_like(blob) for blob in before]
    for rate, slope in ((0.1, 1.0), (0.02, 3.0)):
        for blob, *_ in trainee.blobs:
            blob.grad = torch.full_like(blob, slope)
        trainee.update(rate)
        for i, (lr_mult, decay_mult) in enumerate(((10, 1), (20, 0))):
            history[i] = 0.5 * history[i] + rate * lr_mult * (slope + 0.01 * decay_mult * expected[i])
            expected[i] = expected[i] - history[i]
    torch.testing.assert_close(weight.detach(), expected[0])
    torch.testing.assert_close(bias.detach(), expected[1])


def test_each_round_rises_then_falls_by_the_poly_rule(recipe):
    facts = recipe.Recipe(rounds=((1000, 0.02), (500, 0.01)), power=0.9, warmup=100)
    assert facts.iterations == 1500
    assert facts.rate(0) == pytest.approx(0.02 / 100)
    assert facts.rate(99) == pytest.approx(0.02 * 0.901**0.9)
    assert facts.rate(999) == pytest.approx(0.02 * 0.001**0.9)
    assert facts.rate(1000) == pytest.approx(0.01 / 100)
    assert facts.rate(1250) == pytest.approx(0.01 * 0.5**0.9)


def test_scenes_of_training_validation_and_demo_are_apart(recipe):
    sets = [set(recipe.DEMO_SEEDS), set(recipe.VALIDATION_SEEDS), set(range(recipe.FIRST_TRAINING_SEED, 2_000_000))]
    assert sum(map(len, sets)) == len(set().union(*sets))
