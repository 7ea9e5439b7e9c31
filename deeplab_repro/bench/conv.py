"""Atrous convolution against torch's F.conv2d in both layouts."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_repro.bench.cases import ConvCase
from deeplab_repro.bench.gate import judge, remarks
from deeplab_repro.bench.memory import extra_mib
from deeplab_repro.bench.rounding import convolution_tolerance
from deeplab_repro.bench.timing import Timing, alternate, peak_gflops
from deeplab_repro.ops import atrous_conv2d, plan
from deeplab_repro.ops.atrous import AtrousConv2d

PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
DIRECTIONS = ("forward", "backward")
# torch's convolution in both layouts: what ours are measured by, not answered for.
PEERS = ("nchw", "nhwc")

Call = Callable[[], tuple[Tensor, ...]]


def bench_conv(
    cases: Iterable[ConvCase],
    device: str,
    precisions: Iterable[str] = ("fp32",),
    directions: Iterable[str] = ("forward",),
    seconds: float = 5.0,
    progress: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """One row per case, precision and direction: errors against float64, then times of what is within its tolerance.

    A row passes unless one of ours is wrong. "tf32" exists on CUDA only; `im2col` on the CPU takes float32 only."""
    rows = []
    for precision in precisions:
        with backend_precision(precision):
            peak = peak_gflops(device, PRECISIONS[precision])
        for case in cases:
            for direction in directions:
                row = _bench_case(case, device, precision, direction, seconds, peak)
                progress(format_row(row))
                rows.append(row)
    return rows


def format_row(row: dict[str, Any]) -> str:
    """One line: the case, each variant's time and its speed relative to F.conv2d NCHW."""
    head = f"{row['case']:<36} {row['precision']:<5} {row['direction']:<8}"
    times, speed = row["times"], row["speed_over_nchw"]
    cells = [
        f"{name} {time['median_ms']:9.3f} ms" + (f" {speed[name]:5.2f}x" if name in speed else "")
        for name, time in times.items()
    ]
    cells += [
        f"{method} chose {choice['chosen']}, {choice['best']} is {choice['slower']:.2f}x as fast"
        for method, choice in row.get("choices", {}).items()
        if choice["slower"] > _CHOSE_WRONG
    ]
    if "auto" in times:
        cells.append(f"auto at {row['of_peak']['auto']:.0%} of {row['peak_gflops']:.0f} GFLOP/s")
    return f"{head} valid {row['valid']:.2f}  " + "  ".join(cells + remarks(row))


# Beyond what times differ by from run to run.
_CHOSE_WRONG = 1.05


def _bench_case(
    case: ConvCase, device: str, precision: str, direction: str, seconds: float, peak: float
) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(case.rate * 1000 + case.size)
    shapes = (
        (case.batch, case.channels, case.size, case.size),
        (case.filters, case.channels, case.kernel, case.kernel),
        (case.filters,),
    )
    scales = (1.0, (case.channels * case.kernel**2) ** -0.5, 1.0)
    tensors = [
        (torch.randn(shape, generator=generator) * scale).to(device, PRECISIONS[precision])
        for shape, scale in zip(shapes, scales, strict=True)
    ]
    with backend_precision(precision):
        grad = torch.randn(case.batch, case.filters, case.size, case.size, generator=generator).to(tensors[0])
        calls = _variants(case, tensors, grad, device, precision, direction)
        error = _error_of(case, tensors, grad, direction)
        calls, verdict = judge(calls, PEERS, error, lambda name: tolerance(name, case, device, precision, direction))
        times = alternate(calls, device, seconds=seconds)
        products = 2 * case.multiplies * (1 if direction == "forward" else 2)
        gflops = {name: products / timing.median_ms / 1e6 for name, timing in times.items()}
        # A peer that is left out is no measure of others.
        base = times["nchw"].median_ms if "nchw" in times else None
        row: dict[str, Any] = {
            "case": case.name,
            "shape": asdict(case),
            "device": device,
            "precision": precision,
            "direction": direction,
            "valid": round(case.valid, 3),
            **verdict.row(),
            "times": {name: asdict(timing) for name, timing in times.items()},
            "speed_over_nchw": {name: base / timing.median_ms for name, timing in times.items() if base is not None},
            "gflops": gflops,
            "peak_gflops": peak,
            "of_peak": {name: case.valid * reached / peak for name, reached in gflops.items()},
        }
        if "direct" in times and direction == "forward":
            row["choices"] = _choices(case, tensors[0], tensors[1], times)
        if device == "cpu":
            row["extra_mib"] = {name: extra_mib(call) for name, call in calls.items()}
    return row


def _error_of(
    case: ConvCase, tensors: list[Tensor], grad: Tensor, direction: str
) -> Callable[[tuple[Tensor, ...]], float]:
    """The largest error of a call's results relative to the largest exact value, as a function of them.

    Of a batch's outputs the first and last image count."""
    ends = slice(None)
    if direction == "forward" and case.batch > 2:
        ends = slice(None, None, case.batch - 1)
    exact = _calls(case, F.conv2d, [tensors[0][ends].double(), *(t.double() for t in tensors[1:])], grad, direction)()

    def error(results: tuple[Tensor, ...]) -> float:
        compared = [result[ends] if direction == "forward" else result for result in results]
        errors = [relative_error(result, want) for result, want in zip(compared, exact, strict=True)]
        # Not a number in one of them makes the largest so: max alone would pass it over.
        return max(errors, key=lambda value: (math.isnan(value), value))

    return error


