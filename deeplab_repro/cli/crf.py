"""`deeplab crf`: refine stored scores."""

from __future__ import annotations

from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeplab_repro.cli.options import Device, DeviceOption, JobsOption, JsonOption

if TYPE_CHECKING:
    from deeplab_repro.crf.model import CRFParams
    from deeplab_repro.evaluate.refine import CrfSettings


class Normalization(StrEnum):
    """Where a kernel's filtered ones are divided out."""

    no = "no"
    before = "before"
    after = "after"
    symmetric = "symmetric"


NormalizationOption = Annotated[
    Normalization, typer.Option("--normalization", help="after: DeepLab's; symmetric: pydensecrf's.")
]
ProbabilitiesOption = Annotated[
    bool | None,
    typer.Option(
        "--probabilities/--logits",
        help="What the scores are, where not as the format says.",
        show_default="by the format",
    ),
]


def _number(option: str, default: float, help: str) -> Any:
    return typer.Option(option, help=help, show_default=f"{default:g}")


def crf(
    image: Annotated[
        Path, typer.Argument(metavar="IMG", help="The image: .ppm, .png, .jpg ...; or a folder.", show_default=False)
    ],
    scores: Annotated[
        Path,
        typer.Option("--scores", metavar="FILE", help=".npy, .npz, .mat (logits) or .bin (probabilities); or a folder"),
    ],
    output: Annotated[
        list[Path],
        typer.Option("-o", "--output", metavar="FILE", help=".png, .bin, .npy, .mat; may be repeated; or a folder."),
    ],
    preset: Annotated[
        str | None,
        typer.Option("--preset", metavar="NAME", help="Published parameters, which the options below override."),
    ] = None,
    iterations: Annotated[
        int | None, typer.Option("--iterations", min=0, help="Of mean field.", show_default="10")
    ] = None,
    gaussian_weight: Annotated[float | None, _number("--gaussian-weight", 3, "Of the smoothness kernel, or 0.")] = None,
    gaussian_xy_std: Annotated[float | None, _number("--gaussian-xy-std", 3, "Its reach, pixels.")] = None,
    bilateral_weight: Annotated[
        float | None, _number("--bilateral-weight", 4, "Of the appearance kernel, or 0.")
    ] = None,
    bilateral_xy_std: Annotated[float | None, _number("--bilateral-xy-std", 121, "Its reach, pixels.")] = None,
    bilateral_rgb_std: Annotated[
        float | None, _number("--bilateral-rgb-std", 5, "Its reach in colour, of 255.")
    ] = None,
    normalization: NormalizationOption = Normalization.after,
    method: Annotated[str, typer.Option("--method", help="How kernels are filtered.")] = "lattice",
    prune: Annotated[
        float, typer.Option("--prune", help="Leave out labels whose probability nowhere exceeds this; approximate.")
    ] = 0.0,
    probabilities: ProbabilitiesOption = None,
    formats: Annotated[
        str, typer.Option("--formats", metavar="F,F", help="Of a folder's results: png, bin, npy, mat.")
    ] = "png",
    jobs: JobsOption = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write a folder's results anew instead of completing them.")
    ] = False,
    trace: Annotated[
        bool, typer.Option("--trace", help="Show free energy and largest change of each iteration (one image).")
    ] = False,
    device: DeviceOption = Device.auto,
    json: JsonOption = None,
) -> None:
    """Refine stored scores by the dense CRF, in the original pipeline's formats.

    Scores: .npy or .npz [L, H, W]; .mat with the variable data, [W, H, L] single, as Caffe's MatWrite leaves it (the
    part beyond the image, which is padding, is cut off); .bin with three int32 (rows, columns, labels) and float32
    probabilities column by column. Other sizes than the image's are refused.

    Output by suffix: .png the label map with the VOC palette; .bin the label map as int16, as the original program
    writes it; .npy and .mat the marginals.

    With a folder of images, a folder of scores and a folder to write to, every score file is refined with the image of
    its name (ID_blob_0.mat goes with ID.jpg). Results that are there already, from the same files, are kept, so that an
    interrupted run is completed by repeating the command; the settings are noted in crf.json and may not change
    meanwhile. Under torchrun the files are shared out.

    [dim]deeplab crf 2007_000033.ppm --scores 2007_000033_blob_0.mat --preset v2_vgg16 -o 2007_000033.png[/dim]

    [dim]deeplab crf JPEGImages/ --scores fc8/ --preset v1_largefov -o post_densecrf/ --formats png,bin --jobs 4[/dim]
    """
    from deeplab_repro.cli.app import one_line
    from deeplab_repro.cli.output import check_json, progress
    from deeplab_repro.files.atomic import check_output_file

    folder = image.is_dir()
    if folder:
        suffixes = _check_folder(scores, output, formats, trace)
    else:
        for target in output:
            _check_suffix(str(target), target.suffix.lower())
            check_output_file(target)
    check_json(json)
    if preset is not None:
        from deeplab_repro.crf.presets import find_preset

        find_preset(preset)  # before anything is loaded

    import torch

    from deeplab_repro.crf.model import DenseCRF
    from deeplab_repro.evaluate.refine import CrfSettings, refine_folder
    from deeplab_repro.jobs.devices import local_device, pick_device
    from deeplab_repro.jobs.ranks import joined

    given = {
        "iterations": iterations,
        "gaussian_weight": gaussian_weight,
        "gaussian_xy_std": gaussian_xy_std,
        "bilateral_weight": bilateral_weight,
        "bilateral_xy_std": bilateral_xy_std,
        "bilateral_rgb_std": bilateral_rgb_std,
        "normalization": normalization.value,
    }
    params = _params(preset, {name: value for name, value in given.items() if value is not None})
    DenseCRF(params, method, prune)
    settings = CrfSettings(params, method, prune, probabilities, str(local_device(pick_device(device))))
    with joined(torch.device("cpu")) as ranks:
        if folder:
            refined = refine_folder(
                image, scores, output[0], suffixes, settings, ranks, jobs, overwrite, progress, one_line
            )
        elif ranks.first:
            _refine_one(image, scores, output, settings, trace, json)
    if folder and ranks.first:
        _report_folder({**asdict(refined), "output": output[0], "settings": settings.record()}, json)


