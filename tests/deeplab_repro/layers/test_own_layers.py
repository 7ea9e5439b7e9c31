"""A published model with two private layer types: refused with both names, then run once they are registered."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from deeplab_repro import CaffeNet, load_caffe
from deeplab_repro.inspect import receptive_fields
from deeplab_repro.layers import CaffeLayer, module
from deeplab_repro.layers import base as modules
from deeplab_repro.net.densify import densify
from deeplab_repro.net.plain import plain_net
from prototxt_import import CaffeFormatError, Filler, Options, layer, layer_type, make_net, schema
from prototxt_import.layers import table
from tests.paths import SHARED

MODEL = SHARED / "caffemodels" / "waifu2x_upresnet10"
NEEDS_MODEL = pytest.mark.skipif(not MODEL.is_dir(), reason="needs ../shared/caffemodels/waifu2x_upresnet10")


@pytest.fixture(autouse=True)
def _own_tables(monkeypatch):
    """Registrations end with the test."""
    monkeypatch.setattr(table, "_types", dict(table._types))
    monkeypatch.setattr(schema, "_own", [])
    monkeypatch.setattr(modules, "_MODULES", dict(modules._MODULES))
    yield
    monkeypatch.undo()
    schema._forget()


def register_both():
    @layer_type("CropCenter", field="crop_center_param")
    @dataclass(frozen=True)
    class CropCenterOptions(Options):
        """crop_size elements cut off both ends of each axis: twice 2 where two 3x3 convolutions took 4."""

        crop_size: tuple[int, ...] = ()

        def shapes(self, bottoms, tops):
            return (tuple(side - 2 * cut for side, cut in zip(bottoms[0], self.crop_size, strict=True)),)

    @layer_type("Axpy", bottoms=(3, 3))
    @dataclass(frozen=True)
    class AxpyOptions(Options):
        """a x + y, with one a per item and channel: squeeze-and-excitation on a residual branch."""

        def shapes(self, bottoms, tops):
            return (bottoms[1],)

    @module("CropCenter")
    class CropCenter(CaffeLayer):
        def forward(self, x):
            for axis, cut in enumerate(self.options.crop_size):
                x = x.narrow(axis, cut, x.shape[axis] - 2 * cut)
            return x

    @module("Axpy")
    class Axpy(CaffeLayer):
        def forward(self, a, x, y):
            return a.reshape(*x.shape[:2], 1, 1) * x + y


@NEEDS_MODEL
def test_one_error_names_both_private_types_and_all_their_layers():
    with pytest.raises(CaffeFormatError) as caught:
        load_caffe(MODEL / "deploy.prototxt")
    told = str(caught.value)
    names = [f"'/res{i}/{kind}'" for i in range(1, 6) for kind in ("crop", "axpy")]
    assert all(name in told for name in ["CropCenter", "Axpy", "'/crop'", *names])
    assert "\n" not in told


@NEEDS_MODEL
def test_registered_private_types_run():
    register_both()
    net = load_caffe(MODEL / "deploy.prototxt", next(MODEL.glob("*.caffemodel")))
    assert net.spec.missing_weights == net.spec.unused_weights == ()
    image = torch.linspace(0, 1, 90).expand(1, 3, 90, 90)
    with torch.no_grad():
        blobs = net(input=image)
    (top,) = blobs.values()
    # 12 unpadded convolutions take one pixel per side each; doubling without its rim takes two of the doubled pixels.
    assert top.shape == (1, 3, 2 * (90 - 2 * 12) - 4, 2 * (90 - 2 * 12) - 4)
    assert bool(top.isfinite().all())
    # The net enlarges: a grey ramp comes out as that ramp at twice the size.
    expected = torch.nn.functional.interpolate(image, scale_factor=2, mode="bilinear")[..., 26:-26, 26:-26]
    assert float((top - expected).abs().max()) < 0.03


def register_gain():
    """A per-channel gain of the test's own, which says of itself that it is pointwise and affine."""

    @layer_type("Gain", field="gain_param", pointwise=True, affine=True)
    @dataclass(frozen=True)
    class GainOptions(Options):
        offset: float = 0.0

        def blob_count(self, bottoms):
            return 1

        def params(self, bottoms):
            return ((bottoms[0][1],),)

    @module("Gain")
    class Gain(CaffeLayer):
        def __init__(self, layer, spec):
            super().__init__(layer, spec)
            self.add_blob("gain")

        def forward(self, x):
            return x * self.gain.reshape(-1, 1, 1) + self.options.offset

        def channel_map(self):
            gain = self.gain.detach().double()
            return gain, torch.full_like(gain, self.options.offset)


