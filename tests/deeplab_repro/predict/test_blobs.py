"""Which blob takes the image, which holds the scores, and at which sizes they agree."""

from deeplab_repro.net.load import load_caffe
from deeplab_repro.predict.blobs import find_scores
from deeplab_repro.predict.segmenter import Segmenter
from prototxt_import import read_net

DATA_LAYER = """\
layer {{ name: "in" type: "ImageSegData" top: "data" top: "label" top: "dim"
  transform_param {{ crop_size: 33 {mean} }}
  image_data_param {{ source: "none.txt" batch_size: 2 label_type: PIXEL }} }}
layer {{ name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param {{ num_output: 4 kernel_size: 1 }} }}
layer {{ name: "p" type: "Softmax" bottom: "c" top: "p" }}
layer {{ name: "a" type: "ArgMax" bottom: "c" top: "a" argmax_param {{ axis: 1 }} }}
layer {{ name: "s" type: "Silence" bottom: "label" bottom: "dim" }}
"""


EVEN = """\
input: "data" input_dim: 1 input_dim: 3 input_dim: 34 input_dim: 34
layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" convolution_param { num_output: 3 kernel_size: 1 } }
layers { name: "p" type: POOLING bottom: "c" top: "p" pooling_param { pool: MAX kernel_size: 2 stride: 2 pad: 1 } }
layers { name: "i" type: INTERP bottom: "p" top: "i" interp_param { zoom_factor: 2 } }
layers { name: "crop" type: PADDING bottom: "i" top: "crop" padding_param { pad_beg: 0 pad_end: -1 } }
"""


def test_scores_are_found_behind_losses_and_labels(tmp_path):
    text = DATA_LAYER.format(mean="") + (
        'layer { name: "l8" type: "Interp" bottom: "label" top: "l8" interp_param { shrink_factor: 8 } }\n'
        'layer { name: "acc" type: "SegAccuracy" bottom: "c" bottom: "label" top: "acc" }\n'
    )
    (tmp_path / "d.prototxt").write_text(text)
    assert find_scores(read_net(tmp_path / "d.prototxt"), "data") == "c"


def test_a_net_that_gives_back_only_even_sizes_gets_one(tmp_path, photo):
    (tmp_path / "even.prototxt").write_text(EVEN)
    segmenter = Segmenter(net=load_caffe(tmp_path / "even.prototxt"), device="cpu")
    assert segmenter.padded_size(37, 50) == (66, 66)
    assert segmenter(photo.pixels).labels.shape == (37, 50)
