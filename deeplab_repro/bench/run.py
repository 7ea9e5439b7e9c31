"""python -m deeplab_repro.bench.run [conv|crf|net|importer|data]...: tables on standard output, JSON where asked."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from deeplab_repro.bench.cases import CRF_GPU_CASES, LARGE_NET_CASES, NET_CASES, NetCase, conv_cases, crf_cases
from deeplab_repro.bench.conv import DIRECTIONS, PRECISIONS, bench_conv
from deeplab_repro.bench.crf import bench_crf
from deeplab_repro.bench.crf_accuracy import PARAMETERS, bench_accuracy
from deeplab_repro.bench.data import bench_data
from deeplab_repro.bench.importer import bench_importer
from deeplab_repro.bench.machine import machine_record
from deeplab_repro.bench.net import bench_net
from deeplab_repro.files.atomic import write_text

FAMILIES = ("conv", "crf", "net", "importer", "data")


def main(arguments: Sequence[str] | None = None, program: str = "deeplab_repro.bench.run") -> int:
    """Exit code 0; 1 where a result was wrong; 2 for a wrong command line. program: its name in errors."""
    options = _parse(arguments, program)
    names = [name for family in options.families or FAMILIES for name in _case_names(family, options)]
    if names and not any(re.search(options.only, name) for name in names):
        print(f"{program}: error: --only {options.only!r} matches no case: {', '.join(names)}", file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads or torch.get_num_threads())
    report: dict[str, Any] = {"machine": machine_record()}
    passed = True
    table = sys.stderr if options.json == "-" else sys.stdout

    def progress(line: str) -> None:
        print(line, file=table, flush=True)

    for family in options.families or FAMILIES:
        progress(f"{family} on {options.device}, {torch.get_num_threads()} threads")
        rows = _bench(family, options, progress)
        report["crf_accuracy" if family == "crf" and options.accuracy else family] = rows
        passed &= all(bool(row["passed"]) for row in rows)
    if options.json == "-":
        json.dump(report, sys.stdout, indent=1)
        print()
    elif options.json:
        write_json(Path(options.json), report)
    if options.plot:
        from deeplab_repro.bench.plot import plot

        plot(report, Path(options.plot))
    return 0 if passed else 1


def write_json(path: Path, report: object) -> None:
    """Write under a temporary name, then rename: nothing half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(report, indent=1) + "\n")


def _bench(family: str, options: argparse.Namespace, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    if family == "crf":
        if options.accuracy:
            images = Path(options.images) if options.images else None
            return bench_accuracy(options.device, images, only=options.only, progress=progress)
        crf = crf_cases(options.full, tuple(options.batch), options.only)
        if options.gate:
            crf = [case for case in CRF_GPU_CASES if re.search(options.only, case.name)]
        return bench_crf(crf, options.device, options.seconds * 4, progress)
    if family == "importer":
        return bench_importer(options.seconds * 4, progress)
    if family == "data":
        return bench_data(options.seconds, progress)
    if family == "net":
        nets = [case for case in _net_cases(options) if re.search(options.only, case.name)]
        precisions = [precision for precision in options.precision if precision != "fp16"]
        return bench_net(nets, options.device, precisions, options.batch, options.seconds * 6, progress)
    cases = conv_cases(options.full, tuple(options.batch), options.only)
    return bench_conv(cases, options.device, options.precision, options.direction, options.seconds, progress)


def _case_names(family: str, options: argparse.Namespace) -> list[str]:
    """What --only chooses from."""
    if family == "conv":
        return [case.name for case in conv_cases(True, tuple(options.batch), "")]
    if family == "net":
        return [case.name for case in _net_cases(options)]
    if family != "crf":
        return []
    if options.accuracy:
        return list(PARAMETERS)
    return [case.name for case in (CRF_GPU_CASES if options.gate else crf_cases(options.full, tuple(options.batch)))]


def _net_cases(options: argparse.Namespace) -> Sequence[NetCase]:
    return NET_CASES if options.device == "cpu" else LARGE_NET_CASES


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    return text


def _parse(arguments: Sequence[str] | None, program: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument("families", nargs="*", help=f"of {', '.join(FAMILIES)}; default all")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--full", action="store_true", help="every shape, not the few that stand for them")
    parser.add_argument(
        "--only", type=_regex, metavar="REGEX", default="", help="of conv, crf and net, the cases whose names match"
    )
    parser.add_argument(
        "--accuracy", action="store_true", help="of crf, the lattice's own error against the exact mode"
    )
    parser.add_argument("--images", metavar="DIR", help="photographs for --accuracy; default those beside the checkout")
    parser.add_argument("--gate", action="store_true", help="of crf, the cases that a GPU's aims speak of")
    parser.add_argument("--batch", nargs="+", type=int, default=[1])
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=tuple(PRECISIONS))
    parser.add_argument("--direction", nargs="+", default=["forward"], choices=DIRECTIONS)
    parser.add_argument("--seconds", type=float, default=5.0, help="timing budget of one row")
    parser.add_argument("--threads", type=int, default=0, help="torch's threads; default its own choice")
    parser.add_argument(
        "--json", metavar="FILE", help="also write the rows and the machine there; - is standard output"
    )
    parser.add_argument("--plot", metavar="FILE", help="also draw the rows: speed over rate, times of whole nets")
    options = parser.parse_args(arguments)
    for family in options.families:
        if family not in FAMILIES:
            parser.error(f"unknown family {family!r}; choose from {', '.join(FAMILIES)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no CUDA device here")
    return options


if __name__ == "__main__":
    sys.exit(main())
