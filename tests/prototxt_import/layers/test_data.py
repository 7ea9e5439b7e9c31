"""Layers that read data."""

from __future__ import annotations

from prototxt_import import parse_net


def test_deprecated_data_fields_become_transform_facts():
    text = 'layers { name: "d" type: DATA top: "x" data_param { source: "db" batch_size: 4 scale: 0.5 mirror: true } }'
    options = parse_net(text).layers[0].options
    assert (options.transform.scale, options.transform.mirror, options.batch_size) == (0.5, True, 4)
