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
    scenes: Annotated[
        int | None,
        typer.Option("--scenes", min=1, help="How many scenes; else those with recorded scores.", show_default=False),
    ] = None,
    device: DeviceOption = Device.auto,
    json: JsonOption = None,
) -> None:
    """Show the main job on the bundled model: convert, segment, refine, score.

    The bundled .prototxt and .caffemodel, in the original's format, become a network; it segments drawn street scenes
    it has never seen; the dense CRF refines them; mean IoU before and after stands beside the recorded values.
    Pictures and a self-contained report.html go to the folder. Exit code 1 when the scores are not the recorded ones.
    """
    from deeplab_repro.cli.output import check_json, progress, write_json
    from deeplab_repro.demo.run import run_demo
    from deeplab_repro.jobs.devices import pick_device

    check_json(json)
    answer = run_demo(output, device=str(pick_device(device)), scenes=scenes, progress=progress)
    if write_json(answer, json):
        _print(answer)
    if answer["matches_recorded"] is False:
        raise typer.Exit(1)


def _print(answer: dict[str, Any]) -> None:
    from deeplab_repro.cli.output import console, table

    out = console()
    recorded = answer["matches_recorded"] is not None
    rows = [
        (f"{name} the CRF", f"{answer[f'miou_{name}']:.4f}", f"{answer[f'recorded_{name}']:.4f}" if recorded else "")
        for name in ("before", "after")
    ]
    classes = [(name, f"{answer['iou_before'][name]:.4f}", f"{iou:.4f}") for name, iou in answer["iou_after"].items()]
    out.print(table(("class", "before", "after"), classes, left=("class",), title="IoU"))
    out.print(table(("mean IoU", "here", "recorded"), rows, left=("mean IoU",)))
    seconds = ", ".join(f"{stage} {time:.1f}" for stage, time in answer["seconds"].items())
    out.print(f"{answer['scenes']} scenes on {answer['device']}; seconds: {seconds}", markup=False)
    if answer["matches_recorded"] is False:
        out.print("The scores are not the recorded ones: this build computes something else.", style="bold red")
    out.print(f"report: {answer['report']}", markup=False)
