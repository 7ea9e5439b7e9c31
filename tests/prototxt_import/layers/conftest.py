"""Fixtures for the tests of single layer types."""

from __future__ import annotations

import pytest

from prototxt_import import layer, make_net


def _net(type_name, bottoms, tops, options):
    inputs = {f"in{i}": shape for i, shape in enumerate(bottoms)}
    return make_net("n", inputs, [layer(type_name, "l", list(inputs), tops, **options)])


@pytest.fixture
def tops():
    """`tops(type, *shapes, count=1, **options)`: the shape of the top, or of each of `count`."""

    def call(type_name, *bottoms, count=1, **options):
        names = [f"out{i}" for i in range(count)]
        spec = _net(type_name, bottoms, names, options)
        shapes = tuple(spec.blobs[name] for name in names)
        return shapes[0] if count == 1 else shapes

    return call


@pytest.fixture
def blobs():
    """`blobs(type, *shapes, **options)`: the shapes of the learnable blobs."""
    return lambda type_name, *bottoms, **options: _net(type_name, bottoms, ["out"], options).param_shapes["l"]
