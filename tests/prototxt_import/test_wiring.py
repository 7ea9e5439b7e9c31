"""Who feeds whom, which shapes follow, and who shares parameters."""

from __future__ import annotations

from prototxt_import import parse_net
from tests.prototxt_import.texts import HEAD, conv, refusal


def test_wiring_faults_name_blob_layer_and_line():
    message = refusal(HEAD + conv("c1", "x") + conv("c2", "nowhere"))
    assert message.startswith("n.prototxt:3: layer 'c2' (Convolution): bottom 'nowhere' is produced by no layer")
    assert "produced only later, by layer 'c2'" in refusal(HEAD + conv("c1", "c2") + conv("c2", "x"))
    twice = 'layer { name: "r" type: "ReLU" bottom: "x" top: "c1" }'
    assert "top 'c1' exists already" in refusal(HEAD + conv("c1", "x") + twice)


def test_in_place_chains_keep_one_blob():
    chain = conv("c", "x") + 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }'
    spec = parse_net(HEAD + chain)
    assert spec.outputs == ("c",)
    assert set(spec.blobs) == {"x", "c"}


def test_sizes_that_do_not_fit_are_refused():
    assert "too small" in refusal(HEAD + conv("c", "x", fields="num_output: 1 kernel_size: 10"))
    assert "more than 2147483647 elements" in refusal(HEAD.replace("11", "2000000000") + conv("c", "x"))
    assert "negative side" in refusal(HEAD.replace("dim: 9", "dim: -9") + conv("c", "x"))
    assert "multiple of group" in refusal(HEAD + conv("c", "x", fields="num_output: 4 group: 2 kernel_size: 1"))


def test_sharers_must_agree():
    owner = conv("a", "x", 'param { name: "w" lr_mult: 3 }')
    assert "lr_mult 2.0 differs from 3.0" in refusal(HEAD + owner + conv("b", "x", 'param { name: "w" lr_mult: 2 }'))
    wider = conv("b", "x", 'param { name: "w" }', "num_output: 4 kernel_size: 1")
    assert "shape [4, 3, 1, 1] differs from [4, 3, 3, 3] of layer 'a'" in refusal(HEAD + owner + wider)
    turned = conv("b", "x", 'param { name: "w" share_mode: PERMISSIVE }', "num_output: 12 kernel_h: 1 kernel_w: 3")
    parse_net(HEAD + owner + turned)
