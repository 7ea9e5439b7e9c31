"""Texts that Caffe takes and a stricter reader would refuse, and what they mean."""

import numpy as np
import pytest

from prototxt_import import CaffeFormatError, parse_net, read_net
from prototxt_import.prototxt.writer import net_text

INPUT = 'input: "data" input_dim: 1 input_dim: 3 input_dim: %d input_dim: %d\n'
V1_FC = 'layers { name: "fc" type: INNER_PRODUCT bottom: "data" top: "fc" inner_product_param { num_output: 6 } }'
STAGED = """layer { name: "r" type: "ReLU" bottom: "data" top: "a" include { stage: "deploy" } }
layer { name: "s" type: "Sigmoid" bottom: "data" top: "b" exclude { stage: "deploy" } }"""


def net(text, size=(9, 9), **state):
    return parse_net(INPUT % size + text, **state)


@pytest.mark.parametrize(
    ("layer", "size", "top"),
    [
        ('type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }', (2, 2), (1, 3, 1, 1)),
        ('type: "Pooling" pooling_param { pool: AVE kernel_size: 5 stride: 3 }', (3, 4), (1, 3, 1, 1)),
        (
            'type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 stride: 2 }',
            (2, 5),
            (1, 2, 1, 2),
        ),
    ],
)
def test_windows_up_to_a_stride_too_large_give_one(layer, size, top):
    assert net(f'layer {{ name: "w" bottom: "data" top: "y" {layer} }}', size).blobs["y"] == top


@pytest.mark.parametrize(
    "layer",
    [
        'type: "Pooling" pooling_param { kernel_size: 4 stride: 2 }',
        'type: "Convolution" convolution_param { num_output: 2 kernel_size: 4 stride: 2 }',
    ],
)
def test_a_window_a_whole_stride_too_large_is_refused(layer):
    with pytest.raises(CaffeFormatError, match=r"layer 'w' \(\w+\): bottom .* is too small"):
        net(f'layer {{ name: "w" bottom: "data" top: "y" {layer} }}', (2, 2))


def test_v1_blobs_have_four_axes():
    text = (
        V1_FC
        + """layers { name: "p" type: POOLING bottom: "fc" top: "p" pooling_param { kernel_size: 1 } }
layers { name: "flat" type: FLATTEN bottom: "data" top: "flat" }
layers { name: "most" type: ARGMAX bottom: "p" top: "most" argmax_param { top_k: 5 } }"""
    )
    blobs = net(text, dialect="v1").blobs
    assert (blobs["fc"], blobs["flat"], blobs["most"]) == ((1, 6, 1, 1), (1, 243, 1, 1), (1, 5, 1, 1))
    assert net(V1_FC, dialect="bvlc").blobs["fc"] == (1, 6)
    # Where nothing tells the fork from BVLC: only where the net needs them.
    assert net(V1_FC).blobs["fc"] == (1, 6)
    assert net(text).blobs["fc"] == (1, 6, 1, 1)


def test_v1_memory_data_has_real_sizes_as_third_top():
    text = """layers { name: "m" type: MEMORY_DATA top: "d" top: "l" top: "dim"
  memory_data_param { batch_size: 2 channels: 3 height: 5 width: 7 } }"""
    assert dict(parse_net(text, dialect="v1").blobs) == {"d": (2, 3, 5, 7), "l": (2, 1, 1, 1), "dim": (2, 1, 1, 2)}


def test_the_files_state_decides_and_the_callers_stages_come_on_top():
    assert [layer.name for layer in net('state { stage: "deploy" }\n' + STAGED).layers] == ["r"]
    assert [layer.name for layer in net(STAGED).layers] == ["s"]
    levels = 'layer { name: "up" type: "ReLU" bottom: "data" top: "a" include { min_level: 2 stage: "x" stage: "y" } }'
    spec = net('state { level: 3 stage: "x" phase: TRAIN }\n' + levels, stages=("y",))
    assert (spec.phase, spec.level, spec.stages) == ("TEST", 3, ("x", "y"))
    assert [layer.name for layer in spec.layers] == ["up"]


def test_a_layers_own_phase_decides_what_it_does():
    text = 'layer { name: "n" type: "BatchNorm" bottom: "data" top: "y" phase: TRAIN }'
    layer = net(text).layers[0]
    assert layer.phase == "TRAIN"
    assert not layer.options.use_global_stats


@pytest.mark.parametrize(("rule", "said"), [("include { phase: TRAIN }", "TRAIN"), ("exclude { phase: TEST }", "TEST")])
def test_a_blob_of_a_dropped_layer_names_that_layer(rule, said):
    text = f"""layer {{ name: "gone" type: "ReLU" bottom: "data" top: "a" {rule} }}
layer {{ name: "left" type: "ReLU" bottom: "a" top: "b" }}"""
    with pytest.raises(CaffeFormatError, match=rf"'left'.*'a' comes from layer 'gone' \(ReLU\).*{said}"):
        net(text)


def test_input_without_shape_is_dropped_as_x2_does():
    text = """input: "data"
layer { name: "d" type: "DummyData" top: "data" dummy_data_param { shape { dim: 1 dim: 2 } } }"""
    assert dict(parse_net(text, dialect="x2").inputs) == {}
    with pytest.raises(CaffeFormatError, match="0 input shapes for 1 inputs"):
        parse_net(text, dialect="v2")


