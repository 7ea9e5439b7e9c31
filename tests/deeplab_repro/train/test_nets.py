"""What is said about a net before it is trained."""

import pytest

from deeplab_repro.train.nets import weight_notes
from prototxt_import import parse_net

NET = """\
input: "data" input_shape {{ dim: 1 dim: 2 dim: 5 dim: 5 }}
layer {{ name: "fc" type: "Convolution" bottom: "data" top: "fc"
  convolution_param {{ num_output: 3 kernel_size: 1 weight_filler {{ type: "{filler}" std: 0.01 }} }} }}
{more}
"""
DROPOUT = 'layer { name: "drop" type: "Dropout" bottom: "fc" top: "fc" }'


@pytest.mark.parametrize(
    ("filler", "more", "told"), [("gaussian", DROPOUT, True), ("constant", DROPOUT, False), ("gaussian", "", False)]
)
def test_masks_that_a_filler_of_caffe_would_have_shifted_are_told_of(filler, more, told):
    notes = weight_notes(parse_net(NET.format(filler=filler, more=more), phase="TRAIN"))
    assert any("dropout masks" in note for note in notes) == told
