"""`deeplab diff`: a net against recorded blobs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeplab_repro.cli.options import (
    Device,
    DeviceOption,
    DialectOption,
    JsonOption,
    LevelOption,
    NetArgument,
    PhaseOption,
    StageOption,
    VariablesOption,
    parse_net_options,
    parse_phase,
)

if TYPE_CHECKING:
    from deeplab_repro.inspect.diff import Difference

_STYLES = {"ok": "green", "off": "bold red", "inherited": "yellow", "after": "dim"}


def diff(
    net: NetArgument,
    golden: Annotated[
        list[Path],
        typer.Option("--golden", metavar="NPZ", help="Recorded blobs, or a folder of them; may be repeated."),
    ],
    weights: Annotated[
        Path | None,
        typer.Argument(metavar="W", help="Its .caffemodel; a checkpoint brings its own.", show_default=False),
    ] = None,
    backward: Annotated[
        bool, typer.Option("--backward", help="Compare recorded gradients too, of parameters and blobs.")
    ] = False,
    rtol: Annotated[float, typer.Option("--rtol", min=0, help="Share of max|golden| a blob may be off by.")] = 5e-5,
    atol: Annotated[float, typer.Option("--atol", min=0, help="And this much more.")] = 1e-6,
    phase: PhaseOption = "TEST",
    variables: VariablesOption = None,
    dialect: DialectOption = "auto",
    stage: StageOption = None,
    level: LevelOption = None,
    device: DeviceOption = Device.cpu,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Draw it, too: one page that needs nothing else.", show_default=False
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Compare a net with what Caffe computed, layer by layer.

    The recording is an .npz with [b]in/BLOB[/b] and [b]out/BLOB[/b] arrays, or plain blob names, as
    [b]np.savez(f, **{k: b.data for k, b in net.blobs.items()})[/b] in pycaffe gives. Each recorded blob gets a row:
    its layer, shape, largest difference, the same relative to max|golden|, where it is, and the cosine of both.

    Rows stand in the order of the net and are green up to the first layer that leaves its tolerance, which the last
    line names: look there. A later row that is off because it reads something that was off already is marked
    [b]inherited?[/b]; one that reads nothing of it is [b]off[/b] in its own right.

    [b]--backward[/b] compares [b]pdiff/LAYER/INDEX[/b] and [b]diff/BLOB[/b] as well, from the last layer to the first;
    the backward pass starts from [b]topdiff/BLOB[/b] where recorded, else from the loss. A net with Dropout in TRAIN
    needs its masks, [b]mask/LAYER[/b].

    Exit code 1 when something is off by more than ATOL + RTOL * max|golden|.

    [dim]deeplab diff deploy.prototxt weights.caffemodel --golden blobs.npz --html diff.html[/dim]
    """
    from deeplab_repro.cli.output import check_json, print_notes, progress, write_json
    from deeplab_repro.files.atomic import check_output_file
    from deeplab_repro.inspect.diff import diff_files, first_off, summary
    from deeplab_repro.inspect.recording import golden_files
    from deeplab_repro.jobs.devices import pick_device
    from deeplab_repro.net.load import load_caffe

    check_json(json)
    if html is not None:
        check_output_file(html)
    files = [file for path in golden for file in golden_files(path)]
    loaded = load_caffe(
        net, weights, phase=parse_phase(phase), **parse_net_options(variables, dialect, stage, level)
    ).to(pick_device(device))
    print_notes(loaded.spec.notes)
    compared = progress(files, "comparing")
    rows, has_more = diff_files(loaded, compared, rtol, atol, backward, own_parameters=weights is not None)
    if not rows:
        raise ValueError(f"{', '.join(map(str, files))}: no blobs to compare (out/BLOB, sample/BLOB or plain names)")
    first, sentence = first_off(rows), summary(rows)
    if html is not None:
        from deeplab_repro.inspect.diff_page import write_diff

        facts = {
            "net": f"{net} ({loaded.spec.phase}, dialect {loaded.spec.dialect})",
            "weights": str(weights or "from the net's file or the recording"),
            "tolerance": f"{atol:g} + {rtol:g} · max|golden|",
        }
        write_diff(f"{net.name} against its recording", rows, sentence, facts, html)
    answer = {
        "ok": first is None,
        "rtol": rtol,
        "atol": atol,
        "summary": sentence,
        "first": None if first is None else asdict(first),
        "rows": [{**asdict(row), "state": row.state} for row in rows],
    }
    if write_json(answer, json):
        _print(rows)
        print(sentence)
        if has_more:
            print("The recording holds gradients, too: --backward compares them.")
    if first is not None:
        raise typer.Exit(1)


def _print(rows: list[Difference]) -> None:
    from rich.text import Text

    from deeplab_repro.cli.output import console, shape_text, table
    from deeplab_repro.inspect.diff import verdict

    out = console()
    columns = ("layer", "type", "blob", "shape", "max abs", "max rel", "worst at", "ours", "golden", "cosine", "")
    for source in dict.fromkeys(row.source for row in rows):
        cells = [
            (
                row.layer,
                row.type,
                f"d {row.blob}" if row.kind == "gradient" else row.blob,
                shape_text(row.shape),
                f"{row.max_abs:.2e}",
                f"{row.max_rel:.2e}",
                ",".join(map(str, row.worst)),
                f"{row.ours:.5g}",
                f"{row.golden:.5g}",
                f"{row.cosine:.7f}",
                Text(verdict(row), _STYLES[row.state]),
            )
            for row in rows
            if row.source == source
        ]
        out.print(table(columns, cells, left=("layer", "type", "blob", ""), title=source))
