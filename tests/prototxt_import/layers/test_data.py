"""Layers that read data."""

from __future__ import annotations

import pytest

from prototxt_import import net_text, parse_net


def test_deprecated_data_fields_become_transform_facts():
    text = 'layers { name: "d" type: DATA top: "x" data_param { source: "db" batch_size: 4 scale: 0.5 mirror: true } }'
    options = parse_net(text).layers[0].options
    assert (options.transform.scale, options.transform.mirror, options.batch_size) == (0.5, True, 4)


@pytest.mark.parametrize("fields", ["", "batch_size: 1 channels: 3 height: 9", "channels: 3 height: 9 width: 9"])
def test_memory_data_needs_all_sides(fields):
    with pytest.raises(ValueError, match=r"layer 'd' \(MemoryData\): needs batch_size, channels, height and width"):
        parse_net(f'layer {{ name: "d" type: "MemoryData" top: "x" top: "y" memory_data_param {{ {fields} }} }}')


def test_heds_source_brings_images_and_edge_maps():
    text = (
        'layer { name: "data" type: "ImageLabelmapData" top: "data" top: "label" image_data_param { '
        'root_folder: "HED-BSDS/" source: "train_pair.lst" batch_size: 1 shuffle: true } '
        "transform_param { mean_value: 104.00699 } }\n"
        'layer { name: "c" type: "Convolution" bottom: "data" top: "s" convolution_param { num_output: 1 '
        'kernel_size: 1 } }\nlayer { type: "SigmoidCrossEntropyLoss" bottom: "s" bottom: "label" top: "loss" }'
    )
    net = parse_net(text, phase="TRAIN", dialect="hed")
    assert net.param_shapes["c"] == ((1, 3, 1, 1), (1,))
    assert net.blobs["label"] == (1, 1, 321, 481)
    assert net.layers[1:][-1].options.balanced
    assert parse_net(net_text(net, "hed"), phase="TRAIN", dialect="hed") == net
