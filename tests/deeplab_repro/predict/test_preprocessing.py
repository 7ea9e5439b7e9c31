"""Preprocessing: records, the bundled model's, and data layers'."""

import pytest

from deeplab_repro.crf.model import CRFParams
from deeplab_repro.predict.preprocessing import Preprocessing, bundled_preprocessing, spec_preprocessing
from deeplab_repro.zoo.training import MEAN_BGR
from prototxt_import import layer, make_net, parse_net
from prototxt_import.layers.data import TransformOptions


def test_a_record_gives_what_it_says_and_the_releases_mean_for_the_rest():
    assert Preprocessing.of({}) == Preprocessing() == Preprocessing(MEAN_BGR, 1.0, None, (), None)
    record = {"mean_bgr": [7], "scale": "0.5", "crf": {"iterations": 4}, "classes": ["a"], "palette": [[9, 8, 7]]}
    want = Preprocessing((7.0, 7.0, 7.0), 0.5, CRFParams(iterations=4), ("a",), ((9, 8, 7),))
    assert repr(Preprocessing.of(record)) == repr(want)  # CRF parameters, which may hold arrays, have no ==


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"mean_bgr": [1, 2]}, r"the mean needs 3 values \(blue, green, red\), got 2"),
        ({"scale": "much"}, "could not convert"),
        ({"crf": {"temperature": 3}}, "temperature"),
        ({"palette": [3]}, "not iterable"),
    ],
)
def test_a_malformed_record_is_refused_with_its_origin(record, message):
    with pytest.raises(ValueError, match=f"^a.json: not a record of preprocessing: .*{message}"):
        Preprocessing.of(record, "a.json")


def test_the_bundled_model_has_a_record():
    facts = bundled_preprocessing()
    assert facts.mean_bgr == MEAN_BGR
    assert len(facts.class_names) > 1


def test_a_net_has_the_mean_of_its_first_data_layer_that_states_one():
    def net(*transforms):
        sources = [
            layer("ImageSegData", f"in{i}", [], [f"x{i}"], source="none.txt", batch_size=1, transform=transform)
            for i, transform in enumerate(transforms)
        ]
        return make_net("n", {}, sources)

    silent = TransformOptions(crop_size=9)
    told = TransformOptions(crop_size=9, mean_value=(10, 20, 30), scale=0.25)
    assert spec_preprocessing(net(silent)) == Preprocessing()
    assert spec_preprocessing(net(silent, told)) == Preprocessing((10, 20, 30), 0.25)


def test_the_mean_of_an_input_layer_counts():
    spec = parse_net(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } '
        'transform_param { mean_value: 128 scale: 0.25 } } layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    )
    assert spec_preprocessing(spec) == Preprocessing(mean_bgr=(128, 128, 128), scale=0.25)
