"""python -m benchmarks.conv_cuda --json FILE: convolutions on a GPU against cuDNN, beside what the GPU can do at most.

Rows are written as they come, the most telling first; what the deadline cuts off is named. TensorFloat-32 is off in
fp32 rows and on in tf32 rows, for cuDNN and for matrix products alike; cuDNN is autotuned.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_repro.bench.cases import ConvCase, conv_cases
from deeplab_repro.bench.conv import (
    PRECISIONS,
    Call,
    backend_precision,
    by_method,
    layer_call,
    relative_error,
    tolerance,
)
from deeplab_repro.bench.machine import machine_record
from deeplab_repro.bench.run import write_json
from deeplab_repro.bench.timing import alternate
from deeplab_repro.ops import plan
from deeplab_repro.ops.aspp import aspp

Row = dict[str, Any]

PARTS = ("ceilings", "heads", "forward", "backward")
RATES = (6, 12, 18, 24)
_SIDE = 8192
_COPY_BYTES = 2**31


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where a result was wrong or a call failed; 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="benchmarks.conv_cuda", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default all")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 10])
    parser.add_argument("--precision", nargs="+", default=["fp32", "tf32", "bf16"], choices=tuple(PRECISIONS))
    parser.add_argument("--seconds", type=float, default=0.2, help="timing budget of one row")
    parser.add_argument("--deadline", type=float, default=120, help="seconds after which no row starts")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {min(unknown)!r}; choose from {', '.join(PARTS)}")
    if not torch.cuda.is_available():
        print("conv_cuda: torch sees no CUDA device here", file=sys.stderr)
        return 2
    end = time.monotonic() + options.deadline
    report: dict[str, Any] = {"machine": machine_record(), "gpu": torch.cuda.get_device_name(), "rows": []}
    report["not_run"] = []
    for name, make in _rows(options.parts or PARTS, options.batch, options.precision, options.seconds):
        if time.monotonic() > end:
            report["not_run"].append(name)
            continue
        report["rows"].append({"name": name, **_kept(make)})
        print(format_row(report["rows"][-1]), flush=True)
        write_json(options.json, report)
    write_json(options.json, report)
    if report["not_run"]:
        print(f"conv_cuda: {len(report['not_run'])} rows were cut off by the deadline, from {report['not_run'][0]} on")
    return 0 if all(row["passed"] for row in report["rows"]) else 1


def format_row(row: Row) -> str:
    """One line: each variant's time, and its speed over the better of cuDNN's layouts."""
    cells = [f"{row['name']:<52}"]
    for name, milliseconds in row.get("ms", {}).items():
        ratio = row.get("speed_over_cudnn", {}).get(name)
        cells.append(f"{name} {milliseconds:.3f} ms" + ("" if ratio is None else f" {ratio:.2f}x"))
    cells += [f"{name} {value:.0f}" for name, value in row.get("ceilings", {}).items()]
    cells += [f"{method} chose {way}" for method, way in row.get("chosen", {}).items()]
    cells += [f"{name} WRONG {error:.1e}" for name, error in row.get("wrong", {}).items()]
    cells += [f"{name} FAILED {reason}" for name, reason in row.get("failed", {}).items()]
    return "  ".join(cells)


def _kept(make: Callable[[], Row]) -> Row:
    """A row, or why there is none: one failure must not cost the rows after it."""
    try:
        return make()
    except Exception as error:
        torch.cuda.empty_cache()
        return {"passed": False, "failed": {"row": _line(error)}}


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


def _rows(
    parts: Sequence[str], batches: Sequence[int], precisions: Sequence[str], seconds: float
) -> Iterator[tuple[str, Callable[[], Row]]]:
    if "ceilings" in parts:
        for precision in dict.fromkeys((*precisions, "fp32", "tf32", "fp16", "bf16")):
            yield f"ceilings {precision}", lambda precision=precision: ceilings(precision)
    for part in ("heads", "forward", "backward"):
        if part not in parts:
            continue
        for precision in precisions:
            for batch in batches:
                for name, run in _cases(part, batch):
                    yield (
                        f"{part} {name} {precision}",
                        lambda run=run, precision=precision: run(precision, seconds),
                    )


def _cases(part: str, batch: int) -> Iterator[tuple[str, Callable[[str, float], Row]]]:
    if part == "heads":
        for size in (41, 65):
            wide = ConvCase("fc6", 512, 1024, 3, 6, size, batch)
            yield f"ASPP-L 512->1024 {size} n{batch}", lambda p, s, case=wide: head(case, False, p, s)
        for size in (41, 65):
            narrow = ConvCase("fc1", 2048, 21, 3, 6, size, batch)
            yield f"ASPP 2048->21 {size} n{batch}", lambda p, s, case=narrow: head(case, True, p, s)
        return
    # Every shape forward; of the backward ones those that stand for them.
    for case in conv_cases(part == "forward"):
        yield (
            f"{replace(case, batch=batch).name}",
            lambda p, s, case=replace(case, batch=batch): convolution(case, part, p, s),
        )


def ceilings(precision: str) -> Row:
    """Teraflops of a large matrix product on random numbers, and the bytes a copy moves."""
    with backend_precision(precision):
        a, b = (torch.randn(_SIDE, _SIDE, device="cuda").to(PRECISIONS[precision]) for _ in range(2))
        source = torch.empty(_COPY_BYTES, dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        times = alternate({"product": lambda: a @ b, "copy": lambda: target.copy_(source)}, "cuda", seconds=0.5)
    return {
        "passed": True,
        "tf32": precision == "tf32",
        "ceilings": {
            "product TFLOP/s": 2 * _SIDE**3 / times["product"].median_ms / 1e9,
            "copy GB/s": 2 * _COPY_BYTES / times["copy"].median_ms / 1e6,
        },
    }


def convolution(case: ConvCase, part: str, precision: str, seconds: float) -> Row:
    """One shape, forward or its gradients of input and weight, by cuDNN in both layouts and by our methods."""
    x, weight, bias = _tensors(case, precision)
    options = 1, case.padding, case.rate
    methods = ["auto", "direct", "im2col"]
    if precision == "fp32":
        methods.insert(1, "fast")
        methods += ["winograd2", "winograd4"] if case.kernel == 3 else []
    last = [_last(t) for t in (x, weight)]
    with backend_precision(precision):
        if part == "forward":
            calls: dict[str, Call] = {
                "nchw": lambda: (F.conv2d(x, weight, bias, *options),),
                "nhwc": lambda: (F.conv2d(*last, bias, *options),),
            }
            for method in methods:
                calls[method] = layer_call(case, last[0], weight, bias, method)
            exact = (F.conv2d(x.double(), weight.double(), bias.double(), *options),)
        else:
            grad = torch.randn(case.batch, case.filters, case.size, case.size, device="cuda").to(x)
            calls = {
                "nchw": _gradients(F.conv2d, x, weight, grad, options),
                "nhwc": _gradients(F.conv2d, *last, _last(grad), options),
            }
            for method in methods:
                calls[method] = _gradients(by_method(method), *last, _last(grad), options)
            exact = _gradients(F.conv2d, x.double(), weight.double(), grad.double(), options)()
        row = _measure(calls, exact, case, part, precision, seconds)
        row["chosen"] = {
            method: plan(last[0], weight, *options, method=method, packed=part == "forward")
            for method in methods
            if method in ("auto", "fast")
        }
    row["valid"] = round(case.valid, 3)
    floors = 2 * case.multiplies * (1 if part == "forward" else 2) / 1e9
    row["tflops_of_all_taps"] = {name: floors / ms for name, ms in row.get("ms", {}).items()}
    return row


def head(case: ConvCase, summed: bool, precision: str, seconds: float) -> Row:
    """Four branches with the rates of ASPP-L over one input, forward."""
    x, _, bias = _tensors(case, precision)
    generator = torch.Generator().manual_seed(9)
    shape = case.filters, case.channels, case.kernel, case.kernel
    scale = (case.channels * case.kernel**2) ** -0.5
    weights = [(torch.randn(shape, generator=generator) * scale).to(x) for _ in RATES]
    biases = [bias] * len(RATES)

    def branches(function: Callable[..., Tensor], x: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
        outputs = [function(x, w, bias.to(x), 1, r, r) for w, r in zip(weights, RATES, strict=True)]
        return (torch.stack(outputs).sum(0),) if summed else tuple(outputs)

    def ours(method: str) -> Call:
        def call() -> tuple[Tensor, ...]:
            result = aspp(last, weights, biases, RATES, summed, method)
            return (result,) if isinstance(result, Tensor) else tuple(result)

        return call

    last, last_weights = _last(x), [_last(weight) for weight in weights]
    with backend_precision(precision), torch.no_grad():
        calls: dict[str, Call] = {
            "nchw": lambda: branches(F.conv2d, x, weights),
            "nhwc": lambda: branches(F.conv2d, last, last_weights),
            "auto": ours("auto"),
        }
        if not summed:
            calls["direct"] = ours("direct")
            if precision == "fp32":
                calls["fast"] = ours("fast")
        exact = branches(F.conv2d, x.double(), [weight.double() for weight in weights])
        return _measure(calls, exact, case, "forward", precision, seconds)


def _measure(
    calls: Mapping[str, Call], exact: tuple[Tensor, ...], case: ConvCase, part: str, precision: str, seconds: float
) -> Row:
    """Errors first; times of what is right alone."""
    errors: dict[str, float] = {}
    memory: dict[str, int] = {}
    wrong: dict[str, float] = {}
    failed: dict[str, str] = {}
    right: dict[str, Call] = {}
    for name, call in calls.items():
        try:
            call()  # autotuning, workspaces, packing
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            result = call()
            torch.cuda.synchronize()
            memory[name] = torch.cuda.max_memory_allocated() - before - sum(t.nbytes for t in result)
            errors[name] = max(map(relative_error, result, exact))
            del result
        except Exception as error:
            failed[name] = _line(error)
            torch.cuda.empty_cache()
            continue
        if errors[name] <= tolerance(name, case, "cuda", precision, part):
            right[name] = call
        else:
            wrong[name] = errors[name]
    row: Row = {
        "passed": not wrong and not failed,
        "shape": asdict(case),
        "precision": precision,
        "tf32": precision == "tf32",
        "errors": errors,
        "memory_bytes": memory,
        "wrong": wrong,
        "failed": failed,
    }
    times = alternate(right, "cuda", seconds=seconds)
    row["ms"] = {name: timing.median_ms for name, timing in times.items()}
    row["spread_ms"] = {name: timing.spread_ms for name, timing in times.items()}
    cudnn = [row["ms"][name] for name in ("nchw", "nhwc") if name in row["ms"]]
    if cudnn:
        row["speed_over_cudnn"] = {name: min(cudnn) / ms for name, ms in row["ms"].items()}
    return row


def _tensors(case: ConvCase, precision: str) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(case.rate * 1000 + case.size)
    scale = (case.channels * case.kernel**2) ** -0.5
    made = (
        torch.randn(case.batch, case.channels, case.size, case.size, generator=generator),
        torch.randn(case.filters, case.channels, case.kernel, case.kernel, generator=generator) * scale,
        torch.randn(case.filters, generator=generator),
    )
    x, weight, bias = (tensor.to("cuda", PRECISIONS[precision]) for tensor in made)
    return x, weight, bias


def _gradients(
    function: Callable[..., Tensor], x: Tensor, weight: Tensor, grad: Tensor, options: tuple[int, int, int]
) -> Call:
    built: list[Any] = []  # at the first call, whose failure is the variant's own

    def call() -> tuple[Tensor, ...]:
        if not built:
            leaves = [tensor.detach().requires_grad_() for tensor in (x, weight)]
            built.extend((function(*leaves, None, *options), leaves))
        return torch.autograd.grad(*built, grad, retain_graph=True)

    return call


def _last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


if __name__ == "__main__":
    sys.exit(main())
