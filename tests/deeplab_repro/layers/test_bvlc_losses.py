"""InfogainLoss and Accuracy as BVLC has had them since 2017, beside the older ones of the same text."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_repro import CaffeNet
from prototxt_import import parse_net
from tests.deeplab_repro.layers.recorded import all_recorded, check_recorded

NAMES = [
    "infogain_axis2",
    "infogain_file_ignore",
    "infogain_bottom_full",
    "accuracy_ties_top1",
    "accuracy_ties_top2_ignore",
    "accuracy_nothing",
    "accuracy_all_equal",
]
HEAD = 'input: "x" input_shape { dim: 1 dim: 3 dim: 1 dim: 2 } input: "l" input_shape { dim: 1 dim: 1 dim: 1 dim: 2 }'


@pytest.mark.parametrize("name", NAMES)
def test_as_recorded(name):
    check_recorded("bvlc", name)


def test_every_recorded_case_of_the_siblings_is_in_a_test():
    from tests.deeplab_repro.layers import test_bn, test_crfrnn, test_hed, test_segnet

    if not (known := all_recorded()):
        pytest.skip("needs ../shared/golden/siblings")
    tested = {f"bvlc/{name}" for name in NAMES} | {f"crfrnn/{name}" for name in test_crfrnn.NAMES}
    tested |= {f"segnet/{name}" for name in test_segnet.NAMES} | {"enet/spatial_dropout_test"}
    for test in (test_bn.test_pspnet_as_recorded, test_bn.test_segnet_as_recorded):
        family = "pspnet" if "pspnet" in test.__name__ else "segnet"
        tested |= {f"{family}/{name}" for name in test.pytestmark[0].args[1]}
    for test in (test_hed.test_loss_as_recorded, test_hed.test_crop_as_recorded):
        tested |= {f"hed/{name}" for name in test.pytestmark[0].args[1]}
    assert tested == set(known)


@pytest.mark.parametrize(("dialect", "share"), [("bvlc", 0.0), ("auto", 0.5), ("v2", 0.5)])
def test_ties(dialect, share):
    net = CaffeNet(
        parse_net(HEAD + 'layer { name: "a" type: "Accuracy" bottom: "x" bottom: "l" top: "a" }', dialect=dialect)
    )
    x = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 0.0]).reshape(2, 3).t().reshape(1, 3, 1, 2)
    assert net(x=x, l=torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2))["a"].item() == share


@pytest.mark.parametrize(("dialect", "zero"), [("bvlc", True), ("v2", False), ("segnet", False), ("crfrnn", False)])
def test_accuracy_of_nothing_counted(dialect, zero):
    """0 in BVLC since 2017 and in CRF-RNN's newer branch, 0/0 before."""
    layer = 'layer { name: "a" type: "Accuracy" bottom: "x" bottom: "l" top: "a" accuracy_param { ignore_label: 2 } }'
    net = CaffeNet(parse_net(HEAD + layer, dialect=dialect))
    share = net(x=torch.zeros(1, 3, 1, 2), l=torch.full((1, 1, 1, 2), 2.0))["a"].item()
    assert share == 0 if zero else share != share


@pytest.mark.parametrize(("rule", "divisor"), [("VALID", 22), ("FULL", 24), ("BATCH_SIZE", None), ("NONE", 1)])
@pytest.mark.parametrize("axis", [1, 2])
def test_infogain_loss_against_a_plain_loop(run, rng, axis, rule, divisor):
    """BATCH_SIZE divides by all axes before that of the classes."""
    shape = [2, 3, 4]
    shape.insert(axis, 3)
    x = torch.randn(shape, generator=rng, dtype=torch.float64)
    label = torch.randint(0, 3, (2, 3, 4), generator=rng).double()
    label[0, 0, :2] = 255
    matrix = torch.rand(3, 3, generator=rng, dtype=torch.float64)
    options = {"axis": axis, "normalization": rule, "ignore_labels": (255,), "takes": "scores"}
    fed = x.clone().requires_grad_()
    loss = run(
        "InfogainLoss", fed, label.reshape([1 if i == axis else n for i, n in enumerate(shape)]), matrix, **options
    )
    loss.backward()
    z = divisor or int(np.prod(shape[:axis]))
    rows, gradient, total = x.movedim(axis, -1), torch.zeros_like(x).movedim(axis, -1), 0.0
    for place in np.ndindex(2, 3, 4):
        p = rows[place].softmax(0)
        if label[place] != 255:
            gain = matrix[int(label[place])]
            total -= (gain * p.log()).sum()
            gradient[place] = p * gain.sum() - gain
    torch.testing.assert_close(loss.detach(), total / z)
    torch.testing.assert_close(fed.grad, gradient.movedim(-1, axis) / z)


def test_the_matrix_may_have_legacy_dimensions_and_nothing_counted_is_divided_by_one(tmp_path):
    from prototxt_import.binary.model_writer import encode_blob

    matrix = np.eye(3, dtype=np.float32).reshape(1, 1, 3, 3)
    (tmp_path / "H.binaryproto").write_bytes(b"".join(encode_blob(matrix, "v1")))
    text = HEAD + 'layer { name: "loss" type: "InfogainLoss" bottom: "x" bottom: "l" loss_param { ignore_label: 255 } '
    text += 'infogain_loss_param { axis: 1 source: "H.binaryproto" } }'
    net = CaffeNet(parse_net(text, source=str(tmp_path / "n.prototxt")))
    x = torch.tensor([0.0, 1, 2, 3, 4, 5]).reshape(1, 3, 1, 2)
    label = torch.tensor([0.0, 255]).reshape(1, 1, 1, 2)
    torch.testing.assert_close(net(x=x, l=label).loss, -x.log_softmax(1)[0, 0, 0, 0])
    assert net(x=x, l=torch.full((1, 1, 1, 2), 255.0)).loss == 0


def test_a_matrix_of_another_size_names_the_layer(tmp_path):
    from prototxt_import.binary.model_writer import encode_blob

    (tmp_path / "H.binaryproto").write_bytes(b"".join(encode_blob(np.eye(2, dtype=np.float32), "v2")))
    text = HEAD + 'layer { name: "loss" type: "InfogainLoss" bottom: "x" bottom: "l" infogain_loss_param { axis: 1 '
    net = CaffeNet(parse_net(text + 'source: "H.binaryproto" } }', source=str(tmp_path / "n.prototxt")))
    with pytest.raises(ValueError, match=r"layer 'loss' \(InfogainLoss\): its matrix has 4 numbers for 3 x 3 classes"):
        net(x=torch.zeros(1, 3, 1, 2), l=torch.zeros(1, 1, 1, 2))
    with pytest.raises(ValueError, match=r"layer 'loss' \(InfogainLoss\): source 'none': "):
        CaffeNet(parse_net(text + 'source: "none" } }', source=str(tmp_path / "n.prototxt")))
