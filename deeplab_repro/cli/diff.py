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
    NetArgument,
    PhaseOption,
    VariablesOption,
    parse_phase,
    parse_variables,
)

if TYPE_CHECKING:
    from deeplab_repro.diff import BlobDiff


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
    rtol: Annotated[float, typer.Option("--rtol", min=0, help="Share of max|golden| a blob may be off by.")] = 5e-5,
    atol: Annotated[float, typer.Option("--atol", min=0, help="And this much more.")] = 1e-6,
    phase: PhaseOption = "TEST",
    variables: VariablesOption = None,
    dialect: DialectOption = "auto",
    device: DeviceOption = Device.cpu,
    json: JsonOption = None,
) -> None:
    """Compare a net with what Caffe computed, layer by layer.

    The recording is an .npz with [b]in/BLOB[/b] and [b]out/BLOB[/b] arrays (or plain blob names, as
    [b]np.savez(f, **{k: b.data for k, b in net.blobs.items()})[/b] in pycaffe gives). Each recorded blob gets a row:
    its layer, shape, largest difference, the same relative to max|golden|, where it is, and the cosine of both.
    Exit code 1 when a blob is off by more than ATOL + RTOL * max|golden|.

    [dim]deeplab diff deploy.prototxt weights.caffemodel --golden blobs.npz[/dim]
    """
    from deeplab_repro.cli.output import check_json, progress, write_json
    from deeplab_repro.diff import diff_net, golden_files, load_parameters, read_recordings
    from deeplab_repro.network import load_caffe
    from deeplab_repro.resolve import pick_device

    check_json(json)
    loaded = load_caffe(
        net, weights, phase=parse_phase(phase), variables=parse_variables(variables), dialect=dialect
    ).to(pick_device(device))
    files = [file for each in golden for file in golden_files(each)]
    rows = []
    for file in progress(files, "comparing"):
        recordings = read_recordings(file, loaded.inputs)
        for number, recording in enumerate(recordings):
            if weights is None:
                load_parameters(loaded, recording)
            name = f"{file} pass {number}" if len(recordings) > 1 else str(file)
            rows += diff_net(loaded, recording, rtol, atol, name)
    if not rows:
        raise ValueError(f"{', '.join(map(str, files))}: no blobs to compare (out/BLOB, sample/BLOB or plain names)")
    bad = [row for row in rows if not row.ok]
    answer = {"ok": not bad, "rtol": rtol, "atol": atol, "rows": [asdict(row) for row in rows]}
    if write_json(answer, json):
        _print(rows, bad)
    if bad:
        raise typer.Exit(1)


def _print(rows: list[BlobDiff], bad: list[BlobDiff]) -> None:
    from rich.text import Text

    from deeplab_repro.cli.output import console, table

    out = console()
    columns = ("layer", "type", "blob", "shape", "max abs", "max rel", "worst at", "ours", "golden", "cosine", "")
    for source in dict.fromkeys(row.source for row in rows):
        cells = [
            (
                row.layer,
                row.type,
                row.blob,
                " x ".join(map(str, row.shape)),
                f"{row.max_abs:.2e}",
                f"{row.max_rel:.2e}",
                ",".join(map(str, row.worst)),
                f"{row.ours:.5g}",
                f"{row.golden:.5g}",
                f"{row.cosine:.7f}",
                Text("ok", "green") if row.ok else Text(row.note or "off", "bold red"),
            )
            for row in rows
            if row.source == source
        ]
        out.print(table(columns, cells, left=("layer", "type", "blob", ""), title=source))
    if bad:
        first = bad[0]
        out.print(f"{len(bad)} of {len(rows)} blobs beyond tolerance; the first is {first.blob}", markup=False)
    else:
        largest = max(row.max_rel for row in rows)
        out.print(f"{len(rows)} blobs agree; largest relative difference {largest:.2e}", markup=False)
