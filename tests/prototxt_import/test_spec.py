"""NetSpec: other input sizes, copies."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from prototxt_import import CaffeFormatError, parse_net, read_net
from tests.prototxt_import.texts import conv


def test_with_inputs_infers_anew_and_knows_its_inputs(golden):
    spec = read_net(golden / "v2_largefov" / "net.prototxt")
    assert spec.with_inputs({"data": (2, 3, 321, 321)}).blobs["fc8_interp"] == (2, 21, 321, 321)
    with pytest.raises(CaffeFormatError, match="no input 'dta'; did you mean 'data'"):
        spec.with_inputs({"dta": (1, 3, 65, 65)})


def test_specs_copy_and_pickle(golden):
    folder = golden / "v2_largefov"
    spec = read_net(folder / "net.prototxt", folder / "weights.caffemodel")
    assert copy.deepcopy(spec) is spec
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec
    np.testing.assert_array_equal(again.weights["fc6"][0], spec.weights["fc6"][0])


def test_sizes_of_data_layers_wait_for_the_data():
    text = 'layer { name: "d" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "l.txt" batch_size: 2 } }\n'
    spec = parse_net(text + conv("c", "x", "param { lr_mult: 2 }"))
    assert dict(spec.blobs) == {}
    assert spec.layers[1].params[0].lr_mult == 2
    sized = spec.with_inputs({"x": (2, 3, 9, 9), "y": (2,)})
    assert sized.blobs["c"] == (2, 4, 7, 7)
    assert sized.param_shapes["c"] == ((4, 3, 3, 3), (4,))
    assert sized.with_inputs({"x": (1, 3, 5, 5)}).blobs["y"] == (2,)
