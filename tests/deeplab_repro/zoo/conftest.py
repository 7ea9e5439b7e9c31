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
        return [replace(one, options=plain(one.options)) for one in layers]

    return stripped


@pytest.fixture
def signatures():
    """Per blob, what computes it: layer types and options down to the inputs, whatever the names."""

    def of(net: NetSpec) -> dict[str, object]:
        found = dict.fromkeys(net.inputs)
        found.update({name: hash((name, shape)) for name, shape in net.inputs.items()})
        for one in net.layers:
            below = [found[bottom] for bottom in one.bottoms]
            if one.type == "Eltwise":  # a sum or maximum, whatever the order
                below.sort()
            for i, top in enumerate(one.tops):
                found[top] = hash((one.type, plain(one.options), tuple(below), one.loss_weights, i))
        return found

    return of
