from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from deeplab_repro import CaffeNet, load_caffe
from deeplab_repro.layers import CaffeLayer, module
from prototxt_import import CaffeFormatError, Filler, ParamSpec, layer, make_net

NOISE = Filler(type="gaussian", std=0.5)


def conv(name, bottom, top=None, outputs=4, **options):
    return layer("Convolution", name, [bottom], [top or name], num_output=outputs, kernel=(3, 3), pad=(1, 1),
                 weight_filler=NOISE, **options)  # fmt: skip


def small_spec(phase="TRAIN"):
    """data -> a -> relu in place -> b -> loss with label; c hangs off the blob a."""
    layers = [
        conv("a", "data"),
        layer("ReLU", "a.relu", ["a"], ["a"]),
        conv("b", "a", outputs=3),
        conv("c", "a"),
        layer("Dropout", "drop", ["c"], ["c"]),
        layer("SoftmaxWithLoss", "loss", ["b", "label"], [], loss_weights=[0.5]),
        layer("EuclideanLoss", "size", ["c", "zero"], ["size"], loss_weights=[2.0]),
    ]
    inputs = {"data": (1, 3, 6, 7), "label": (1, 1, 6, 7), "zero": (1, 4, 6, 7)}
    return make_net("small", inputs, layers, phase)


@pytest.fixture
def feed():
    g = torch.Generator().manual_seed(3)
    return {
        "data": torch.randn(1, 3, 6, 7, generator=g),
        "label": torch.randint(0, 3, (1, 1, 6, 7), generator=g).float(),
        "zero": torch.zeros(1, 4, 6, 7),
    }


@pytest.fixture
def net():
    return CaffeNet(small_spec("TEST"), torch.Generator().manual_seed(5))


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


def test_phase_is_fixed_when_the_net_is_built(feed):
    still, moving = CaffeNet(small_spec("TEST")).train(), CaffeNet(small_spec("TRAIN")).eval()
    assert torch.equal(still(**feed).loss, still(**feed).loss)
    assert not torch.equal(moving(**feed).loss, moving(**feed).loss)
    masks = {"drop": torch.ones(1, 4, 6, 7)}
    assert torch.equal(moving(**feed, masks=masks).loss, moving(**feed, masks=masks).loss)


def test_names_torch_refuses_are_escaped_in_layers_alone():
    names = ["a.b", "type", "forward", "50%", "keys"]
    net = CaffeNet(make_net("odd", {"data": (1, 3, 4, 4)}, [conv(n, "data") for n in names]))
    assert list(net.params) == names
    assert set(net(data=torch.zeros(1, 3, 4, 4))) == set(names)
    assert len({key.split(".")[1] for key in net.state_dict()}) == len(names)


def shared_spec():
    params = [ParamSpec(name="w"), ParamSpec(name="b", lr_mult=2)]
    return make_net(
        "twins", {"data": (1, 3, 4, 4)}, [conv("one", "data", params=params), conv("two", "data", params=params)]
    )


@pytest.mark.parametrize("change", [lambda n: n, copy.deepcopy, lambda n: n.double(), lambda n: n.to("cpu")])
def test_parameters_of_one_name_are_one_parameter(change):
    net = change(CaffeNet(shared_spec()))
    assert net.params["one"][0] is net.params["two"][0]
    assert len(list(net.parameters())) == 2
    x = torch.randn(1, 3, 4, 4, dtype=net.params["one"][0].dtype)
    blobs = net(data=x)
    assert torch.equal(blobs["one"], blobs["two"])
    (blobs["one"].sum() + blobs["two"].sum()).backward()
    assert net.params["two"][1].grad.tolist() == [32] * 4


def test_a_copy_shares_nothing_and_a_pickle_comes_back(net, feed):
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.params["b"][0].zero_()
    assert net.params["b"][0].any()
    again = pickle.loads(pickle.dumps(net))
    assert torch.equal(again(**feed).loss, net(**feed).loss)


def test_lr_mult_zero_takes_no_gradient(feed):
    spec = small_spec()
    frozen = [
        replace(one, params=(ParamSpec(lr_mult=0), ParamSpec(lr_mult=0))) if one.name == "a" else one
        for one in spec.layers
    ]
    net = CaffeNet(make_net("frozen", dict(spec.inputs), frozen))
    net(**feed).loss.backward()
    assert [blob.grad is None for blob in net.params["a"]] == [True, True]
    assert net.params["b"][0].grad.any()


def test_propagate_down_false_stops_the_gradient(feed):
    spec = small_spec()
    cut = [replace(one, propagate_down=(False,)) if one.name in "bc" else one for one in spec.layers]
    net = CaffeNet(make_net("cut", dict(spec.inputs), cut))
    net(**feed).loss.backward()
    assert net.params["a"][0].grad is None
    assert net.params["b"][0].grad.any()


def test_weights_are_copied_in_and_the_rest_filled():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((4, 3, 3, 3)).astype(np.float32), np.arange(4, dtype=np.float32)]
    for array in arrays:
        array.flags.writeable = False
    net = CaffeNet(replace(small_spec(), weights={"a": arrays}))
    np.testing.assert_array_equal(net.params["a"][0].detach(), arrays[0])
    np.testing.assert_array_equal(net.params["a"][1].detach(), arrays[1])
    assert net.params["b"][0].any()
    assert not net.spec.weights


def test_same_generator_same_weights():
    one, two = (CaffeNet(small_spec(), torch.Generator().manual_seed(1)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


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


def test_own_layer_type_runs_and_a_taken_one_is_refused():
    from prototxt_import.layers import Options, register

    @register("TestDouble")
    class DoubleOptions(Options):
        pass

    spec = make_net("own", {"x": (1, 2)}, [layer("TestDouble", "twice", ["x"], ["y"])])
    with pytest.raises(ValueError, match=r"no module runs these layer types: TestDouble \('twice'\)"):
        CaffeNet(spec)

    @module("TestDouble")
    class Double(CaffeLayer):
        def forward(self, x):
            return 2 * x

    assert CaffeNet(spec)(x=torch.ones(1, 2))["y"].tolist() == [[2, 2]]
    with pytest.raises(ValueError, match="'ReLU' is run by ReLU already"):
        module("ReLU")(Double)


def test_checkpoint_with_weights_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a checkpoint has its own weights"):
        load_caffe(tmp_path / "net.safetensors", tmp_path / "w.caffemodel")


def test_a_net_of_absurdly_many_parameters_is_refused_before_memory_is_taken():
    big = layer("InnerProduct", "big", "x", "y", num_output=200_000)
    spec = make_net("n", {"x": (1, 9000)}, [big])
    with pytest.raises(ValueError, match=r"n: asks for 1,800,200,000 parameters, 1,800,200,000 of them in layer 'big'"):
        CaffeNet(spec)
    small = make_net("n", {"x": (1, 9)}, [layer("InnerProduct", "small", "x", "y", num_output=2)])
    with pytest.raises(ValueError, match="max_parameters allows 19"):
        CaffeNet(small, max_parameters=19)
    assert CaffeNet(small, max_parameters=20).params["small"][0].shape == (2, 9)
