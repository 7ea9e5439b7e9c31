"""Reading a caffemodel of ResNet-101's size: against the bytes themselves, protobuf and OpenCV."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from deeplab_repro.bench.timing import alternate
from prototxt_import import LayerSpec, NetSpec, layer, make_net, read_weights, schema, write_net, write_weights
from prototxt_import.values import Array

# What the issue allows: this much of the time of reading the bytes and copying them once, and the file plus its
# tensors in memory, up to page tables and the interpreter's own growth.
TIME_BOUND = 1.5
MEMORY_SLACK_MIB = 16
MIB = 2**20
STAGES = ((64, 256, 3), (128, 512, 4), (256, 1024, 23), (512, 2048, 3))
RATES = (6, 12, 18, 24)


def bench_importer(
    seconds: float = 20.0,
    progress: Callable[[str], None] = lambda line: None,
    stages: tuple[tuple[int, int, int], ...] = STAGES,
) -> list[dict[str, object]]:
    """One row: blobs equal to those written, time within TIME_BOUND, memory within the file plus its tensors."""
    with tempfile.TemporaryDirectory() as folder:
        row = _bench(Path(folder), seconds, stages)
    progress(format_row(row))
    return [row]


def format_row(row: dict[str, object]) -> str:
    """One line: the file, each reader's time and its multiple of reading and copying the bytes, and peak memory."""
    times: dict[str, dict[str, float]] = row["times"]  # type: ignore[assignment]
    base = times["bytes"]["median_ms"]
    cells = [f"{name} {time['median_ms']:.0f} ms {time['median_ms'] / base:.2f}x" for name, time in times.items()]
    memory = "not measured" if row["peak_mib"] is None else f"{row['peak_mib']:.0f} MiB"
    wrong = f"  WRONG: {', '.join(row['wrong'])}" if row["wrong"] else ""  # type: ignore[arg-type]
    return f"{row['file_mib']:.0f} MiB, {row['blobs']} blobs  {'  '.join(cells)}  peak {memory}{wrong}"


def _bench(folder: Path, seconds: float, stages: tuple[tuple[int, int, int], ...]) -> dict[str, object]:
    spec = resnet_spec(stages)
    path, net = folder / "resnet.caffemodel", folder / "resnet.prototxt"
    generator = np.random.default_rng(0)
    blobs = {
        name: [generator.standard_normal(shape, np.float32) for shape in shapes]
        for name, shapes in spec.param_shapes.items()
    }
    write_weights(blobs, spec, path, "v2")
    write_net(spec, net, "v2")
    loaded = load(path)
    same = loaded.keys() == blobs.keys() and all(
        np.array_equal(ours.numpy(), theirs)
        for name in blobs
        for ours, theirs in zip(loaded[name], blobs[name], strict=True)
    )
    count = sum(map(len, blobs.values()))
    del loaded, blobs
    calls: dict[str, Callable[[], object]] = {
        "bytes": lambda: copied_bytes(path),
        "ours": lambda: load(path),
        "protobuf": lambda: schema.message("v2", "NetParameter").FromString(path.read_bytes()),
    }
    opencv = _opencv(net, path)
    if opencv is not None:
        calls["opencv"] = opencv
    times = alternate(calls, "cpu", rounds=15, seconds=seconds)
    file_mib, peak = path.stat().st_size / MIB, peak_mib(path)
    ratio = times["ours"].median_ms / times["bytes"].median_ms
    wrong = [] if same else ["blobs differ"]
    if ratio > TIME_BOUND:
        wrong.append(f"{ratio:.2f} times the bytes, {TIME_BOUND} allowed")
    if peak is not None and peak > 2 * file_mib + MEMORY_SLACK_MIB:
        wrong.append(f"peak {peak:.0f} MiB for a file and tensors of {file_mib:.0f} MiB each")
    return {
        "case": "resnet101.caffemodel",
        "file_mib": round(file_mib, 1),
        "blobs": count,
        "times": {name: asdict(timing) for name, timing in times.items()},
        "peak_mib": peak,
        "passed": not wrong,
        "wrong": wrong,
    }


def load(path: Path) -> dict[str, list[torch.Tensor]]:
    """A model's blobs as tensors of their own."""
    return {name: [own_tensor(blob) for blob in blobs] for name, blobs in read_weights(path).items()}


def own_tensor(array: Array) -> torch.Tensor:
    """A copy of an array that may be a view of a file."""
    tensor = torch.empty(array.shape, dtype=torch.float32)
    np.copyto(tensor.numpy(), array)
    return tensor


def copied_bytes(path: Path) -> Array:
    """The file's bytes, read and copied once."""
    return np.fromfile(path, np.uint8).copy()


def peak_mib(path: Path) -> float | None:
    """How far a fresh process grows while it loads a model, mapped file included; None where that is not told."""
    code = (
        f"import sys; from pathlib import Path; from {__name__} import load;"
        f"from {__package__}.memory import resident_mib, reset_peak;"
        "reset_peak(); before = resident_mib('VmRSS'); load(Path(sys.argv[1]));"
        "print(resident_mib('VmHWM') - before)"
    )
    if not Path("/proc/self/clear_refs").exists():
        return None
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    return round(float(done.stdout), 1)


def _opencv(net: Path, path: Path) -> Callable[[], object] | None:
    """OpenCV's reader, which 5.0 no longer has."""
    try:
        import cv2
    except ImportError:
        return None
    reader = getattr(cv2.dnn, "readNetFromCaffe", None)
    return None if reader is None else lambda: reader(str(net), str(path))


def resnet_spec(stages: tuple[tuple[int, int, int], ...] = STAGES) -> NetSpec:
    """ResNet with an ASPP head of 21 classes, 44 million numbers with the stages (inner, outer channels, blocks)."""
    layers = list(_unit("conv1", "data", 64, 7, stride=2, pad=3))
    bottom = "conv1"
    for stage, (inner, outer, blocks) in enumerate(stages, 2):
        for block in range(blocks):
            name = f"res{stage}_{block}"
            units = [
                *_unit(f"{name}a", bottom, inner, 1),
                *_unit(f"{name}b", f"{name}a", inner, 3, pad=1),
                *_unit(f"{name}c", f"{name}b", outer, 1),
            ]
            if block == 0:
                units += _unit(f"{name}s", bottom, outer, 1)
            shortcut = f"{name}s" if block == 0 else bottom
            layers += [*units, layer("Eltwise", name, [shortcut, f"{name}c"], name)]
            bottom = name
    heads = [f"fc1_{rate}" for rate in RATES]
    layers += [
        layer("Convolution", name, bottom, name, num_output=21, kernel=3, pad=rate, dilation=rate)
        for name, rate in zip(heads, RATES, strict=True)
    ]
    return make_net("ResNet-101", {"data": (1, 3, 65, 65)}, [*layers, layer("Eltwise", "fc1", heads, "fc1")])


def _unit(name: str, bottom: str, channels: int, kernel: int, stride: int = 1, pad: int = 0) -> Iterator[LayerSpec]:
    """Convolution, BatchNorm, Scale and ReLU, in place under one blob's name."""
    yield layer(
        "Convolution", name, bottom, name, num_output=channels, kernel=kernel, stride=stride, pad=pad, bias_term=False
    )
    yield layer("BatchNorm", f"bn_{name}", name, name)
    yield layer("Scale", f"scale_{name}", name, name, bias_term=True)
    yield layer("ReLU", f"relu_{name}", name, name)
