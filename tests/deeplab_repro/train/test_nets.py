"""What is said about a net before it is trained."""

import pytest

from deeplab_repro.train.nets import test_specs as specs_of_tests
from deeplab_repro.train.nets import train_spec, weight_notes
from prototxt_import import parse_net, read_solver

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


INLINE = """%s { layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } } }
  layer { name: "f" type: "InnerProduct" bottom: "x" top: "%s" inner_product_param { num_output: 4 } } }
"""


def test_nets_in_the_solver_file_are_read_as_those_in_files(tmp_path):
    path = tmp_path / "solver.prototxt"
    path.write_text(
        INLINE % ("train_net_param", "a")
        + INLINE % ("test_net_param", "b")
        + "test_iter: 1 test_interval: 1 base_lr: 0.1"
    )
    solver = read_solver(path)
    assert train_spec(solver, {}).blobs["a"] == (2, 4)
    assert [list(spec.blobs) for spec in specs_of_tests(solver, {})] == [["x", "b"]]
    path.write_text(INLINE % ("net_param", "c") + "test_iter: 1 test_interval: 1")
    solver = read_solver(path)
    assert [train_spec(solver, {}).blobs["c"]] == [spec.blobs["c"] for spec in specs_of_tests(solver, {})] == [(2, 4)]
    path.write_text(INLINE % ("net_param", "a") + 'train_net: "t.prototxt"')
    with pytest.raises(ValueError, match="gives train_net and net_param; one of them is enough"):
        train_spec(read_solver(path), {})
