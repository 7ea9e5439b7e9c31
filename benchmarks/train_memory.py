"""Peak memory of one training pass: python -m benchmarks.train_memory [--width W] [--json F], ResNet-101 MSC, crop 321.

Three programs with the same weights and image: ours, ours with activations computed again, and torch's own modules as
a user of torch would write them. A process of its own for each figure, as in crf_memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_repro import zoo
from deeplab_repro.bench.machine import machine_record
from deeplab_repro.bench.memory import reset_peak, resident_mib
from deeplab_repro.bench.run import write_json
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.train.checkpointing import CheckpointedNet
from deeplab_repro.zoo.models import fresh_net

PROGRAMS = ("torch", "ours", "checkpointed")
CROP, CLASSES = 321, 21


class PlainTorch(nn.Module):
    """A ResNet TRAIN net of the zoo in torch's modules: BatchNorm2d in eval mode for BatchNorm and Scale, both frozen,
    ReLU in place, cross entropy; scales share their modules. `forward` gives the total loss."""

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
            weight.shape[1], weight.shape[0], options.kernel, options.stride, options.pad, options.dilation,
            bias=len(blobs) > 1,
        )  # fmt: skip
        for ours, theirs in zip(conv.parameters(), blobs, strict=True):
            ours.copy_(theirs)
    return conv


def _plain(layer, inputs: list[Tensor]) -> Tensor:
    options, x = layer.options, inputs[0]
    if layer.type == "ReLU":
        return F.relu_(x)
    if layer.type == "Pooling":
        return F.max_pool2d(x, options.kernel, options.stride, options.pad, ceil_mode=True)
    if layer.type == "Interp":
        return F.interpolate(x, options.size(*x.shape[-2:]), mode="bilinear", align_corners=True)
    assert layer.type == "Eltwise"
    first, *others = inputs
    for other in others:
        first = first + other if options.operation == "SUM" else torch.maximum(first, other)
    return first


def measure(program: str, width: float) -> dict[str, float]:
    """MiB of a forward and backward pass beyond net, gradients and input, its loss and seconds; in this process."""
    torch.manual_seed(0)
    spec = zoo.spec("deeplab_resnet101", phase="TRAIN", size=(CROP, CROP), width=width)
    net: nn.Module = fresh_net(spec)
    if program == "torch":
        net = PlainTorch(net)
    elif program == "checkpointed":
        values = net.state_dict()
        net = CheckpointedNet(spec)
        net.load_state_dict(values)
    net = net.to(memory_format=torch.channels_last)
    torch.manual_seed(1)
    # Small, since an untrained ResNet makes its values grow: all programs shall find one and the same loss.
    data = torch.randn(1, 3, CROP, CROP).mul_(1e-7).to(memory_format=torch.channels_last)
    label = torch.randint(0, CLASSES, (1, 1, CROP, CROP)).float()
    for blob in net.parameters():
        if blob.requires_grad:
            blob.grad = torch.zeros_like(blob)
    reset_peak()
    before, start = resident_mib("VmRSS"), time.perf_counter()
    loss = net(data, label) if program == "torch" else net(data=data, label=label, blobs=()).loss
    loss.backward()
    return {"mib": resident_mib("VmHWM") - before, "loss": loss.item(), "seconds": time.perf_counter() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--program", choices=PROGRAMS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.program:
        print(json.dumps(measure(arguments.program, arguments.width)))
        return
    measured = {}
    for program in PROGRAMS:
        # What the allocator keeps for later would count as used.
        environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
        command = [sys.executable, "-m", f"{__package__}.train_memory", "--program", program]
        done = subprocess.run(
            [*command, "--width", str(arguments.width)], capture_output=True, text=True, check=True, env=environment
        )
        measured[program] = json.loads(done.stdout)
        print(f"{program:13} {measured[program]['mib']:8.0f} MiB  {measured[program]['seconds']:6.1f} s  "
              f"loss {measured[program]['loss']:.6f}")  # fmt: skip
    if arguments.json:
        record = {"machine": machine_record(), "width": arguments.width, "programs": measured}
        write_json(arguments.json, record)


if __name__ == "__main__":
    main()
