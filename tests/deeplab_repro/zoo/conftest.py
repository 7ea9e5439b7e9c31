from __future__ import annotations

from dataclasses import replace

import pytest

from prototxt_import import Filler, LayerSpec, NetSpec
from tests.paths import GOLDEN, SHARED

NETS = GOLDEN / "nets"
SHARED_NETS = SHARED / "golden" / "caffe" / "nets"


@pytest.fixture
def golden_nets():
    """The folder of a golden net by name, of those kept here or of the full set."""

    def folder(name):
        if (NETS / name).is_dir():
            return NETS / name
        if not (SHARED_NETS / name).is_dir():
            pytest.skip(f"needs ../shared/golden/caffe/nets/{name}")
        return SHARED_NETS / name

    return folder


def plain(options):
    names = [name for name in ("weight_filler", "bias_filler") if hasattr(options, name)]
    return replace(options, **dict.fromkeys(names, Filler()))


@pytest.fixture
def without_fillers():
    """Layers with all fillers alike: the golden nets have their own, so that no layer dies or explodes."""

    def stripped(layers: tuple[LayerSpec, ...]) -> list[LayerSpec]:
        return [replace(layer, options=plain(layer.options)) for layer in layers]

    return stripped


@pytest.fixture
def signatures():
    """Per blob, what computes it: layer types and options down to the inputs, whatever the names."""

    def of(net: NetSpec) -> dict[str, object]:
        hashes = dict.fromkeys(net.inputs)
        hashes.update({name: hash((name, shape)) for name, shape in net.inputs.items()})
        for layer in net.layers:
            below = [hashes[bottom] for bottom in layer.bottoms]
            if layer.type == "Eltwise":  # a sum or maximum, whatever the order
                below.sort()
            for i, top in enumerate(layer.tops):
                hashes[top] = hash((layer.type, plain(layer.options), tuple(below), layer.loss_weights, i))
        return hashes

    return of
