"""A published model with two private layer types: refused with both names, then run once they are registered."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from deeplab_repro import load_caffe
from deeplab_repro.layers import CaffeLayer, module
from deeplab_repro.layers import base as modules
from prototxt_import import CaffeFormatError, Options, layer_type, schema
from prototxt_import.layers import base
from tests.paths import SHARED

MODEL = SHARED / "caffemodels" / "waifu2x_upresnet10"
NEEDS_MODEL = pytest.mark.skipif(not MODEL.is_dir(), reason="needs ../shared/caffemodels/waifu2x_upresnet10")


@pytest.fixture(autouse=True)
def _own_tables(monkeypatch):
    """Registrations end with the test."""
    monkeypatch.setattr(base, "_types", dict(base._types))
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
