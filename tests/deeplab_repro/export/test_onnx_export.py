"""ONNX files of plain operators give what the nets they come from give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_repro import load_caffe
from deeplab_repro.export.onnx_export import export_onnx
from deeplab_repro.zoo import models
from tests.deeplab_repro.export.in_onnxruntime import check, onnx, single
from tests.paths import GOLDEN

NETS = GOLDEN / "nets"


@pytest.mark.parametrize("name", ["v2_largefov", "v2_aspp_l", "v1_noup_test", "v1_msc_largefov_released"])
def test_golden_nets_at_every_recorded_size(name):
    net = load_caffe(NETS / name / "net.prototxt", NETS / name / "weights.caffemodel")
    sizes = [np.load(path)["in/data"] for path in sorted((NETS / name).glob("in_*.npz"))]
    assert sizes
    for data in sizes:
        model = check(
            net, {"data": torch.from_numpy(data)}, [*net.spec.outputs, "pool3", "fc7" if name[-1] != "l" else "fc7_1"]
        )
        assert "Dropout" not in {node.op_type for node in model.graph.node}


def test_multi_scale_net_holds_shared_weights_once():
    net = models.deeplab_resnet101(width=1 / 16, depths=(1, 1, 2, 1), size=(65, 65))
    data = torch.randn(1, 3, 65, 65, generator=torch.Generator().manual_seed(3))
    model = check(net, {"data": data}, bound=2e-5)  # errors of all its layers add up
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    stored = sum(np.prod(tensor.dims) for tensor in model.graph.initializer)
    learnt = sum(blob.numel() for blob in net.parameters())
    assert stored < learnt


def test_the_file_appears_whole_or_not_at_all(tmp_path):
    net = single("Softmax")
    export_onnx(net, tmp_path / "net.onnx", {"data": (1, 6, 3, 3)})
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]
    assert onnx.load(tmp_path / "net.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    with pytest.raises(FileNotFoundError, match="does not exist"):
        export_onnx(net, tmp_path / "no" / "net.onnx")
