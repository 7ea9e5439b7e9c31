"""How nets run: blobs, inputs, sizes, and what a bad call is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from deeplab_repro import CaffeNet, load_caffe
from deeplab_repro.net.graph import Graph
from prototxt_import import CaffeFormatError, layer, make_net
from tests.deeplab_repro.net.small_net import conv, small_spec


def test_outputs_are_the_blobs_nobody_consumes(net, feed):
    blobs = net(**feed)
    assert list(blobs) == ["size"]
    assert blobs.loss.item() == pytest.approx(
        0.5 * torch.nn.functional.cross_entropy(net(**feed, blobs=["b"])["b"], feed["label"][:, 0].long()).item()
        + 2 * blobs["size"].item()
    )


def test_all_keeps_inputs_and_every_blob_at_its_final_value(net, feed):
    blobs = net(**feed, blobs="all")
    assert list(blobs) == ["data", "label", "zero", "a", "b", "c", "size"]
    assert float(blobs["a"].detach().min()) == 0
    assert blobs["a"].shape == net.spec.blobs["a"]


def test_named_blobs_need_only_what_leads_to_them(net, feed):
    blobs = net(data=feed["data"], blobs=["a"])
    assert list(blobs) == ["a"]
    assert blobs.loss is None
    assert torch.equal(blobs["a"], net(**feed, blobs="all")["a"])
    assert net(**feed, blobs=["a"]).loss is not None


def test_layer_between_reads_the_earlier_value_of_an_in_place_chain():
    layers = [
        layer("Power", "shift", ["x"], ["y"], shift=-1.0),
        layer("Power", "before", ["y"], ["z"]),
        layer("ReLU", "relu", ["y"], ["y"]),
        layer("Sigmoid", "again", ["y"], ["y"]),
    ]
    x = torch.tensor([[0.0, 3.0]])
    blobs = CaffeNet(make_net("chain", {"x": (1, 2)}, layers))(x=x, blobs="all")
    assert torch.equal(blobs["x"], x)
    assert torch.equal(blobs["z"], x - 1)
    assert torch.equal(blobs["y"], torch.sigmoid(torch.relu(x - 1)))


def test_an_input_changed_in_place_keeps_the_callers_tensor():
    net = CaffeNet(make_net("chain", {"x": (1, 2)}, [layer("ReLU", "relu", ["x"], ["x"])]))
    x = torch.tensor([[-1.0, 3.0]])
    assert net(x=x)["x"].tolist() == [[0, 3]]
    assert x.tolist() == [[-1, 3]]


def test_any_size_that_fits_is_taken_and_one_that_does_not_is_named(net, feed):
    wide = {name: torch.nn.functional.pad(x, (0, 5)) for name, x in feed.items()}
    assert net(**wide, blobs=["b"])["b"].shape == (1, 3, 6, 12)
    assert net(data=wide["data"], blobs=["b"])["b"].shape == (1, 3, 6, 12)
    with pytest.raises(CaffeFormatError, match=r"layer 'loss' \(SoftmaxWithLoss\)"):
        net(**(feed | {"data": wide["data"]}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("label"), "missing input 'label'"),
        (lambda f: f.update(dta=f["data"]), "no input 'dta'; did you mean 'data'"),
        (
            lambda f: f.update(data=torch.zeros(1, 4, 6, 7)),
            r"layer 'a' \(Convolution\): inputs of shapes .* ask for parameters of shapes \(\(4, 4, 3, 3\)",
        ),
        (lambda f: f.update(data=[1, 2]), "input 'data' must be a tensor or an array, got list"),
        (lambda f: f.update(blobs=["siez"]), "no blob 'siez'; did you mean 'size'"),
        (lambda f: f.update(masks={"dorp": torch.ones(3)}), "no Dropout layer is called 'dorp'; did you mean 'drop'"),
    ],
)
def test_bad_calls_say_what_is_wrong(net, feed, change, message):
    change(feed)
    with pytest.raises(ValueError, match=message):
        net(**feed)


def test_inputs_may_be_arrays_and_integers(net, feed):
    label = feed["label"].numpy().astype(np.uint8)
    assert torch.equal(net(**(feed | {"label": label})).loss, net(**feed).loss)


def test_inputs_take_the_parameters_dtype(net, feed):
    assert net.double()(**feed)["size"].dtype == torch.float64
    doubles = {name: x.double() for name, x in feed.items()}
    assert net.float()(**doubles)["size"].dtype == torch.float32


def test_names_torch_refuses_are_escaped_in_layers_alone():
    names = ["a.b", "type", "forward", "50%", "keys"]
    net = CaffeNet(make_net("odd", {"data": (1, 3, 4, 4)}, [conv(n, "data") for n in names]))
    assert list(net.params) == names
    assert set(net(data=torch.zeros(1, 3, 4, 4))) == set(names)
    assert len({key.split(".")[1] for key in net.state_dict()}) == len(names)


def test_propagate_down_false_stops_the_gradient(feed):
    spec = small_spec()
    cut = [replace(whole, propagate_down=(False,)) if whole.name in "bc" else whole for whole in spec.layers]
    net = CaffeNet(make_net("cut", dict(spec.inputs), cut))
    net(**feed).loss.backward()
    assert net.params["a"][0].grad is None
    assert net.params["b"][0].grad.any()


def test_inference_mode_and_no_grad_give_the_same(net, feed):
    with torch.inference_mode():
        fast = net(**feed).loss
    assert torch.equal(fast, net(**feed).loss.detach())


def test_tops_of_data_layers_are_inputs(tmp_path):
    file = tmp_path / "net.prototxt"
    file.write_text(
        'layer { name: "in" type: "ImageSegData" top: "data" top: "label" top: "size" '
        "transform_param { crop_size: 9 } image_data_param { batch_size: 2 } }\n"
        'layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { kernel_size: 3 stride: 2 } }\n'
        'layer { name: "write" type: "MatWrite" bottom: "label" }\n'
    )
    net = load_caffe(file)
    assert net.inputs["data"] == (2, 3, 9, 9)
    assert list(net(data=torch.zeros(1, 3, 17, 17))) == ["pool"]


def test_a_prepared_net_and_its_original_are_graphs_of_one_spec_and_neither_is_the_other():
    net = CaffeNet(small_spec("TEST"))
    ready = net.prepare({name: torch.zeros(shape) for name, shape in net.inputs.items()})
    assert isinstance(net, Graph)
    assert isinstance(ready, Graph)
    assert not isinstance(ready, CaffeNet)
    assert ready.inputs == net.inputs
    assert ready.spec.layers == net.spec.layers
    assert [step.name for step in net.running_layers()] == [step.name for step in net.spec.layers]
    assert set(ready.blob_names) | set(ready.folded) == set(net.blob_names)
