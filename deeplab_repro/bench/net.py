"""Whole nets, prepared, against torch in both layouts, torch.compile and the ONNX runtimes that are installed."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deeplab_repro.bench.cases import NetCase
from deeplab_repro.bench.conv import backend_precision
from deeplab_repro.bench.gate import judge, remarks
from deeplab_repro.bench.net_peers import TorchNet, onnx_peers
from deeplab_repro.bench.timing import alternate
from deeplab_repro.net.graph import Graph
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.zoo import models

# Largest error of ours, relative to max|score|; the others' only has to tell that they run the same net.
BOUNDS = {"exact": 2e-5, "fast": 1e-3, "bf16": 0.1, "tf32": 1e-2}
PEER_BOUND = {"fp32": 1e-3, "tf32": 1e-2, "bf16": 0.1}
OURS = {"fp32": ("exact", "fast"), "tf32": ("exact",), "bf16": ("bf16",)}

Call = Callable[[], Any]


def bench_net(
    cases: Iterable[NetCase],
    device: str,
    precisions: Iterable[str] = ("fp32",),
    batches: Iterable[int] = (1,),
    seconds: float = 30.0,
    progress: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """One row per case, precision and batch: errors against float64, then times and images a second.

    What is wrong or fails is named and not timed; a row passes unless that is one of ours."""
    rows = []
    for case in cases:
        net = build(case)
        for batch in batches:
            for precision in precisions:
                rows.append(_bench_case(replace(case, batch=batch), net, device, precision, seconds))
                progress(format_row(rows[-1]))
    return rows


def format_row(row: dict[str, Any]) -> str:
    """One line: the case, each program's time, and ours against the best of the others."""
    head = f"{row['case']:<28} {row['precision']:<5}"
    cells = [f"{name} {time['median_ms']:8.1f} ms" for name, time in row["times"].items()]
    ratios = [f"{name} {ratio:.2f}x of the best peer" for name, ratio in row["speed_over_best_peer"].items()]
    return f"{head} {'  '.join(cells)}  {', '.join([*ratios, *remarks(row)])}"


def build(case: NetCase) -> CaffeNet:
    """The case's net with random weights that keep values in range through all layers."""
    torch.manual_seed(0)
    options = {"size": (case.size, case.size), **case.options}
    net = getattr(models, case.model)(**options)
    with torch.no_grad():
        for layer in net.spec.layers:
            blobs = net.params[layer.name]
            if layer.type == "Convolution":
                fan_in = blobs[0][0].numel()
                blobs[0].normal_(0, (2 / fan_in) ** 0.5)
                for bias in blobs[1:]:
                    bias.normal_(0, 0.01)
            elif layer.type == "Scale":
                # What joins a shortcut is small, as trained residual branches are.
                blobs[0].uniform_(0.9, 1.1).mul_(0.2 if "branch2c" in layer.name else 1)
                blobs[1].normal_(0, 0.01)
            elif layer.type == "BatchNorm":
                blobs[0].normal_(0, 0.01)
                blobs[1].uniform_(0.9, 1.1)
    return net.to(torch.float32)


def _bench_case(case: NetCase, net: CaffeNet, device: str, precision: str, seconds: float) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(case.batch, 3, case.size, case.size, generator=generator) * 50
    with backend_precision(precision), torch.inference_mode():
        plain = TorchNet(net, case.scores).eval().to(device)
        exact = plain.double()(data.to(device).double()).float().cpu()
        calls = _calls(case, net, plain.float(), data, device, precision)
        calls, verdict = judge(
            calls,
            [name for name in calls if name not in BOUNDS],
            lambda scores: _error(scores, exact),
            lambda name: _bound(name, precision),
        )
        times = alternate(calls, device, seconds=seconds)
        peers = [timing.median_ms for name, timing in times.items() if name not in BOUNDS]
        row: dict[str, Any] = {
            "case": case.name,
            "shape": asdict(case),
            "device": device,
            "precision": precision,
            **verdict.row(),
            "times": {name: asdict(timing) for name, timing in times.items()},
            "images_per_second": {name: case.batch * 1e3 / timing.median_ms for name, timing in times.items()},
            "speed_over_best_peer": {
                name: min(peers) / timing.median_ms for name, timing in times.items() if peers and name in BOUNDS
            },
        }
    return row


def _scores(net: Graph, data: Tensor, blob: str) -> Tensor:
    return net(data=data, blobs=[blob])[blob]


def _bound(name: str, precision: str) -> float:
    """The largest error that counts as right."""
    if name not in BOUNDS:
        return PEER_BOUND[precision]
    return BOUNDS["tf32" if precision == "tf32" else name]


def _calls(case: NetCase, net: CaffeNet, plain: TorchNet, data: Tensor, device: str, precision: str) -> dict[str, Call]:
    """Everything that is to be timed."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    here = data.to(device)
    peer, x = plain.to(device, dtype), here.to(dtype)
    last = x.contiguous(memory_format=torch.channels_last)
    nhwc = TorchNet(net, case.scores).eval()
    nhwc.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    calls: dict[str, Call] = {"nchw": lambda: peer(x), "nhwc": lambda: nhwc(last)}
    compiled = torch.compile(nhwc)
    calls["compile"] = lambda: compiled(last)
    moved = net.to(device)
    for name in OURS[precision]:
        ready = moved.prepare(here, name)
        calls[name] = partial(_scores, ready, here, case.scores)
    if device == "cpu" and precision == "fp32":
        with _quiet():
            calls |= onnx_peers(net, case.scores, data)
    return calls


@contextlib.contextmanager
def _quiet():
    """Foreign runtimes print while they load a file."""
    sys.stdout.flush()
    saved, sink = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(sink)


def _error(result: Tensor | np.ndarray, exact: Tensor) -> float:
    ours = torch.as_tensor(result).float().cpu()
    return ((ours - exact).abs().max() / exact.abs().max()).item()
