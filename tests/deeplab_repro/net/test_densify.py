"""Dense forms against shift-and-stitch: the original net on the image moved to every offset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_repro import CaffeNet, zoo
from deeplab_repro.inspect import receptive_fields
from deeplab_repro.net.densify import densify
from prototxt_import import CaffeFormatError, NetSpec, layer, make_net, net_text, parse_net, read_net
from tests.paths import GOLDEN, SHARED

NETS = GOLDEN / "nets"
REAL = SHARED / "caffemodels"


def conv(name, bottom, outputs=3, kernel=3, **facts):
    return layer("Convolution", name, bottom, name, num_output=outputs, kernel=(kernel, kernel), **facts)


def pool(name, bottom, kernel=2, stride=2, method="MAX", **facts):
    return layer("Pooling", name, bottom, name, method=method, kernel=kernel, stride=stride, **facts)


def inner(name, bottom, outputs=4, **facts):
    return layer("InnerProduct", name, bottom, name, num_output=outputs, **facts)


def with_weights(spec: NetSpec, seed: int = 0) -> NetSpec:
    """Random weights; of pooling behind them the largest are often negative."""
    random = np.random.default_rng(seed)
    drawn = {
        name: [(random.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype(np.float32) for shape in shapes]
        for name, shapes in spec.param_shapes.items()
        if shapes
    }
    return replace(spec, weights=drawn)


# In double precision, but the mean's weight, such as 1 / 9, is stored in single.
TOLERANCE = 1e-6


def check_classifier(spec: NetSpec, step: int, blob: str, pooling: str = "exact", offsets: int = 3) -> NetSpec:
    """The dense scores at every offset of a larger image against the classifier on each crop of its size."""
    dense = densify(spec, step, pooling)
    channels, height, width = spec.inputs["data"][1:]
    x = torch.randn(1, channels, height + step * offsets, width + step * (offsets - 1), dtype=torch.float64)
    places = [(i, j) for i in range(offsets + 1) for j in range(offsets)]
    crops = torch.cat([x[:, :, i * step : i * step + height, j * step : j * step + width] for i, j in places])
    with torch.no_grad():
        scores = CaffeNet(dense).double()(data=x, blobs=[blob])[blob]
        want = CaffeNet(spec).double()(data=crops, blobs=[blob])[blob].flatten(1)
    assert scores.shape[2:] == (offsets + 1, offsets)
    ours = scores[0].flatten(1).T
    assert (ours - want).abs().max() <= TOLERANCE * max(1.0, float(want.abs().max()))
    return dense


def check_inside(spec: NetSpec, step: int, blob: str, size: tuple[int, int]) -> int:
    """Scores whose field lies inside the image against shift-and-stitch, at every offset; how many there were."""
    dense = densify(spec, step, size=size)
    here, there = (receptive_fields(net.with_inputs({"data": (1, 3, *size)}))[blob] for net in (spec, dense))
    assert (here.first, here.last) == (there.first, there.last)
    assert there.stride == (step, step)
    total = int(here.stride[0])

    def inside(count: int, axis: int, shift: int) -> slice:
        starts = [k for k in range(count) if here.first[axis] + k * total >= 0
                  and here.last[axis] + k * total < size[axis] - shift]  # fmt: skip
        return slice(starts[0], starts[-1] + 1) if starts else slice(0, 0)

    x = torch.randn(1, 3, *size, dtype=torch.float64)
    original, compared = CaffeNet(spec).double(), 0
    with torch.no_grad():
        scores = CaffeNet(dense).double()(data=x, blobs=[blob])[blob]
        for a in range(0, total, step):
            for b in range(0, total, step):
                want = original(data=x[:, :, a:, b:], blobs=[blob])[blob]
                rows, columns = inside(want.shape[2], 0, a), inside(want.shape[3], 1, b)
                want = want[:, :, rows, columns]
                ours = scores[:, :, a // step :: total // step, b // step :: total // step][:, :, rows, columns]
                assert ours.shape == want.shape
                if want.numel():
                    assert (ours - want).abs().max() <= TOLERANCE * max(1.0, float(want.abs().max())), (a, b)
                compared += want[0, 0].numel()
    return compared


@st.composite
def classifiers(draw):
    """A net of convolutions and poolings without padding, whose windows fill its input, and fully connected layers."""
    steps, total = [], 1
    for i in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["conv", "MAX", "AVE", "relu", "branch"]))
        stride = draw(st.sampled_from([1, 2])) if total < 4 and kind != "relu" else 1
        steps.append((f"l{i}", kind, draw(st.integers(1, 3)), stride, draw(st.integers(1, 2))))
        total *= stride
    side = end = draw(st.integers(1, 3))
    for _, kind, kernel, stride, rate in reversed(steps):
        rate = rate if kind == "conv" else 1
        kernel = 1 if kind == "relu" else kernel
        side = (side - 1) * stride + rate * (kernel - 1) + 1
    layers, blob = [], "data"
    for name, kind, kernel, stride, rate in steps:
        if kind == "conv":
            layers.append(conv(name, blob, 2, kernel, stride=stride, dilation=rate))
        elif kind == "relu":
            layers.append(layer("ReLU", name, blob, name))
        elif kind == "branch":
            layers.append(conv(f"{name}a", blob, 2, kernel, stride=stride))
            layers.append(pool(f"{name}b", blob, kernel, stride))
            layers.append(layer("Concat", name, [f"{name}a", f"{name}b"], name))
        else:
            layers.append(pool(name, blob, kernel, stride, kind))
        blob = name
    if draw(st.booleans()):
        layers.append(layer("Flatten", "flat", blob, "flat"))
        blob = "flat"
    layers += [
        inner("fc1", blob, transpose=draw(st.booleans()), bias_term=draw(st.booleans())),
        layer("ReLU", "relu1", "fc1", "fc1"),
        inner("fc2", "fc1", 3),
        layer("Softmax", "prob", "fc2", "prob", axis=draw(st.sampled_from([1, -1]))),
    ]
    step = draw(st.sampled_from([stride for stride in (1, 2, 4, 8) if total % stride == 0 or stride % total == 0]))
    spec = make_net("random", {"data": (1, 2, side, side)}, layers)
    assert end >= 1
    return with_weights(spec, draw(st.integers(0, 99))), step, total


@settings(max_examples=60, deadline=None)
@given(classifiers())
def test_random_classifiers_equal_shift_and_stitch(case):
    spec, step, total = case
    # A stride already finer than asked for stays.
    dense = check_classifier(spec, min(step, total), "prob")
    assert all(made.type != "InnerProduct" for made in dense.layers)
    assert densify(spec, step).layers == dense.layers


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(["conv", "pool2", "pool3", "ave", "strided"]), min_size=2, max_size=5),
    st.sampled_from([1, 2]),
    st.integers(40, 46),
)
def test_random_padded_nets_equal_shift_and_stitch_inside_the_image(kinds, step, side):
    makers = {
        "conv": lambda name, blob: conv(name, blob, 3, 3, pad=1),
        "strided": lambda name, blob: conv(name, blob, 3, 3, pad=1, stride=2),
        "pool2": lambda name, blob: pool(name, blob, 2, 2),
        "pool3": lambda name, blob: pool(name, blob, 3, 2, pad=1),
        "ave": lambda name, blob: pool(name, blob, 3, 2, "AVE", pad=1),
    }
    layers, blob = [], "data"
    for i, kind in enumerate(kinds[:4]):
        layers.append(makers[kind](f"l{i}", blob))
        blob = f"l{i}"
    spec = with_weights(make_net("random", {"data": (1, 3, side, side + 3)}, layers))
    total = 2 ** sum(kind != "conv" for kind in kinds[:4])
    if total >= step:
        check_inside(spec, step, blob, (side, side + 3))


# Blobs whose fields fit into an image of that size; what is finer than these nets' own strides.
@pytest.mark.parametrize(
    ("name", "blob", "step", "size"),
    [
        ("v1_noup_test", "fc8_voc12", 4, (332, 330)),
        ("v1_noup_test", "conv5_1", 2, (152, 149)),
        ("v2_largefov", "conv5_3", 2, (232, 235)),
        ("v2_aspp_l", "pool5", 4, (240, 242)),
        ("v1_largefov_oldformat", "fc8_voc12", 4, (447, 450)),
    ],
)
def test_golden_nets_equal_shift_and_stitch(name, blob, step, size):
    folder = NETS / name
    spec = read_net(folder / "net.prototxt", folder / "weights.caffemodel")
    assert check_inside(spec, step, blob, size) >= 4


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/caffemodels")
@pytest.mark.parametrize(
    ("name", "step", "blob"),
    [("lenet_everpeace", 1, "prob"), ("lenet_everpeace", 2, "prob"), ("lenet_ethereon", 4, "prob")],
)
def test_real_classifiers_equal_shift_and_stitch(name, step, blob):
    import json

    facts = next(model for model in json.loads((REAL / "manifest.json").read_text()) if model["name"] == name)
    spec = read_net(REAL / facts["prototxt"]["file"], REAL / facts["file"])
    check_classifier(spec, step, blob)


def vgg16(width=1 / 32):
    """The classifier as its authors released it, for 224x224 images."""
    layers, blob = [], "data"
    for stage, (channels, depth) in enumerate(zip((64, 128, 256, 512, 512), (2, 2, 3, 3, 3), strict=True), 1):
        for i in range(1, depth + 1):
            layers.append(conv(f"conv{stage}_{i}", blob, max(1, int(width * channels)), 3, pad=1))
            layers.append(layer("ReLU", f"relu{stage}_{i}", f"conv{stage}_{i}", f"conv{stage}_{i}"))
            blob = f"conv{stage}_{i}"
        layers.append(pool(f"pool{stage}", blob))
        blob = f"pool{stage}"
    layers.append(inner("fc6", blob, int(4096 * width)))
    layers.append(layer("ReLU", "relu6", "fc6", "fc6"))
    layers.append(inner("fc7", "fc6", int(4096 * width)))
    layers += [inner("fc8", "fc7", 10), layer("Softmax", "prob", "fc8", "prob")]
    return with_weights(make_net("VGG_ILSVRC_16_layers", {"data": (1, 3, 224, 224)}, layers))


def test_vgg16_becomes_deeplabs_own_windows_and_rates():
    dense, ours = densify(vgg16(), 8, "window"), zoo.spec("deeplab_7x7", phase="TRAIN")
    for name in ("conv4_3", "conv5_1", "conv5_2", "conv5_3", "fc6", "fc7"):
        got, want = dense.layer(name).options, ours.layer(name).options
        assert (got.kernel, got.dilation, got.stride) == (want.kernel, want.dilation, want.stride), name
    for name in ("pool1", "pool2", "pool3", "pool4", "pool5"):
        got, want = dense.layer(name).options, ours.layer(name).options
        assert (got.method, got.kernel, got.stride) == (want.method, want.kernel, want.stride), name
    assert dense.blobs["prob"] == (1, 10, 1, 1)
    assert receptive_fields(dense)["prob"].size == receptive_fields(densify(vgg16()))["prob"].size == (404, 404)


def inception(name, bottom):
    """Parallel convolutions and a pooling with its own, side by side."""
    return [
        conv(f"{name}a", bottom, 2, 1),
        conv(f"{name}b", bottom, 2, 3, pad=1),
        pool(f"{name}p", bottom, 3, 1, pad=1),
        conv(f"{name}q", f"{name}p", 2, 1),
        layer("Concat", name, [f"{name}a", f"{name}b", f"{name}q"], name),
    ]


def test_a_net_of_parallel_paths_whose_windows_hang_over_the_end():
    layers = [conv("c1", "data", 4, 7, stride=2, pad=3), pool("p1", "c1", 3), layer("LRN", "n1", "p1", "n1")]
    blob = "n1"
    for i in range(1, 4):
        layers += [*inception(f"i{i}", blob), pool(f"q{i}", f"i{i}", 3)]
        blob = f"q{i}"
    layers += inception("i4", blob)
    maps = with_weights(make_net("maps", {"data": (1, 3, 224, 224)}, layers))
    assert check_inside(maps, 8, "i4", (232, 229)) >= 16
    layers += [pool("p5", "i4", 7, 1, "AVE"), inner("fc", "p5", 10), layer("Softmax", "prob", "fc", "prob")]
    dense = densify(make_net("classifier", {"data": (1, 3, 224, 224)}, layers))
    # Half a window hung over the end at every pooling: one score takes more than 224 pixels when none does.
    assert dense.inputs["data"] == (1, 3, 248, 248)
    assert dense.blobs["prob"] == (1, 10, 1, 1)


def test_exact_pooling_differs_from_the_window_that_holds_it():
    layers = [pool("p1", "data"), conv("c", "p1", kernel=1), pool("p2", "c"), inner("fc", "p2")]
    spec = with_weights(make_net("two", {"data": (1, 2, 8, 8)}, layers))
    check_classifier(spec, 1, "fc")
    with pytest.raises(AssertionError):
        check_classifier(spec, 1, "fc", "window")


def test_global_pooling_becomes_a_window_of_the_size_it_had():
    for method in ("AVE", "MAX"):
        layers = [
            conv("c", "data", 3, 3, stride=2),
            layer("Pooling", "g", "c", "g", method=method, global_pooling=True),
            inner("fc", "g"),
        ]
        check_classifier(with_weights(make_net("n", {"data": (1, 3, 11, 15)}, layers)), 1, "fc")


def test_losses_of_maps_and_their_labels_are_left_out():
    layers = [
        conv("c", "data", 3, 3, stride=2),
        inner("fc", "c"),
        layer("Accuracy", "top1", ["fc", "label"], "top1"),
        layer("SoftmaxWithLoss", "loss", ["fc", "label"], "loss"),
        layer("ArgMax", "best", "fc", "best"),
    ]
    dense = densify(make_net("n", {"data": (1, 3, 9, 9), "label": (1,)}, layers), 1)
    assert list(dense.inputs) == ["data"]
    assert [kept.name for kept in dense.layers] == ["c", "fc", "best"]
    assert dense.layer("best").options.axis == 1
    assert dense.outputs == ("best",)


def test_what_works_for_losses_alone_goes_with_them():
    dense = densify(zoo.spec("deeplab_largefov", phase="TRAIN", width=1 / 16, size=(65, 65)), 4)
    assert list(dense.inputs) == ["data"]
    assert dense.layers[-1].name == "fc8_voc12"
    assert dense.outputs == ("fc8_voc12",)
    layers = [
        conv("c", "data", 3, 3, stride=2),
        inner("fc", "c"),
        layer("Accuracy", "top1", ["fc", "label"], "top1"),
        layer("Silence", "quiet", "top1"),
    ]
    dense = densify(make_net("n", {"data": (1, 3, 9, 9), "label": (1,)}, layers), 1)
    assert [kept.name for kept in dense.layers] == ["c", "fc"]


def test_interp_zooms_by_as_much_less():
    spec = zoo.spec("deeplab_largefov", width=1 / 16, size=(65, 65))
    dense = densify(spec, 4)
    assert dense.layer("fc8_interp").options.zoom_factor == 4
    assert dense.blobs["fc8_interp"] == spec.blobs["fc8_interp"]
    assert dense.layer("fc6").options.dilation == (24, 24)
    assert densify(spec, 8) == spec
    assert densify(spec, 16) == spec


def test_the_next_input_that_fits_is_taken():
    # Caffe's rounding up gave the last window half an image.
    spec = make_net("n", {"data": (1, 3, 12, 12)}, [pool("p", "data", 3, 2), inner("fc", "p")])
    dense = densify(spec, 1)
    assert dense.inputs["data"] == (1, 3, 13, 13)
    assert densify(spec, 1, size=(20, 21)).blobs["fc"] == (1, 4, 8, 9)


@pytest.mark.parametrize("dialect", ["v1", "v2"])
@pytest.mark.parametrize("pooling", ["exact", "window"])
def test_dense_nets_are_plain_caffe(dialect, pooling):
    dense = densify(vgg16(), 8, pooling)
    assert parse_net(net_text(dense, dialect), dialect=dialect).layers == dense.layers


@pytest.mark.parametrize(
    ("layers", "step", "message"),
    [
        ([conv("c", "data", stride=3)], 2, r"layer 'c' \(Convolution\): brings the stride to 3, which output_stride 2"),
        (
            [conv("c", "data", stride=2), pool("p", "c", 2, 1, "STOCHASTIC")],
            1,
            r"layer 'p' \(Pooling\): pools at random or with a mask",
        ),
        (
            [conv("c", "data", stride=2), layer("Interp", "i", "c", "i", shrink_factor=2)],
            1,
            r"layer 'i' \(Interp\): resizes a map 2 times as dense",
        ),
        (
            [conv("c", "data", kernel=1, stride=3), pool("p", "c", 40, 1)],
            1,
            r"layer 'p' \(Pooling\): pools 40 elements",
        ),
        ([conv("c", "data", stride=2), inner("fc", "c", axis=2)], 1, "fully connected from axis 2 on"),
        ([conv("c", "data", stride=2), layer("MVN", "m", "c", "m")], 1, r"layer 'm' \(MVN\): has no dense form"),
        (
            [
                conv("c", "data", stride=2, kernel=1),
                layer("Interp", "i", "data", "i", shrink_factor=2),
                layer("Concat", "b", ["c", "i"], "b"),
            ],
            1,
            "joins maps that became denser by different factors",
        ),
    ],
)
def test_layers_without_a_dense_form(layers, step, message):
    spec = make_net("n", {"data": (1, 3, 120, 120)}, layers)
    with pytest.raises(CaffeFormatError, match=message):
        densify(spec, step)


def test_bad_arguments():
    spec = make_net("n", {"data": (1, 3, 9, 9)}, [conv("c", "data")])
    with pytest.raises(ValueError, match="output_stride is 0"):
        densify(spec, 0)
    with pytest.raises(ValueError, match="known are exact, window"):
        densify(spec, 8, "holes")
    with pytest.raises(ValueError, match="size is 9x9, but the net has no input maps"):
        densify(make_net("n", {}, []), size=(9, 9))
