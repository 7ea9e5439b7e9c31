"""Peers run the net that they are timed against."""

import pytest
import torch

from deeplab_repro.bench import net, net_peers
from tests.deeplab_repro.bench.tiny_nets import TINY, TINY_MSC


@pytest.mark.parametrize("case", [TINY, TINY_MSC], ids=lambda case: case.title)
def test_peers_run_the_same_net(case):
    made = net.build(case)
    data = torch.randn(1, 3, case.size, case.size) * 50
    want = made(data=data, blobs=[case.scores])[case.scores].detach()
    peers = {"torch": net_peers.TorchNet(made, case.scores), **net_peers.onnx_peers(made, case.scores, data)}
    for name, peer in peers.items():
        got = peer(data) if name == "torch" else torch.from_numpy(peer())
        assert (got - want).abs().max() < 1e-4 * want.abs().max(), name
