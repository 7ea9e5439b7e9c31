"""`deeplab demo`: the main job on the bundled model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from deeplab_repro.cli.options import Device, DeviceOption, JsonOption


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where pictures and report.html go.")
    ] = Path("demo-out"),
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Score a labelled folder of the model's classes, too (VOC's layout, split val).",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = Device.auto,
    json: JsonOption = None,
) -> None:
    """Show the main job on the bundled model: convert, segment, refine.

    The bundled .prototxt and .caffemodel, in the original's format, become a network; it segments photographs that it
    has never seen; the dense CRF refines them. Pictures and a self-contained report.html go to the folder. Exit code 1
    when what it finds is not what is recorded.
    """
    from deeplab_repro.cli.output import check_json, progress, write_json
    from deeplab_repro.demo.run import run_demo
    from deeplab_repro.jobs.devices import pick_device

    check_json(json)
    answer = run_demo(output, device=str(pick_device(device)), data=data, progress=progress)
    if write_json(answer, json):
        _print(answer)
    if not answer["matches_recorded"]:
        raise typer.Exit(1)


def _print(answer: dict[str, Any]) -> None:
    from deeplab_repro.cli.output import console, table

    out = console()
    rows = [
        (name, ", ".join(f"{label} {100 * share:.1f} %" for label, share in found["after"].items()))
        for name, found in answer["photographs"].items()
    ]
    out.print(table(("photograph", "after the CRF"), rows, left=("photograph", "after the CRF")))
    if "miou_after" in answer:
        before, after = answer["iou_before"], answer["iou_after"]
        classes = [(name, f"{before[name]:.4f}", f"{after[name]:.4f}") for name in after]
        classes.append(("mean", f"{answer['miou_before']:.4f}", f"{answer['miou_after']:.4f}"))
        title = f"IoU on {answer['images']} photographs"
        out.print(table(("class", "before", "after"), classes, left=("class",), title=title))
    seconds = ", ".join(f"{stage} {time:.1f}" for stage, time in answer["seconds"].items())
    out.print(f"{len(rows)} photographs on {answer['device']}; seconds: {seconds}", markup=False)
    if not answer["matches_recorded"]:
        out.print("The labels are not the recorded ones: this build computes something else.", style="bold red")
    out.print(f"report: {answer['report']}", markup=False)
