"""What users of torch expect of a net: a tensor as its input, a plain module, torch.export, pytrees."""

import copy
import pickle

import pytest
import torch

from deeplab_repro import CaffeNet
from deeplab_repro.net.blobs import Blobs
from prototxt_import import Filler, layer, make_net
from tests.deeplab_repro.net.small_net import relu_net, two_input_net


def test_a_tensor_is_the_only_input():
    net, x = relu_net(), torch.tensor([[-1.0, 2.0]])
    assert torch.equal(net(x)["y"], net(data=x)["y"])
    assert list(net(x, blobs="all")) == ["data", "y"]
    assert torch.equal(net.prepare(x)(x)["y"], x.relu())
    with pytest.raises(ValueError, match="input 'data' is given twice"):
        net(x, data=x)
    with pytest.raises(ValueError, match="the net has the inputs 'a', 'b'; give each by its name"):
        two_input_net()(x)


def test_as_module_goes_from_tensor_to_tensor():
    net, x = relu_net(), torch.tensor([[-1.0, 2.0]])
    assert torch.equal(torch.nn.Sequential(net.as_module(), torch.nn.Flatten())(x), x.relu())
    with pytest.raises(ValueError, match="one input goes from tensor to tensor, this one has 'a', 'b'"):
        two_input_net().as_module()


def test_torch_export_takes_a_net():
    net, x = relu_net(), torch.tensor([[-1.0, 2.0]])
    answer = torch.export.export(net, (x,)).module()(x)
    assert type(answer) is Blobs
    assert torch.equal(answer["y"], x.relu())
    exported = torch.export.export(net, (), {"data": x})
    assert torch.equal(exported.module()(data=x)["y"], x.relu())


def test_torch_export_takes_a_net_of_any_size():
    spec = make_net("n", {"data": (1, 3, 9, 9)}, [layer("Convolution", "c", ["data"], ["y"], num_output=2, kernel=3)])
    net, x = CaffeNet(spec), torch.randn(1, 3, 9, 9)
    side = torch.export.Dim("side", min=4, max=64)
    program = torch.export.export(net.as_module(), (x,), dynamic_shapes=({2: side, 3: side},)).module()
    for size in (9, 17):
        x = torch.randn(1, 3, size, size)
        torch.testing.assert_close(program(x), net(x)["y"])


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_torch_onnx_export_writes_a_net_in_onnx_own_convolutions(tmp_path):
    pytest.importorskip("onnxscript", reason="torch.onnx.export asks for it")
    onnxruntime = pytest.importorskip("onnxruntime")
    conv = layer("Convolution", "c", ["data"], ["y"], num_output=4, kernel=3, pad=2, dilation=2, group=2)
    net, x = CaffeNet(make_net("n", {"data": (1, 2, 9, 7)}, [conv])), torch.randn(1, 2, 9, 7)
    torch.onnx.export(net, (x,), tmp_path / "net.onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(answer), net(x)["y"].detach())


def test_as_module_gives_the_blob_asked_for():
    spec = make_net(
        "n", {"data": (1, 2)}, [layer("ReLU", "r", ["data"], ["high"]), layer("TanH", "t", ["data"], ["low"])]
    )
    net, x = CaffeNet(spec), torch.tensor([[-1.0, 2.0]])
    assert torch.equal(net.as_module("low")(x), x.tanh())
    assert torch.equal(torch.export.export(net.as_module("high"), (x,)).module()(x), x.relu())
    with pytest.raises(ValueError, match="one output goes from tensor to tensor, this one has 'high', 'low'; name one"):
        net.as_module()
    with pytest.raises(ValueError, match="the net has no blob 'hihg'; did you mean 'high'"):
        net.as_module("hihg")


def _deep_copy(net, folder):
    return copy.deepcopy(net)


def _pickled(net, folder):
    return pickle.loads(pickle.dumps(net))


def _saved(net, folder):
    torch.save(net, folder / "net.pt")
    return torch.load(folder / "net.pt", weights_only=False)


def _state(net, folder):
    torch.save(net.state_dict(), folder / "state.pt")
    other = CaffeNet(net.spec)
    other.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    return other


@pytest.mark.parametrize("way", [_deep_copy, _pickled, _saved, _state])
def test_a_net_survives_what_modules_go_through(way, tmp_path):
    layers = [
        layer("Convolution", "conv.1", ["data"], ["c"], num_output=3, kernel=(3, 3), weight_filler=Filler("xavier")),
        layer("BatchNorm", "bn", ["c"], ["c"], use_global_stats=True),
        layer("Dropout", "drop", ["c"], ["c"]),
        layer("InnerProduct", "fc", ["c"], ["y"], num_output=2, weight_filler=Filler("xavier")),
    ]
    net, x = CaffeNet(make_net("n", {"data": (1, 2, 6, 5)}, layers)), torch.randn(1, 2, 6, 5)
    net.params["bn"][1].data.fill_(2)
    net.params["bn"][2].data.fill_(1)
    other = way(net, tmp_path)
    assert torch.equal(other(x)["y"], net(x)["y"])
    assert other.spec == net.spec
    # A copy, not the same numbers.
    net.params["fc"][0].data.zero_()
    assert not torch.equal(other(x)["y"], net(x)["y"])


def test_torch_export_takes_masks_and_losses():
    """Both look at values for their messages, which a program cannot."""
    pool = layer("Pooling", "p", ["data"], ["p", "mask"], kernel=(2, 2), stride=(2, 2))
    up = layer("Upsample", "u", ["p", "mask"], ["y"], scale=2)
    net, x = CaffeNet(make_net("n", {"data": (1, 2, 6, 6)}, [pool, up])).as_module("y"), torch.randn(1, 2, 6, 6)
    assert torch.equal(torch.export.export(net, (x,)).module()(x), net(x))
    loss = layer("SoftmaxWithLoss", "l", ["data", "label"], ["loss"])
    net = CaffeNet(make_net("n", {"data": (1, 2, 6, 6), "label": (1, 1, 6, 6)}, [loss]))
    given = {"data": x, "label": torch.ones(1, 1, 6, 6)}
    program = torch.export.export(net, (), given).module()
    torch.testing.assert_close(program(**given)["loss"], net(**given)["loss"])