def _check_suffix(text: str, suffix: str) -> None:
    from deeplab_repro.files.arrays import RESULT_SUFFIXES

    if suffix not in RESULT_SUFFIXES:
        raise ValueError(f"{text}: the result is written as {', '.join(RESULT_SUFFIXES)}")


def _check_folder(scores: Path, output: list[Path], formats: str, trace: bool) -> list[str]:
    """The suffixes of --formats; ValueError where folders and files are mixed."""
    if not scores.is_dir():
        raise ValueError(f"{scores}: with a folder of images, --scores must be a folder")
    if len(output) != 1 or (output[0].exists() and not output[0].is_dir()):
        raise ValueError(f"{output[-1]}: with a folder of images, -o must be one folder")
    if trace:
        raise ValueError("--trace: is for one image, not for a folder")
    suffixes = [f".{name.strip().lstrip('.').lower()}" for name in formats.split(",")]
    for suffix in suffixes:
        _check_suffix(f"--formats {formats}", suffix)
    return suffixes


def _params(preset: str | None, given: dict[str, Any]) -> CRFParams:
    from deeplab_repro.crf.model import CRFParams

    return replace(CRFParams() if preset is None else CRFParams.preset(preset), **given)


def _refine_one(
    image: Path, scores: Path, output: list[Path], settings: CrfSettings, trace: bool, json: str | None
) -> None:
    from deeplab_repro.cli.output import console, table, write_json
    from deeplab_repro.evaluate.refine import RefineJob, refine, refine_traced

    job = RefineJob(image, scores, tuple(output))
    answer: dict[str, Any] = {"image": image, "scores": scores, "outputs": output, "settings": settings.record()}
    if not trace:
        refine(job, settings)
        if write_json(answer, json):
            _print_written(output)
        return
    traced = refine_traced(job, settings)
    energy, change = traced.free_energy.tolist(), traced.change.tolist()
    if write_json({**answer, "free_energy": energy, "change": change}, json):
        rows = [(i, f"{value:.6g}", f"{change[i - 1]:.2e}" if i else "-") for i, value in enumerate(energy)]
        console().print(table(("iteration", "free energy", "largest change"), rows))
        _print_written(output)


def _print_written(files: list[Path]) -> None:
    said = {".png": "label map", ".bin": "label map, int16", ".npy": "marginals [L, H, W]", ".mat": "marginals"}
    for file in files:
        print(f"{file}: {said[file.suffix.lower()]}")


def _report_folder(answer: dict[str, Any], json: str | None) -> None:
    from deeplab_repro.cli.output import console, write_json

    failed, refined = answer["failed"], answer["refined"]
    if write_json(answer, json) and not failed:
        console().print(f"{refined} refined, {answer['kept']} kept, in {answer['output']}")
    if failed:
        first = next(iter(failed.values()))
        raise ValueError(f"{len(failed)} of {refined + len(failed)} images failed, the first: {first}")
