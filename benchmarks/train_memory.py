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
from torch import nn

from benchmarks.plain_torch import PlainTorch
from deeplab_repro import zoo
from deeplab_repro.bench.machine import machine_record
from deeplab_repro.bench.memory import reset_peak, resident_mib
from deeplab_repro.bench.run import write_json
from deeplab_repro.train.checkpointing import CheckpointedNet
from deeplab_repro.zoo.models import fresh_net

PROGRAMS = ("torch", "ours", "checkpointed")
CROP, CLASSES = 321, 21


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