def gain_net(name_of_gain="Gain"):
    window = {"num_output": 3, "kernel": (3, 3), "weight_filler": Filler("gaussian", std=0.3)}
    layers = [
        layer(name_of_gain, "before", "data", "before", offset=0.25),
        layer("Convolution", "one", "before", "one", stride=(2, 2), **window),
        layer(name_of_gain, "after", "one", "after", offset=-0.5),
        layer("Convolution", "two", "after", "two", pad=(1, 1), **window),
    ]
    net = CaffeNet(make_net("gains", {"data": (1, 2, 9, 9)}, layers))
    torch.manual_seed(5)
    for name in ("before", "after"):
        torch.nn.init.uniform_(net.params[name][0], 0.5, 2)
    return net


def test_an_affine_type_of_ones_own_folds_into_convolutions():
    register_gain()
    net = gain_net()
    x = torch.randn(1, 2, 9, 9)
    want = net(data=x)["two"]
    ready = net.prepare(x)
    assert [name for name, _ in ready.layers.named_children()] == ["one", "two"]
    # Single precision, 27 products each.
    torch.testing.assert_close(ready(data=x)["two"], want, rtol=1e-5, atol=1e-5)
    plain = plain_net(net)
    assert [made.type for made in plain.layers] == ["Convolution", "Convolution"]
    torch.testing.assert_close(CaffeNet(plain)(data=x)["two"], want, rtol=1e-5, atol=1e-5)


def test_a_pointwise_type_of_ones_own_has_a_dense_form_and_a_receptive_field():
    register_gain()
    net = gain_net()
    dense = densify(net.spec, output_stride=1)
    assert dense.layer("after").type == "Gain"
    assert (dense.layer("one").options.stride, dense.layer("two").options.dilation) == ((1, 1), (2, 2))
    assert receptive_fields(net.spec)["after"].size == (3, 3)


def test_what_a_type_does_not_say_is_not_taken_for_granted():
    register_both()
    layers = [
        layer("Pooling", "pool", "data", "pool", kernel=2, stride=2),
        layer("CropCenter", "crop", "pool", "crop", crop_size=(0, 0, 1, 1)),
    ]
    spec = make_net("crops", {"data": (1, 2, 8, 8)}, layers)
    assert receptive_fields(spec)["crop"] is None
    with pytest.raises(CaffeFormatError, match=r"'crop' \(CropCenter\): has no dense form"):
        densify(spec, output_stride=1)
    assert not CaffeNet(spec).module_of("crop").fresh_top


def test_an_affine_type_whose_module_cannot_say_its_map_is_told():
    layer_type("Mute", affine=True)(dataclass(frozen=True)(type("MuteOptions", (Options,), {})))
    module("Mute")(type("Mute", (CaffeLayer,), {"forward": lambda self, x: x * 0}))
    layers = [
        layer("Convolution", "conv", "data", "conv", num_output=1, kernel=1),
        layer("Mute", "mute", "conv", "mute"),
    ]
    net = CaffeNet(make_net("mutes", {"data": (1, 2, 8, 8)}, layers))
    with pytest.raises(ValueError, match=r"layer 'mute' \(Mute\): its module does not say its channel_map\(\)"):
        net.prepare(torch.zeros(1, 2, 8, 8))
