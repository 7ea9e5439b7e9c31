"""DomainTransform's fields and bottoms."""

from __future__ import annotations

import pytest

from prototxt_import import CaffeFormatError, net_text, parse_net


def text(fields: str = "", dims: str = "dim: 2 dim: 1 dim: 1 dim: 2", channels: int = 1) -> str:
    return (
        'input: "x" input_shape { dim: 2 dim: 3 dim: 5 dim: 7 } '
        f'input: "e" input_shape {{ dim: 2 dim: {channels} dim: 5 dim: 7 }} input: "d" input_shape {{ {dims} }} '
        'layer { name: "dt" type: "DomainTransform" bottom: "x" bottom: "e" bottom: "d" top: "y" '
        f"domain_transform_param {{ {fields} }} }}"
    )


def test_it_takes_scores_edges_and_sizes():
    spec = parse_net(text("num_iter: 2 min_weight: 0.1"))
    assert spec.blobs["y"] == (2, 3, 5, 7)
    options = spec.layers[0].options
    assert (options.num_iter, options.spatial_sigma, options.range_sigma, options.min_weight) == (2, 50, 5, 0.1)
    for dialect in ("v2", "pspnet", "text"):
        assert parse_net(net_text(spec, dialect)) == spec
    assert parse_net(text(dims="dim: 2 dim: 2 dim: 1 dim: 1")).blobs["y"] == (2, 3, 5, 7)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"fields": "num_iter: 0"}, "num_iter is 0"),
        ({"fields": "spatial_sigma: 0"}, "spatial_sigma is 0"),
        ({"fields": "range_sigma: -1"}, "range_sigma is -1"),
        ({"fields": "min_weight: -1"}, "min_weight is -1"),
        ({"channels": 3}, "second bottom must hold the edges"),
        ({"dims": "dim: 1 dim: 1 dim: 1 dim: 2"}, "third bottom must hold the real sizes"),
    ],
)
def test_refusals_name_the_field(changes, word):
    with pytest.raises(CaffeFormatError, match=rf"layer 'dt' \(DomainTransform\): {word}"):
        parse_net(text(**changes))
