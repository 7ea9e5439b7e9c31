"""`deeplab bench`: what is fast here, and against whom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeplab_repro.cli.options import Device, DeviceOption


def bench(
    families: Annotated[
        list[str], typer.Argument(metavar="conv|crf|net...", help="What to time; several may be named.")
    ],
    device: DeviceOption = Device.cpu,
    full: Annotated[bool, typer.Option("--full", help="Every shape, not the few that stand for them.")] = False,
    only: Annotated[
        str, typer.Option("--only", metavar="REGEX", help="Of conv, crf and net, the cases whose names match.")
    ] = "",
    batch: Annotated[
        list[int] | None, typer.Option("--batch", help="Images at once, 1 by default; may be repeated.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", help="fp32 (by default), tf32, fp16 or bf16; may be repeated."),
    ] = None,
    direction: Annotated[
        list[str] | None,
        typer.Option("--direction", help="Of convolutions: forward (by default) or backward; may be repeated."),
    ] = None,
    accuracy: Annotated[
        bool, typer.Option("--accuracy", help="Of crf: the lattice's own error against the exact mode, no times.")
    ] = False,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Photographs for --accuracy; else drawn scenes.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Timing budget of a convolution; nets take six.")] = 5.0,
    threads: Annotated[int, typer.Option("--threads", help="Processor threads; 0 leaves torch its choice.")] = 0,
    json: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write the rows and the machine as JSON; '-' prints them."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw speed over rate and times (.png, .svg, .pdf).")
    ] = None,
) -> None:
    """Time convolutions, the dense CRF or whole nets against named peers.

    Every result is checked before it is timed: a wrong one gets no time and exit code 1. All programs take turns in
    one process. conv: F.conv2d in both layouts. crf: pydensecrf, where installed; --full adds 321x321 and 2048x1024 and
    2, 60 and 150 labels. net: torch in both layouts, torch.compile and, where installed, ONNX Runtime, OpenVINO and
    OpenCV on the net's ONNX file.

    [dim]deeplab bench net --threads 2 --json net.json --plot net.png[/dim]
    """
    from deeplab_repro.bench.run import FAMILIES, main
    from deeplab_repro.cli.output import check_json
    from deeplab_repro.files.atomic import check_output_file
    from deeplab_repro.jobs.devices import pick_device
    from prototxt_import.errors import nearest

    for family in families:
        if family not in FAMILIES:
            raise ValueError(f"{family}: cannot be timed; choose {', '.join(FAMILIES)}{nearest(family, FAMILIES)}")
    if accuracy and families != ["crf"]:
        raise ValueError(f"--accuracy is of crf alone, not of {', '.join(families)}")
    if images is not None and not accuracy:
        raise ValueError("--images: only --accuracy reads photographs")
    check_json(json)
    if plot is not None:
        check_output_file(plot)
    arguments = [*families, "--device", pick_device(device).type, "--seconds", str(seconds), "--threads", str(threads)]
    arguments += ["--full"] * full + (["--only", only] if only else [])
    arguments += ["--accuracy"] * accuracy + (["--images", str(images)] if images is not None else [])
    for name, values in (("--batch", batch), ("--precision", precision), ("--direction", direction)):
        arguments += [name, *map(str, values)] if values else []
    arguments += ["--json", json] if json else []
    arguments += ["--plot", str(plot)] if plot else []
    raise typer.Exit(main(arguments, "deeplab bench"))
