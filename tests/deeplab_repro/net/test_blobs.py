"""Blobs of a pass by name, with the loss."""

import torch
from torch.utils import _pytree as pytree

from deeplab_repro.net.blobs import Blobs
from tests.deeplab_repro.net.small_net import relu_net, two_input_net


def test_blobs_are_a_pytree_of_names_and_loss():
    net = two_input_net()
    blobs = net(a=torch.ones(1, 2), b=torch.zeros(1, 2))
    doubled = pytree.tree_map(lambda leaf: 2 * leaf, blobs)
    assert type(doubled) is Blobs
    assert list(doubled) == ["loss"]
    assert doubled.loss.item() == 2 * blobs.loss.item() == 2
    plain = relu_net()(torch.ones(1, 2))
    leaves, spec = pytree.tree_flatten(plain)
    assert pytree.tree_unflatten(leaves, spec).loss is None
    paths = [pytree.keystr(path) for path, _ in pytree.tree_flatten_with_path(blobs)[0]]
    assert paths == ["['loss']", ".loss"]
