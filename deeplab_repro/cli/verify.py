"""`deeplab verify`: every published number, ours beside it, and a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeplab_repro.cli.options import Device, DeviceOption, JobsOption, JsonOption

if TYPE_CHECKING:
    from deeplab_repro.verify.answers import Answer
    from deeplab_repro.verify.lines import Line

MOST_NUMBER = 18
_STYLES = {"reproduced": "green", "differs": "bold red", "measured": "cyan"}


def verify(
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="[NAME=]DIR",
            help="VOCdevkit, NAME=DIR for another data set in VOC's layout, animals=DIR or streets=DIR for the "
            "photographs that the bundled model of that name was scored on; may be repeated.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="DIR",
            help="Weight files by their catalog names; the `deeplab weights` folder without it.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="PATTERN",
            help="Answer these: an id (R001, 'R0*'), a net, a table or a metric; may be repeated.",
            show_default=False,
        ),
    ] = None,
    work: Annotated[
        Path, typer.Option("--work", metavar="DIR", help="Where the counts of every image are kept, to go on from.")
    ] = Path("verify-counts"),
    jobs: JobsOption = 1,
    timings: Annotated[
        bool, typer.Option("--timings/--no-timings", help="Measure speeds, half a minute on two quiet cores.")
    ] = True,
    device: DeviceOption = Device.auto,
    json: JsonOption = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the table as one HTML page.", show_default=False),
    ] = None,
) -> None:
    """Check every number that the DeepLab papers published, as far as this machine can.

    Verdicts: [b]reproduced[/b] and [b]differs[/b] (beyond the tolerance that stands with the number); [b]measured[/b],
    a speed, which is this machine's; [b]needs data[/b], [b]needs weights[/b], [b]needs gpu[/b]; [b]test server
    only[/b]; [b]not checkable[/b], with the reason; [b]in the small[/b]: the papers' orderings beside those of small
    nets, whose sign alone compares. Exit code 1 when a number differs.

    With weights and data the scores are computed as published: images padded as in the release's test nets, dense CRF
    with the published parameters, one confusion matrix. Counts are kept per image under [b]--work[/b], so that a
    killed run goes on; under torchrun every process takes its share of the images. Scores on a part of a split or of
    stand-in weights (same layers, other numbers of channels) are shown and never called reproduced or different.

    [dim]deeplab verify --html verify.html[/dim]

    [dim]deeplab verify --only LargeFOV --only 'R11*'[/dim]

    [dim]deeplab verify --data VOCdevkit --weights weights/ --jobs 4 --json verify.json[/dim]

    [dim]deeplab verify --only 'OWN*' --data animals=voc_animals[/dim]

    [dim]torchrun --nproc-per-node 8 --no-python -- deeplab verify --data VOCdevkit --weights weights/[/dim]
    """
    import torch

    from deeplab_repro.catalog import default_folder
    from deeplab_repro.cli.output import check_json, progress_steps, write_json
    from deeplab_repro.files.atomic import check_output_file
    from deeplab_repro.jobs.devices import local_device, pick_device
    from deeplab_repro.jobs.ranks import joined
    from deeplab_repro.verify import run
    from deeplab_repro.verify.answers import DIFFERS, counts

    check_json(json)
    if html is not None:
        check_output_file(html)
    # Ranks only wait for one another, so gloo serves whatever the device.
    with joined(torch.device("cpu")) as ranks:
        if weights is not None and not weights.is_dir():
            raise FileNotFoundError(f"{weights}: no such folder")
        folders = _folders(data or [])
        where = str(local_device(pick_device(device)))
        setup = run.Setup(weights or default_folder(), folders, work, where, jobs, timings, tuple(only or ()))
        answers = run.verify(setup, ranks, progress_steps)
    if not ranks.first:
        return
    if html is not None:
        from deeplab_repro.verify.page import write_page

        write_page(answers, html)
    rows = [answer.as_json() for answer in answers]
    if write_json({"verdicts": counts(answers), "rows": rows}, json):
        _print(answers)
    if any(answer.verdict == DIFFERS for answer in answers):
        raise typer.Exit(1)


def _folders(texts: Iterable[str]) -> dict[str, Path]:
    """[NAME=]DIR options by data set, VOC2012 where no name is given."""
    folders: dict[str, Path] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals:
            name, folder = "VOC2012", text
        if name in folders:
            raise ValueError(f"--data {text}: {name} is named twice")
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"--data {text}: no such folder")
        folders[name] = Path(folder)
    return folders


def _print(answers: list[Answer]) -> None:
    """The counts, then a table for each of the papers' tables, and under it what its verdicts rest on."""
    from deeplab_repro.cli.output import console, table
    from deeplab_repro.verify.answers import ORDERING, counts, folded, grouped, settings_matching
    from deeplab_repro.verify.lines import summary

    out = console()
    kinds = Counter(answer.record.check for answer in answers)
    ours, small = kinds["own"], kinds["ordering"]
    told = f"{len(answers) - ours - small} published numbers" + (f", {ours} of this project's models" if ours else "")
    told += f", {small} orderings in the small" if small else ""
    out.print(told, style="bold")
    out.print(", ".join(f"{number} {verdict}" for verdict, number in counts(answers).items() if verdict != ORDERING))
    settings = settings_matching(answers)
    if settings:
        out.print(f"{settings} of the reproduced are settings that match settings: nothing was computed for them")
    columns = ("id", "what", "published", "ours", "verdict")
    for paper, tables in grouped(answers).items():
        out.print(f"\n[bold]{paper}[/bold]")
        for source, group in tables.items():
            lines = [summary(line) for line in folded(group)]
            out.print(table(columns, map(_cells, lines), left=("id", "what", "verdict", *_long(lines)), title=source))
            for detail in dict.fromkeys(line.detail for line in lines if line.detail):
                out.print(f"  {_ids(lines, detail)}: {detail}", markup=False)
    machines = sorted({answer.machine for answer in answers if answer.machine})
    if machines:
        out.print(f"Measured on {'; '.join(machines)}")


def _long(lines: list[Line]) -> list[str]:
    """Columns of numbers that have to fold: those of a series are many."""
    return [name for name in ("published", "ours") if any(len(getattr(line, name)) > MOST_NUMBER for line in lines)]


def _ids(lines: list[Line], detail: str) -> str:
    ids = [line.id for line in lines if line.detail == detail]
    return ids[0] if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} more" if len(ids) > 3 else ", ".join(ids)


def _cells(line: Line) -> list[Any]:
    """One printed line: an answer, or those of a series together."""
    from rich.text import Text

    style = _STYLES.get(line.verdict, "yellow" if line.verdict.startswith("needs") else "dim")
    what = f"{', '.join(filter(None, (line.model, line.options)))}: {line.metric}"
    return [line.id, what, line.published, line.ours, Text(line.verdict, style)]
