"""`deeplab train`: a solver file carried out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeplab_repro.cli.options import (
    Device,
    DeviceOption,
    DialectOption,
    JsonOption,
    LevelOption,
    StageOption,
    VariablesOption,
    parse_net_options,
)

_KINDS = {
    "weights": "a model",
    "checkpoint": "a checkpoint",
    "mean": "a mean file",
    "solverstate": "a solver's snapshot (for --snapshot)",
}

if TYPE_CHECKING:
    from deeplab_repro.train.watch.watchers import Watcher


def train(
    solver: Annotated[Path, typer.Argument(metavar="SOLVER", help="A solver prototxt.", show_default=False)],
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="W[,W2]", help="Models to start from, matched by layer.", show_default=False),
    ] = None,
    snapshot: Annotated[
        str | None,
        typer.Option(
            "--snapshot",
            metavar="STATE",
            help="Go on from a .solverstate; 'latest': from the newest of the prefix, if there is one.",
            show_default=False,
        ),
    ] = None,
    max_iter: Annotated[
        int | None,
        typer.Option("--max-iter", help="Stop after so many updates, with a snapshot; rates stay.", show_default=False),
    ] = None,
    snapshot_prefix: Annotated[
        str | None,
        typer.Option("--snapshot-prefix", metavar="P", help="In place of the solver's.", show_default=False),
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="One JSON line an iteration.", show_default=False)
    ] = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option("--tensorboard", metavar="DIR", help="Scalars and sample pictures.", show_default=False),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Loss curve as .png, .svg or .html.", show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Threads that read images ahead.")] = 2,
    amp: Annotated[
        str | None, typer.Option("--amp", metavar="bf16", help="Mixed precision; weights stay float32.")
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Run the net through torch.compile.")] = False,
    checkpoint_activations: Annotated[
        bool, typer.Option("--checkpoint-activations", help="Half the memory, a second forward pass; same results.")
    ] = False,
    variables: VariablesOption = None,
    dialect: DialectOption = "auto",
    stage: StageOption = None,
    level: LevelOption = None,
    device: DeviceOption = Device.auto,
    json: JsonOption = None,
) -> None:
    """Train a net from an original solver file.

    Solver and train prototxt are read as they are; updates, schedules and data order are Caffe's. Snapshots are Caffe's
    files, too; from one of ours a run continues bit for bit, its --report with the earlier iterations that --log has.
    SIGINT and SIGTERM write one and stop. Exit codes 130 and 143 tell of those. With debug_info the mean magnitudes of
    all blobs are shown at every display, as by Caffe.

    [dim]deeplab train solver.prototxt --weights vgg16_20M.caffemodel --log train.jsonl[/dim]

    On several GPUs or machines the batch, or else iter_size, is divided:

    [dim]torchrun --nproc-per-node 2 --no-python -- deeplab train solver.prototxt --weights init.caffemodel[/dim]
    """
    from deeplab_repro.cli.output import check_json, write_json
    from deeplab_repro.jobs.devices import local_device, pick_device
    from deeplab_repro.jobs.ranks import joined
    from deeplab_repro.train.settings import Settings
    from deeplab_repro.train.trainer import Trainer
    from prototxt_import import read_solver
    from prototxt_import.prototxt.solver import NetState

    check_json(json)
    _check_solver(solver)
    asked = parse_net_options(variables, dialect, stage, level)
    values = asked["variables"]
    read = read_solver(solver, values)
    state = NetState(asked["level"] or read.train_state.level, (*read.train_state.stages, *asked["stages"]))
    read = replace(read, train_state=state)
    wanted = "cpu" if device == Device.auto and read.solver_mode == "CPU" else device
    kind = pick_device(wanted)
    with joined(kind) as ranks:
        settings = Settings(
            weights=tuple(Path(name) for name in (weights or "").split(",") if name),
            snapshot=snapshot,
            max_iter=max_iter,
            snapshot_prefix=snapshot_prefix,
            variables=values,
            dialect=dialect,
            device=local_device(kind),
            amp=amp,
            compile=compiled,
            checkpoint_activations=checkpoint_activations,
        )
        watchers = _watchers(json == "-", log, tensorboard, report) if ranks.first else []
        with Trainer(read, settings, ranks, watchers, workers) as trainer:
            written = trainer.run()
    if ranks.first:
        answer = {
            "updates": trainer.updates,
            "seed": trainer.seed,
            "snapshots": [vars(snapshot) for snapshot in written],
        }
        write_json(answer, json)
    if trainer.stopped_by is not None:
        raise typer.Exit(128 + trainer.stopped_by)


def _check_solver(file: Path) -> None:
    """ValueError for a net in a solver's place, which says what to type instead."""
    from deeplab_repro.inspect import file_kind
    from deeplab_repro.inspect.files import NET, SOLVER

    kind = file_kind(file)
    if kind == SOLVER or kind not in (NET, *_KINDS):
        return
    if kind != NET:
        raise ValueError(f"{file}: this is {_KINDS[kind]}, not a solver; a solver prototxt names its net and base_lr")
    beside = sorted(other.name for other in file.parent.glob("*solver*.prototxt") if other != file)
    if beside:
        raise ValueError(f"{file}: this is a net, not a solver; type: deeplab train {file.with_name(beside[0])}")
    raise ValueError(
        f'{file}: this is a net, not a solver; write solver.prototxt beside it with train_net: "{file.name}" '
        'base_lr: 0.001 lr_policy: "poly" power: 0.9 momentum: 0.9 weight_decay: 0.0005 max_iter: 20000 display: 10 '
        f'snapshot_prefix: "snap" and type: deeplab train {file.with_name("solver.prototxt")}'
    )


def _watchers(quiet: bool, log: Path | None, tensorboard: Path | None, report: Path | None) -> list[Watcher]:
    from deeplab_repro.train.watch.console import Console
    from deeplab_repro.train.watch.curve import Curve
    from deeplab_repro.train.watch.watchers import JsonLog, TensorBoard

    watchers: list[Watcher] = [Console(quiet)]
    if log is not None:
        watchers.append(JsonLog(log))
    if tensorboard is not None:
        watchers.append(TensorBoard(tensorboard))
    if report is not None:
        watchers.append(Curve(report, log))
    return watchers
