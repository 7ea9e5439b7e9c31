"""Time of a training step against the same net in torch's own modules: python -m benchmarks.train_step [NET ...]

    python -m benchmarks.train_step largefov aspp_l mobile --backbone DIR --threads 2 --json F

Nets: largefov and aspp_l of the zoo (VGG-16), mobile: LargeFOV on the classifier in DIR (deploy.prototxt), as the
bundled model of photographs is trained. Forward and backward, no update, weights and images in channels_last for both,
alternated in one process. Both find the same loss, which is checked first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks.plain_torch import PlainTorch
from deeplab_repro import zoo
from deeplab_repro.bench.machine import machine_record
from deeplab_repro.bench.run import write_json
from deeplab_repro.bench.timing import alternate
from deeplab_repro.zoo.models import fresh_net
from prototxt_import import NetSpec, make_net, read_net

NETS = ("largefov", "aspp_l", "mobile")
# The papers' crops in small batches, and those of the bundled model.
CROPS = {"largefov": (321, 2), "aspp_l": (321, 1), "mobile": (257, 8)}
# Sums of other orders; a net that is not the same differs by more.
LOSS_TOLERANCE = 1e-4


def train_spec(name: str, backbone: Path | None, crop: int, batch: int) -> NetSpec:
    """The TRAIN net of a name; ValueError for mobile without a classifier."""
    size = (crop, crop)
    if name != "mobile":
        kind = {"largefov": "deeplab_largefov", "aspp_l": "deeplab_vgg16_aspp_l"}[name]
        return zoo.spec(kind, phase="TRAIN", size=size, batch=batch)
    if backbone is None:
        raise ValueError("mobile: needs --backbone DIR, a folder with a classifier's deploy.prototxt")
    return zoo.backbone_spec(
        read_net(backbone / "deploy.prototxt"), 7, phase="TRAIN", size=size, batch=batch,
        cut="expanded_conv_16/project", fc_channels=256,
    )  # fmt: skip


def steps(spec: NetSpec) -> dict[str, Callable[[], float]]:
    """A forward and backward pass of each program, which gives its loss."""
    torch.manual_seed(0)
    net = fresh_net(spec)
    peer = PlainTorch(net)
    programs: dict[str, nn.Module] = {"ours": net, "torch": peer}
    for program in programs.values():
        program.to(memory_format=torch.channels_last)
    batch, _, height, width = spec.inputs["data"]
    # Small, for an untrained net makes its values grow: Caffe's loss ends at -log of the least float, torch's does not.
    data = torch.randn(batch, 3, height, width).to(memory_format=torch.channels_last)
    label = torch.randint(0, 2, (batch, 1, height, width)).float()

    def ours() -> float:
        loss = net(data=data, label=label, blobs=()).loss
        loss.backward()
        net.zero_grad()
        return loss.item()

    def theirs() -> float:
        loss = peer(data, label)
        loss.backward()
        peer.zero_grad()
        return loss.item()

    return {"ours": ours, "torch": theirs}


def measure(name: str, backbone: Path | None = None, crop: int = 0, batch: int = 0, rounds: int = 7) -> dict:
    """Milliseconds of a step of both programs, and their ratio; ValueError where their losses differ."""
    usual = CROPS[name]
    crop, batch = crop or usual[0], batch or usual[1]
    calls = steps(without_dropout(train_spec(name, backbone, crop, batch)))
    losses = {program: call() for program, call in calls.items()}
    if abs(losses["ours"] - losses["torch"]) > LOSS_TOLERANCE * abs(losses["torch"]):
        raise ValueError(f"{name}: the losses differ, {losses}; the programs are not the same net")
    timings = alternate(calls, "cpu", rounds, seconds=90)
    ratio = timings["ours"].median_ms / timings["torch"].median_ms
    return {
        "net": name,
        "crop": crop,
        "batch": batch,
        **{f"{program}_ms": round(timing.median_ms, 1) for program, timing in timings.items()},
        "ratio": round(ratio, 3),
    }


def without_dropout(spec: NetSpec) -> NetSpec:
    """The net without Dropout, whose draws would differ."""
    layers = [part for part in spec.layers if part.type != "Dropout"]
    return make_net(spec.name, spec.inputs, layers, spec.phase, spec.dialect)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", default=["largefov"], metavar="NET", help=f"of {', '.join(NETS)}")
    parser.add_argument("--backbone", type=Path, help="folder with a classifier's deploy.prototxt, for mobile")
    parser.add_argument("--crop", type=int, default=0)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if unknown := [name for name in options.nets if name not in NETS]:
        parser.error(f"no net {unknown[0]!r}; there are {', '.join(NETS)}")
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = []
    for name in options.nets:
        row = measure(name, options.backbone, options.crop, options.batch, options.rounds)
        rows.append(row)
        print(f"{name:10} batch {row['batch']} of {row['crop']}: ours {row['ours_ms']:.0f} ms, torch "
              f"{row['torch_ms']:.0f} ms, {row['ratio']:.2f}", flush=True)  # fmt: skip
    if options.json:
        write_json(options.json, {"machine": machine_record(), "steps": rows})


if __name__ == "__main__":
    main()
