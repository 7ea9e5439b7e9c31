"""`deeplab segment`: images to label maps and overlays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from deeplab_repro.cli.eval_options import FlipOption, ModelOption, ScalesOption, WeightsOption
from deeplab_repro.cli.options import (
    Device,
    DeviceOption,
    DialectOption,
    JsonOption,
    LevelOption,
    StageOption,
    VariablesOption,
    parse_net_options,
    parse_numbers,
)


def segment(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMG", help="Images, or folders of them.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where the pictures go.")],
    model: ModelOption = "bundled",
    weights: WeightsOption = None,
    crf: Annotated[
        bool, typer.Option("--crf/--no-crf", help="Refine by the dense CRF, with the model's parameters.")
    ] = False,
    scales: ScalesOption = "1",
    flip: FlipOption = False,
    mean: Annotated[
        str | None,
        typer.Option("--mean", metavar="B,G,R", help="Mean to subtract instead of the model's.", show_default=False),
    ] = None,
    score_blob: Annotated[
        str | None,
        typer.Option("--score-blob", metavar="BLOB", help="Blob of the scores, if not the last.", show_default=False),
    ] = None,
    opacity: Annotated[float, typer.Option("--opacity", min=0, max=1, help="Of the colours in the overlay.")] = 0.5,
    variables: VariablesOption = None,
    dialect: DialectOption = "auto",
    stage: StageOption = None,
    level: LevelOption = None,
    device: DeviceOption = Device.auto,
    json: JsonOption = None,
) -> None:
    """Segment images.

    Writes for each image NAME.png, the label map with its palette, and NAME_overlay.png, its colours over the image.
    Images are padded, the mean is subtracted and the scores are cropped as the original release does. All images are
    read before the first is segmented, so that a bad one is found at once.

    [dim]deeplab segment photos/ -o out --crf[/dim]

    [dim]deeplab segment a.jpg --model deploy.prototxt --weights w.caffemodel -o out[/dim]
    """
    from deeplab_repro.cli.output import check_json, console, progress, table, write_json
    from deeplab_repro.files.atomic import output_folder
    from deeplab_repro.files.images import find_images, read_image
    from deeplab_repro.predict.opening import check_model
    from deeplab_repro.predict.pictures import distinct_names, save_pictures

    check_json(json)
    factors, means = parse_numbers("--scales", scales), parse_numbers("--mean", mean) if mean else None
    files = find_images(images)
    names = distinct_names(files)
    assert model is not None  # it has a default here
    check_model(model, weights)
    for file in progress(files, "checking"):
        read_image(file)

    from deeplab_repro.crf.model import CRFParams
    from deeplab_repro.predict.segmenter import Segmenter

    segmenter = Segmenter(
        model,
        weights,
        mean_bgr=means,
        scales=factors,
        flip=flip,
        score_blob=score_blob,
        device=device,
        **parse_net_options(variables, dialect, stage, level),
    )
    segmenter.crf = (segmenter.crf or CRFParams()) if crf else None
    rows: list[dict[str, Any]] = []
    with output_folder(output):
        for file, name in progress(zip(files, names, strict=True), "segmenting", len(files)):
            try:
                segmentation = segmenter(read_image(file))
            except ValueError as error:
                raise ValueError(f"{file}: {error}") from error
            rows.append({"image": str(file), **save_pictures(segmentation, output, name, opacity)})
    answer = {"model": model, "weights": weights, "crf": crf, "scales": factors, "images": rows}
    if write_json(answer, json):
        columns = ("image", "labels", "share of the pixels")
        cells = [(row["image"], row["labels"], _shares(row["shares"])) for row in rows]
        console().print(table(columns, cells, left=columns))


def _shares(shares: dict[str, float], most: int = 4) -> str:
    texts = [f"{name} {share:.1%}" for name, share in list(shares.items())[:most]]
    return ", ".join(texts + (["..."] if len(shares) > most else []))