def test_strict_dim_false_asks_only_for_the_count(tmp_path):
    conv = """layers { name: "fc" type: CONVOLUTION bottom: "data" top: "y" strict_dim: %s
  convolution_param { num_output: 6 kernel_size: 2 bias_term: false } }"""
    from prototxt_import.binary.weights import with_weights

    stored = {"fc": [np.arange(72, dtype=np.float32).reshape(1, 1, 6, 12)]}
    fitted = with_weights(net(conv % "false", dialect="v1"), stored, "m")
    assert fitted.weights["fc"][0].shape == (6, 3, 2, 2)
    with pytest.raises(CaffeFormatError, match="do not belong together"):
        with_weights(net(conv % "true", dialect="v1"), stored, "m")
    with pytest.raises(CaffeFormatError, match="do not belong together"):
        with_weights(net(conv % "false", dialect="v1"), {"fc": [np.zeros((1, 1, 6, 13), np.float32)]}, "m")


def test_bytes_in_other_encodings_are_characters(tmp_path):
    path = tmp_path / "gbk.prototxt"
    layer = b'layer { name:"\xbe\xed" type:"ReLU" bottom:"data" top:"a" } # \xbb\xfd\n'
    path.write_bytes(b"# \xbe\xed\xbb\xfd\n" + (INPUT % (5, 5)).encode() + layer)
    raw = read_net(path).layers[0].name
    path.write_bytes((INPUT % (5, 5)).encode() + layer.replace(b"\xbe\xed", rb"\276\xed"))
    assert read_net(path).layers[0].name == raw == b"\xbe\xed".decode("latin-1")
    path.write_bytes((INPUT % (5, 5)).encode() + layer.replace(b"\xbe\xed", rb"\\276\303\251"))
    assert read_net(path).layers[0].name == r"\276é"


def test_layer_names_of_models_in_other_encodings_match(tmp_path):
    from prototxt_import import read_weights
    from prototxt_import.binary.wire import encode_bytes

    path = tmp_path / "m.caffemodel"
    blob = b"".join(encode_bytes(5, np.ones(1, "<f4").tobytes()))
    path.write_bytes(b"".join(encode_bytes(100, *encode_bytes(1, b"\xbe\xed"), *encode_bytes(7, blob))))
    assert list(read_weights(path)) == [b"\xbe\xed".decode("latin-1")]


def test_hdf5_data_with_transform_param_is_refused():
    text = 'layer { name: "d" type: "HDF5Data" top: "x" hdf5_data_param { source: "l" } transform_param { scale: 2 } }'
    with pytest.raises(CaffeFormatError, match=r"'d' \(HDF5Data\): transform_param"):
        parse_net(text)


BATCH_NORM = 'layer { name: "bn" type: "BatchNorm" bottom: "data" top: "y" %s }'


def test_batch_norms_rates_by_fork():
    """BatchNorm: v2 does not force the lr of its blobs to 0; in x2 a prototxt giving lr != 0 aborts."""
    assert [param.lr_mult for param in net(BATCH_NORM % "", dialect="v2").layers[0].params] == [1, 1, 1]
    assert [param.lr_mult for param in net(BATCH_NORM % "", dialect="x2").layers[0].params] == [0, 0, 0]
    zero = "param { lr_mult: 0 }"
    assert [param.lr_mult for param in net(BATCH_NORM % zero, dialect="v2").layers[0].params] == [0, 1, 1]
    # Exactly three entries are dropped when x2 loads a file.
    assert [param.lr_mult for param in net(BATCH_NORM % ("param { }" * 3), dialect="x2").layers[0].params] == [0, 0, 0]
    named = 'param { name: "m" lr_mult: 1 }' * 3
    assert [param.name for param in net(BATCH_NORM % named, dialect="x2").layers[0].params] == ["", "", ""]
    with pytest.raises(CaffeFormatError, match=r"'bn' \(BatchNorm\): Caffe refuses an lr_mult other than 0"):
        net(BATCH_NORM % "param { lr_mult: 1 }", dialect="x2")


@pytest.mark.parametrize(
    "layer",
    [
        """layer { name: "fc" type: "InnerProduct" bottom: "data" top: "y" %s
  inner_product_param { num_output: 1 bias_term: false } }""",
        """layers { name: "fc" type: INNER_PRODUCT bottom: "data" top: "y" %s
  inner_product_param { num_output: 1 bias_term: false } }""",
    ],
)
def test_blobs_in_the_text_are_the_layers(layer):
    for shape in ("num: 1 channels: 1 height: 1 width: 3", "shape { dim: 1 dim: 3 }"):
        spec = net(layer % f"blobs {{ {shape} data: 1 data: 2 data: 3 }}", (1, 1))
        assert spec.weights["fc"][0].tolist() == [[1, 2, 3]]
    with pytest.raises(CaffeFormatError, match=r"'fc' \(InnerProduct\).*do not belong together"):
        net(layer % "blobs { num: 1 channels: 1 height: 1 width: 2 data: 1 data: 2 }", (1, 1))
    with pytest.raises(CaffeFormatError, match=r"'fc' \(InnerProduct\): holds 2 blobs for the 1"):
        net(layer % ("blobs { shape { dim: 1 } data: 1 }" * 2), (1, 1))


@pytest.mark.parametrize("written", ["v1", "v2", "text"])
@pytest.mark.parametrize(("read", "top"), [("v1", (1, 6, 1, 1)), ("auto", (1, 6))])
def test_written_nets_keep_their_axes(written, read, top):
    first = net(V1_FC, dialect=read)
    assert first.blobs["fc"] == top
    for dialect in ("auto", "v1") if written != "v2" else ("auto", "v2"):
        assert parse_net(net_text(first, written), dialect=dialect).blobs["fc"] == top
