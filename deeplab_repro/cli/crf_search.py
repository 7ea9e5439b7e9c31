"""`deeplab crf-search`: find the dense CRF's parameters on stored scores."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deeplab_repro.cli.crf import Normalization, NormalizationOption, ProbabilitiesOption
from deeplab_repro.cli.options import Device, DeviceOption, JobsOption, JsonOption


class Ranges(StrEnum):
    """The first grid of a paper."""

    v1 = "v1"
    v2 = "v2"


def crf_search(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder of images.", show_default=False)],
    scores: Annotated[
        Path, typer.Argument(metavar="SCORES", help="Folder of stored scores: .npy, .npz, .mat or .bin.")
    ],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="Folder of true label maps: ID.png, palette or grey.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where state and results go.")],
    ranges: Annotated[
        Ranges, typer.Option("--ranges", help="The paper's first grid; the next three options replace its axes.")
    ] = Ranges.v2,
    bilateral_weight: Annotated[
        str | None, typer.Option("--bilateral-weight", metavar="A:STEP:B", help="Or A:B, or A,B,C.")
    ] = None,
    bilateral_xy_std: Annotated[str | None, typer.Option("--bilateral-xy-std", metavar="A:STEP:B", help="Pixels.")] = (
        None
    ),
    bilateral_rgb_std: Annotated[
        str | None, typer.Option("--bilateral-rgb-std", metavar="A:STEP:B", help="Of 255.")
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", min=0, help="Of refinement; each halves the steps around the best.")
    ] = 1,
    count: Annotated[int, typer.Option("--images", min=1, help="How many images, drawn at random.")] = 100,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the drawing.")] = 10,
    gaussian_weight: Annotated[float, typer.Option("--gaussian-weight", help="Of the smoothness kernel, or 0.")] = 3,
    gaussian_xy_std: Annotated[float, typer.Option("--gaussian-xy-std", help="Its reach, pixels.")] = 3,
    iterations: Annotated[int, typer.Option("--iterations", min=0, help="Of mean field.")] = 10,
    normalization: NormalizationOption = Normalization.after,
    probabilities: ProbabilitiesOption = None,
    ignore: Annotated[int, typer.Option("--ignore", help="Label that counts as no class.")] = 255,
    jobs: JobsOption = 1,
    device: DeviceOption = Device.auto,
    json: JsonOption = None,
) -> None:
    """Search the dense CRF's bilateral weight and reaches, coarse to fine, on stored scores.

    As in the papers: a grid over weight, xy std and rgb std is scored by mean IoU on 100 images, then refined around
    the best. Writes search.json (all settings) and heatmap.png to DIR. Its state.json is written after each image: to
    go on after an interruption, repeat the command.

    [dim]deeplab crf-search JPEGImages/ fc8/ SegmentationClass/ --ranges v1 --jobs 4 -o search/[/dim]
    """
    from deeplab_repro.cli.output import check_json, console, progress, table, write_json
    from deeplab_repro.files.atomic import output_folder

    check_json(json)
    for folder in (images, scores, truth):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder")

    from deeplab_repro.crf.model import CRFParams
    from deeplab_repro.evaluate.crf_search import RANGES, Axis, Search, SearchPlan, find_scored
    from deeplab_repro.evaluate.search_report import heat_maps, search_facts
    from deeplab_repro.jobs.devices import pick_device
    from deeplab_repro.report.plots import save_heat_maps

    given = {"weight": bilateral_weight, "xy_std": bilateral_xy_std, "rgb_std": bilateral_rgb_std}
    plan = SearchPlan(
        items=find_scored(images, scores, truth, count, seed),
        params=CRFParams(
            iterations=iterations,
            gaussian_weight=gaussian_weight,
            gaussian_xy_std=gaussian_xy_std,
            normalization=normalization.value,
        ),
        **{name: Axis.parse(RANGES[ranges.value][name] if text is None else text) for name, text in given.items()},
        rounds=rounds,
        probabilities=probabilities,
        ignore=ignore,
        device=str(pick_device(device)),
    )
    with output_folder(output):
        search = Search(plan, output)
        for _ in progress(search.run(jobs), "searching", search.total()):
            pass
        answer = search_facts(search)
        write_json(answer, str(output / "search.json"))
        panels = heat_maps(search.results, search.best())
        save_heat_maps(panels, output / "heatmap.png", "weight", "xy std, pixels", "mean IoU")
    if write_json(answer, json):
        rows = [(f"{r['weight']:g}", f"{r['xy_std']:g}", f"{r['rgb_std']:g}", f"{100 * r['miou']:.2f}",
                 f"{100 * r['pixel_accuracy']:.2f}") for r in answer["settings"][:10]]  # fmt: skip
        without = search.baseline
        rows.append(("none", "", "", f"{100 * without['miou']:.2f}", f"{100 * without['pixel_accuracy']:.2f}"))
        columns = ("weight", "xy std", "rgb std", "mean IoU, %", "pixels right, %")
        console().print(
            table(columns, rows, title=f"best of {len(search.results)} settings on {len(plan.items)} images")
        )
        for note in answer["notes"]:
            print(f"note: {note}")
