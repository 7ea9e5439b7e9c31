"""`deeplab weights`: the original files, where they are and whether they are what they should be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeplab_repro.cli.options import JsonOption

if TYPE_CHECKING:
    from deeplab_repro.catalog import Store
    from deeplab_repro.catalog.download import Progress

app = typer.Typer(help="The original weight files: list, fetch, check and add them.", no_args_is_help=True)

FolderOption = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="The folder of weights; $DEEPLAB_WEIGHTS, or the cache, without it."),
]


@app.command("list")
def list_files(directory: FolderOption = None, json: JsonOption = None) -> None:
    """Show the catalog: every original file, what it is for, and whether it is here."""
    from deeplab_repro.catalog import read_catalog
    from deeplab_repro.catalog.listing import listed
    from deeplab_repro.cli.output import check_json, console, table, write_json

    check_json(json)
    catalog, store = read_catalog(), _store(directory)
    rows = listed(catalog.entries.values(), store)
    if write_json({"folder": store.folder, "files": rows}, json):
        columns = ("name", "model", "trained on", "tensors", "parameters", "here", "addresses")
        cells = [
            (
                row["name"],
                row["model"] or "-",
                row["trained_on"],
                row["tensors"],
                f"{row['parameters']:,}",
                _state(row),
                len(row["urls"]) if row["released"] else "never released",
            )
            for row in rows
        ]
        out = console()
        out.print(table(columns, cells, left=("name", "model", "trained on", "here")))
        for lists in catalog.lists.values():
            out.print(f"{lists.name}: {lists.note}", soft_wrap=True)
        out.print(f"Folder: {store.folder}", soft_wrap=True)


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Of `deeplab weights list`, or voc12_lists.")],
    directory: FolderOption = None,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Another address than the catalog's.", show_default=False),
    ] = None,
    prototxt: Annotated[
        bool, typer.Option("--prototxt", help="The prototxts that stood beside the file, too, into the folder NAME.")
    ] = False,
) -> None:
    """Download original files and check them.

    A download that was cut off or killed goes on where it stopped. What arrives must hold the tensors of its net; its
    checksum is noted the first time, for later ones to be held against. Archives stay in the folder for their other
    files. Many of the addresses are dead: a file obtained elsewhere is taken by [b]deeplab weights add[/b].

    [dim]deeplab weights fetch v2_resnet101_train --prototxt --dir weights[/dim]
    """
    from deeplab_repro.catalog import read_catalog
    from deeplab_repro.catalog.download import DownloadError

    catalog, store = read_catalog(), _store(directory)
    if url is not None and len(names) > 1:
        raise ValueError("--url: give one NAME with it")
    wanted = [catalog.lists[name] if name in catalog.lists else catalog.entry(name) for name in names]
    failures = []
    for file in wanted:
        with _bar(file.name) as progress:
            try:
                if file.name in catalog.lists:
                    typer.echo(f"{file.name}: {store.fetch_lists(catalog.lists[file.name], progress)}")
                    continue
                entry = catalog.entry(file.name)
                typer.echo(f"{file.name}: {store.fetch(entry, progress, _complain, (url,) if url else ())}")
                if prototxt:
                    typer.echo(f"{file.name}: {store.fetch_beside(entry, progress)}")
            except DownloadError as error:
                failures.append(str(error))
    if failures:
        raise DownloadError("; ".join(failures))


@app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Those that are here, without any.")
    ] = None,
    directory: FolderOption = None,
    json: JsonOption = None,
) -> None:
    """Check the files that are here: their checksums, and every tensor's name and shape. Exit code 1 when one fails."""
    from deeplab_repro.catalog import read_catalog
    from deeplab_repro.catalog.listing import checked, present
    from deeplab_repro.cli.output import check_json, console, table, write_json

    check_json(json)
    catalog, store = read_catalog(), _store(directory)
    wanted = [catalog.entry(name) for name in names] if names else present(catalog.entries.values(), store)
    rows = checked(wanted, store)
    if write_json({"folder": store.folder, "files": rows}, json):
        cells = [
            (row["name"], row["tensors"], f"{row['parameters']:,}", row["problem"] or "as it should be") for row in rows
        ]
        console().print(table(("name", "tensors", "parameters", "state"), cells, left=("name", "state")))
    if any(row["problem"] for row in rows):
        raise typer.Exit(1)


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the file is, by its name in the catalog.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .caffemodel, .caffemodel.h5, port's .pth, or .zip.")],
    directory: FolderOption = None,
) -> None:
    """Take a file obtained elsewhere: check its tensors against the catalog's and copy it into the folder.

    [dim]deeplab weights add v2_resnet101_train prototxt_and_model.zip[/dim]
    """
    from deeplab_repro.catalog import expected_tensors, read_catalog

    entry = read_catalog().entry(name)
    path = _store(directory).add(entry, file)
    expected = expected_tensors(entry)
    typer.echo(f"{name}: {expected.blobs} tensors of {expected.parameters:,} numbers as they should be; {path}")


def _store(directory: Path | None) -> Store:
    from deeplab_repro.catalog import Store, default_folder

    return Store(directory or default_folder())


def _state(row: dict[str, Any]) -> str:
    if row["path"] is None:
        return "-"
    return "yes" if row["sha256"] else "yes, not checked yet"


def _complain(sentence: str) -> None:
    typer.echo(sentence, err=True)


@contextmanager
def _bar(name: str) -> Iterator[Progress | None]:
    """A bar on standard error while a file comes; None when that is no terminal."""
    import sys

    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda have, total: bar.update(task, completed=have, total=total)
