"""The bundled models: their files, and their scores as they were on the day that they were written."""

import json
from dataclasses import replace

import numpy as np
import pytest

from deeplab_repro.data.sets.datasets import open_dataset
from deeplab_repro.evaluate.evaluate import evaluate
from deeplab_repro.predict.preprocessing import MODELS, bundled_file, bundled_record
from deeplab_repro.predict.segmenter import Segmenter
from prototxt_import import read_net
from tests.paths import SHARED
from tests.weights.pattern import RECORDED, kept_scores

# The folder of labelled photographs that each was scored on.
SCORED_ON = {"animals": "voc_animals", "streets": "camvid"}


@pytest.mark.parametrize("name", MODELS)
def test_the_scores_of_a_pattern_are_as_recorded(name):
    wanted = np.array(json.loads(RECORDED.read_text())[name])
    scores = kept_scores(name)
    assert scores.shape == wanted.shape == (len(bundled_record(name)["class_names"]), 5, 7)
    # Of the largest score: sums of some fifty layers in another order differ by a hundredth of this.
    np.testing.assert_allclose(scores, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("name", SCORED_ON)
def test_scores_of_photographs_held_back_are_as_recorded(name):
    """Every 35th; the record is of all."""
    data = SHARED / SCORED_ON[name]
    if not data.is_dir():
        pytest.skip(f"needs {data}")
    held = open_dataset(data, "val")
    some = replace(held, samples=held.samples[::35])
    result = evaluate(Segmenter(name, crf=None, device="cpu"), some)
    assert result.confusion.pixel_accuracy() == pytest.approx(
        bundled_record(name)["val"]["some_pixel_accuracy"], abs=1e-4
    )


@pytest.mark.parametrize("name", SCORED_ON)
def test_a_model_of_photographs_is_small_whole_and_atrous(name):
    model, facts = bundled_file(name), bundled_record(name)
    assert model.with_suffix(".caffemodel").stat().st_size <= 12_000_000
    spec = read_net(model, model.with_suffix(".caffemodel"))
    assert spec.missing_weights == ()
    assert spec.blobs["fc8_interp"][1] == len(facts["class_names"]) == len(facts["palette"])
    # The last stage of the classifier has a rate in a stride's place, and fc6 a large one.
    rates = [part.options.dilation for part in spec.layers if part.type == "Convolution"]
    assert rates.count((6, 6)) == 1
    assert (2, 2) in rates
    # Normalisation of the head is folded into it.
    assert not {part.type for part in spec.layers} & {"BatchNorm", "Scale"}
