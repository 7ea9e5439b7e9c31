"""python -m benchmarks.net_cuda --json FILE: whole nets on a GPU beside torch.compile; each row written as it comes."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from deeplab_repro.bench.cases import LARGE_NET_CASES
from deeplab_repro.bench.machine import machine_record
from deeplab_repro.bench.net import bench_net, format_row
from deeplab_repro.bench.run import write_json

# Batch and precision, the most telling first.
_ORDER = ((1, "fp32"), (16, "fp32"), (16, "tf32"), (16, "bf16"), (1, "tf32"), (1, "bf16"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where a net of ours was wrong or failed; 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="benchmarks.net_cuda", description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=1.5, help="timing budget of one row")
    parser.add_argument("--deadline", type=float, default=120, help="seconds after which no row starts")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("net_cuda: torch sees no CUDA device here", file=sys.stderr)
        return 2
    end = time.monotonic() + options.deadline
    report: dict[str, Any] = {"machine": machine_record(), "gpu": torch.cuda.get_device_name(), "net": []}
    report["failed"], report["not_run"] = {}, []
    for batch, precision in _ORDER:
        for case in LARGE_NET_CASES:
            name = f"{case.title} {case.size} n{batch} {precision}"
            if time.monotonic() > end:
                report["not_run"].append(name)
                continue
            try:
                rows = bench_net([case], "cuda", [precision], [batch], options.seconds)
                report["net"] += rows
                print("\n".join(map(format_row, rows)), flush=True)
            except Exception as error:  # the rows after it are worth having
                report["failed"][name] = f"{type(error).__name__}: {str(error)[:300]}"
                print(f"{name} FAILED {report['failed'][name]}", flush=True)
                torch.cuda.empty_cache()
            write_json(options.json, report)
    write_json(options.json, report)
    if report["not_run"]:
        print(f"net_cuda: cut off by the deadline: {', '.join(report['not_run'])}")
    return 0 if not report["failed"] and all(row["passed"] for row in report["net"]) else 1


if __name__ == "__main__":
    sys.exit(main())
