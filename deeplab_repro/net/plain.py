"""A net without its frozen normalisation: BatchNorm, Scale and Bias taken into the convolutions they belong to."""

from __future__ import annotations

from dataclasses import replace

import torch

from deeplab_repro.net.fold import fold, is_affine
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.net.prepared import WeightFolding
from prototxt_import import NetSpec, ParamSpec, make_net


def plain_net(net: CaffeNet) -> NetSpec:
    """The net's graph and weights (float32) with affine layers folded into the convolution before or behind them.

    Affine layers that belong to no convolution stay, and so do those between which and their convolution a blob is read
    twice; a convolution that takes some in gets a bias. Blobs in place keep their names.

    Args:
        net: The net.

    Returns:
        The folded net with its weights.

    Raises:
        ValueError: The net is of phase TRAIN, where the statistics are not fixed.
    """
    spec = net.spec
    if spec.phase != "TEST":
        raise ValueError(f"only nets of phase TEST have fixed statistics to fold, this one is {spec.phase}")
    folding = WeightFolding(net)
    weights = {name: [blob.detach().cpu().numpy() for blob in blobs] for name, blobs in net.params.items() if blobs}
    layers = list(spec.layers)
    for stage in fold(spec.layers, spec.param_shapes, spec.phase, keep=spec.outputs):
        taken = [layer for layer in (*stage.before, *stage.after) if is_affine(layer)]
        if stage.layer.type != "Convolution" or not taken:
            continue
        weight, bias = folding.convolution(stage)
        weights[stage.layer.name] = [weight.to(torch.float32).cpu().numpy(), bias.to(torch.float32).cpu().numpy()]
        last = taken[-1] if taken[-1] in stage.after else stage.layer
        first = taken[0] if stage.before else stage.layer
        with_bias = replace(
            stage.layer,
            bottoms=first.bottoms,
            tops=last.tops,
            params=(stage.layer.params[0], (*stage.layer.params, ParamSpec())[1]),
            options=replace(stage.layer.options, bias_term=True),
        )
        gone = {layer.name for layer in taken}
        layers = [with_bias if layer.name == stage.layer.name else layer for layer in layers if layer.name not in gone]
    kept = {layer.name for layer in layers}
    plain = make_net(spec.name, spec.inputs, layers, spec.phase, spec.dialect)
    return replace(plain, weights={name: blobs for name, blobs in weights.items() if name in kept})
