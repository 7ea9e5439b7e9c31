"""What users of torch expect of a net: a tensor as its input, a plain module, torch.export, pytrees."""

import pytest
import torch

from deeplab_repro import CaffeNet
from deeplab_repro.net.blobs import Blobs
from prototxt_import import layer, make_net


def _relu_net():
    return CaffeNet(make_net("n", {"data": (1, 2)}, [layer("ReLU", "relu", ["data"], ["y"])]))


def _two_input_net():
    inputs = {"a": (1, 2), "b": (1, 2)}
    return CaffeNet(make_net("n", inputs, [layer("EuclideanLoss", "loss", ["a", "b"], ["loss"])]))


def test_a_tensor_is_the_only_input():
    net, x = _relu_net(), torch.tensor([[-1.0, 2.0]])
    assert torch.equal(net(x)["y"], net(data=x)["y"])
    assert list(net(x, blobs="all")) == ["data", "y"]
    assert torch.equal(net.prepare(x)(x)["y"], x.relu())
    with pytest.raises(ValueError, match="input 'data' is given twice"):
        net(x, data=x)
    with pytest.raises(ValueError, match="the net has the inputs 'a', 'b'; give each by its name"):
        _two_input_net()(x)


def test_as_module_goes_from_tensor_to_tensor():
    net, x = _relu_net(), torch.tensor([[-1.0, 2.0]])
    assert torch.equal(torch.nn.Sequential(net.as_module(), torch.nn.Flatten())(x), x.relu())
    with pytest.raises(ValueError, match="one input goes from tensor to tensor, this one has 'a', 'b'"):
        _two_input_net().as_module()


def test_torch_export_takes_a_net():
    net, x = _relu_net(), torch.tensor([[-1.0, 2.0]])
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