# Ways that "auto" may choose, and "fast" besides.
_EXACT_WAYS = ("direct", "winograd2", "library")
_WAYS = (*_EXACT_WAYS, "winograd4")
_MOST_FOR_ALL_WAYS = 4


def _variants(
    case: ConvCase, tensors: list[Tensor], grad: Tensor, device: str, precision: str, direction: str
) -> dict[str, Call]:
    last = [t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in tensors]
    calls = {
        "nchw": _calls(case, F.conv2d, tensors, grad, direction),
        "nhwc": _calls(case, F.conv2d, last, grad, direction),
    }
    # Large batches are for the choices, not for every way.
    own = device == "cpu" and precision == "fp32" and case.batch <= _MOST_FOR_ALL_WAYS
    methods = ["auto", "fast", *(["direct"] if own else [])]
    if own and direction == "forward":
        methods += ["winograd2", "winograd4", "library"] if case.kernel == 3 else ["library"]
        methods.append("interlace")
    for method in methods:
        if direction == "forward":
            calls[method] = layer_call(case, last[0], last[1], last[2], method)
        else:
            calls[method] = _calls(case, by_method(method), last, grad, direction)
    if device != "cpu" or own:
        calls["im2col"] = _calls(case, by_method("im2col"), tensors, grad, direction)
    return calls


def by_method(method: str) -> Callable[..., Tensor]:
    """The operator, told which way to go."""
    return partial(atrous_conv2d, method=method)


def layer_call(case: ConvCase, x: Tensor, weight: Tensor, bias: Tensor, method: str) -> Call:
    """The module, which packs its weight at the first call."""
    layer = AtrousConv2d(
        case.channels, case.filters, case.kernel, padding=case.padding, dilation=case.rate, method=method,
        device=x.device, dtype=x.dtype,
    ).requires_grad_(False)  # fmt: skip
    layer.weight.copy_(weight)
    assert layer.bias is not None
    layer.bias.copy_(bias)
    return lambda: (layer(x),)


def _choices(case: ConvCase, x: Tensor, weight: Tensor, times: dict[str, Timing]) -> dict[str, dict[str, Any]]:
    """What the cost model chose for "auto" and "fast", and how much slower that is than the fastest way allowed."""
    x = x.contiguous(memory_format=torch.channels_last)
    result = {}
    for method, allowed in (("auto", _EXACT_WAYS), ("fast", _WAYS)):
        chosen = plan(x, weight, 1, case.padding, case.rate, method=method, packed=True)
        measured = {way: times[way].median_ms for way in allowed if way in times}
        if chosen not in measured:
            continue
        best = min(measured, key=lambda way: measured[way])
        result[method] = {"chosen": chosen, "best": best, "slower": measured[chosen] / measured[best]}
    return result


def _calls(
    case: ConvCase, function: Callable[..., Tensor], tensors: list[Tensor], grad: Tensor, direction: str
) -> Call:
    """The work to be timed: the output, or the gradients of input and weight."""
    options = 1, case.padding, case.rate
    if direction == "forward":

        def forward() -> tuple[Tensor, ...]:
            with torch.no_grad():
                return (function(*tensors, *options),)

        return forward
    leaves = [tensor.detach().requires_grad_() for tensor in tensors[:2]]

    @cache
    def graph() -> tuple[Tensor, Tensor]:
        """Output and gradient; built at the first call, which is not timed."""
        output = function(*leaves, tensors[2], *options)
        return output, grad.to(output.dtype).contiguous(memory_format=_format(output))

    def backward() -> tuple[Tensor, ...]:
        output, given = graph()
        return torch.autograd.grad(output, leaves, given, retain_graph=True)

    return backward


def _format(tensor: Tensor) -> torch.memory_format:
    last = tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def relative_error(result: Tensor, exact: Tensor) -> float:
    """The largest error over the largest exact value."""
    return ((result.double() - exact).abs().max() / exact.abs().max()).item()


# Peers whose library chooses the algorithm, and our methods that may: on CUDA that can be F(4x4, 3x3).
_CHOSEN = ("auto", "fast", "library", *PEERS)


def tolerance(name: str, case: ConvCase, device: str, precision: str, direction: str) -> float:
    """The largest error of a variant that counts as right, relative to the largest exact value."""
    own = {"fast": "winograd4", "auto": "winograd2"}
    method = "winograd4" if device != "cpu" and name in _CHOSEN else own.get(name, name)
    if precision != "fp32":
        method = "direct"
    return convolution_tolerance(PRECISIONS[precision], case.products(direction), method, tf32=precision == "tf32")


@contextlib.contextmanager
def backend_precision(precision: str) -> Iterator[None]:
    """In the block cuDNN is autotuned, and TensorFloat-32 is used for "tf32" alone, in cuDNN and cuBLAS alike.

    Args:
        precision: A key of PRECISIONS.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
    cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = True, precision == "tf32", precision == "tf32"
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before
