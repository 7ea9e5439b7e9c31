"""Our nets in torch's own modules, as a user of torch would write them: the peer of training benchmarks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_repro.net.network import CaffeNet


class PlainTorch(nn.Module):
    """A TRAIN net in torch's modules: BatchNorm2d in eval mode for BatchNorm and Scale, both frozen, ReLU and ReLU6 in
    place, cross entropy; scales share their modules. `forward` gives the total loss."""

    def __init__(self, net: CaffeNet) -> None:
        super().__init__()
        self.spec = net.spec
        self.parts = nn.ModuleDict()
        owners: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        for layer in net.spec.layers:
            if layer.type in ("Convolution", "BatchNorm"):
                key = owners.setdefault(layer.params[0].name or layer.name, layer.name)
                self.keys[layer.name] = key
                if key == layer.name:
                    self.parts[key] = _module(layer, net)
            elif layer.type == "Scale":
                norm = self.keys[layer.name.replace("scale", "bn", 1)]
                weight, bias = net.params[layer.name]
                with torch.no_grad():
                    self.parts[norm].weight.copy_(weight)
                    self.parts[norm].bias.copy_(bias)

    def forward(self, data: Tensor, label: Tensor) -> Tensor:
        values, loss = {"data": data, "label": label}, torch.zeros(())
        later = {name: i for i, layer in enumerate(self.spec.layers) for name in layer.bottoms}
        for i, layer in enumerate(self.spec.layers):
            inputs = [values[name] for name in layer.bottoms]
            if layer.type == "SoftmaxWithLoss":
                loss = loss + F.cross_entropy(inputs[0], inputs[1][:, 0].long(), ignore_index=255)
            elif layer.type in ("Convolution", "BatchNorm"):
                values[layer.tops[0]] = self.parts[self.keys[layer.name]](inputs[0])
            elif layer.type == "Interp" and layer.bottoms[0] == "label":
                # As a user of torch shrinks labels.
                step = layer.options.shrink_factor
                values[layer.tops[0]] = inputs[0][..., ::step, ::step]
            elif layer.type not in ("Scale", "SegAccuracy"):
                values[layer.tops[0]] = _plain(layer, inputs)
            for name in layer.bottoms:
                if later[name] == i and name not in layer.tops:
                    values.pop(name, None)
            del inputs
        return loss


def _module(layer, net: CaffeNet) -> nn.Module:
    options, blobs = layer.options, net.params[layer.name]
    with torch.no_grad():
        if layer.type == "BatchNorm":
            norm = nn.BatchNorm2d(blobs[0].numel(), eps=options.eps).eval().requires_grad_(False)
            norm.running_mean.copy_(blobs[0] / blobs[2])
            norm.running_var.copy_(blobs[1] / blobs[2])
            return norm
        weight = blobs[0]
        conv = nn.Conv2d(
            options.group * weight.shape[1], weight.shape[0], options.kernel, options.stride, options.pad,
            options.dilation, options.group, len(blobs) > 1,
        )  # fmt: skip
        for ours, theirs in zip(conv.parameters(), blobs, strict=True):
            ours.copy_(theirs)
            ours.requires_grad_(theirs.requires_grad)
    return conv


def _plain(layer, inputs: list[Tensor]) -> Tensor:
    options, x = layer.options, inputs[0]
    if layer.type == "ReLU":
        return F.relu_(x)
    if layer.type == "Clip":
        return F.hardtanh_(x, options.min, options.max)
    if layer.type == "Dropout":
        return F.dropout(x, options.ratio)
    if layer.type == "Pooling" and options.method == "AVE":
        return F.avg_pool2d(x, options.kernel, options.stride, options.pad, ceil_mode=True)
    if layer.type == "Pooling":
        return F.max_pool2d(x, options.kernel, options.stride, options.pad, ceil_mode=True)
    if layer.type == "Interp":
        return F.interpolate(x, options.size(*x.shape[-2:]), mode="bilinear", align_corners=True)
    assert layer.type == "Eltwise"
    first, *others = inputs
    for other in others:
        first = first + other if options.operation == "SUM" else torch.maximum(first, other)
    return first
