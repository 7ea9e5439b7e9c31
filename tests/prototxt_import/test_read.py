"""Prototxt and model file together."""

from __future__ import annotations

import numpy as np
import pytest

from prototxt_import import CaffeFormatError, read_net

NETS = {
    "v1_largefov_oldformat": "v1",
    "v1_msc_largefov_released": "v1",
    "v1_noup_test": "v1",
    "v1_noup_train": "v1",
    "v2_aspp_l": "v2",
    "v2_largefov": "v2",
    "v2_msc_largefov_released_train": "v2",
    "v2_res_msc_train": "v2",
}


@pytest.mark.parametrize("name", NETS)
def test_published_nets_read_with_their_weights(golden, name):
    phase = "TRAIN" if name.endswith("train") else "TEST"
    spec = read_net(golden / name / "net.prototxt", golden / name / "weights.caffemodel", phase=phase)
    assert spec.dialect == NETS[name]
    assert spec.missing_weights == spec.unused_weights == ()
    assert set(spec.weights) == set(spec.param_shapes)
    for layer_name, blobs in spec.weights.items():
        assert [blob.shape for blob in blobs] == list(spec.param_shapes[layer_name])
        assert not any(blob.flags.writeable or blob.flags.owndata for blob in blobs)


@pytest.mark.parametrize("name", [name for name in NETS if name.endswith("train") or "msc" not in name])
def test_inferred_shapes_are_those_caffe_recorded(golden, name):
    phase = "TRAIN" if name.endswith("train") else "TEST"
    spec = read_net(golden / name / "net.prototxt", phase=phase)
    for file in sorted((golden / name).glob("*.npz")):
        with np.load(file) as recorded:
            inputs = {key[3:]: recorded[key].shape for key in recorded.files if key.startswith("in/")}
            sized = spec.with_inputs(inputs)
            for key in recorded.files:
                if key.startswith("out/") and "_split_" not in key:
                    # The v1 fork pads every shape to four axes.
                    assert np.prod(sized.blobs[key[4:]]) == recorded[key].size, key
                    assert sized.blobs[key[4:]] in (recorded[key].shape, ())


def test_every_recorded_prototxt_is_read(shared_caffe):
    for path in sorted(shared_caffe.glob("**/net.prototxt")):
        weights = path.parent / "weights.caffemodel"
        read_net(path, weights if weights.exists() else None)


def test_weights_that_do_not_fit_name_layer_and_file(golden, tmp_path):
    folder = golden / "v2_largefov"
    path = tmp_path / "net.prototxt"
    path.write_text((folder / "net.prototxt").read_text().replace("num_output: 21", "num_output: 22"))
    with pytest.raises(CaffeFormatError, match=r"layer 'fc8_voc12' .*\[22, 64, 1, 1\].*weights\.caffemodel"):
        read_net(path, folder / "weights.caffemodel")
    text = (folder / "net.prototxt").read_text()
    path.write_text(text.replace("num_output: 21", "num_output: 21 bias_term: false"))
    with pytest.raises(CaffeFormatError, match=r"param entries|has 1 blobs"):
        read_net(path, folder / "weights.caffemodel")


def test_layers_without_partner_are_listed(golden, tmp_path):
    folder = golden / "v2_largefov"
    path = tmp_path / "net.prototxt"
    path.write_text((folder / "net.prototxt").read_text().replace('name: "fc6"', 'name: "other"'))
    spec = read_net(path, folder / "weights.caffemodel")
    assert (spec.missing_weights, spec.unused_weights) == (("other",), ("fc6",))
