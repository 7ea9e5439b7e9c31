"""`deeplab segment`: images to label maps and overlays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    expanded,
    parse_net_options,
    parse_numbers,
)

if TYPE_CHECKING:
    from rich.text import Text

    from deeplab_repro.predict.segmenter import Segmenter


def segment(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMG", help="Images, folders of them, or videos.", show_default=False)
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
    """Segment images and videos.

    Writes for each image NAME.png, the label map with its palette, and NAME_overlay.png, its colours over the image
    with a legend; for each video NAME_overlay.mp4, frame by frame, without sound. Patterns may be quoted.
    Images are padded, the mean is subtracted and the scores are cropped as the original release does. All images are
    read before the first is segmented, so that a bad one is found at once.

    [dim]deeplab segment photos/ -o out --crf[/dim]

    [dim]deeplab segment 'photos/*.jpg' drive.mp4 -o out[/dim]

    [dim]deeplab segment a.jpg --model deploy.prototxt --weights w.caffemodel -o out[/dim]
    """
    from deeplab_repro.cli.output import check_json, console, progress, table, write_json
    from deeplab_repro.files.atomic import check_output_folder, output_folder
    from deeplab_repro.files.images import find_images, read_image
    from deeplab_repro.predict.opening import check_model
    from deeplab_repro.predict.pictures import distinct_names, save_pictures
    from deeplab_repro.predict.video import is_video, open_video

    check_json(json)
    check_output_folder(output)
    factors, means = parse_numbers("--scales", scales), parse_numbers("--mean", mean) if mean else None
    files = find_images(expanded(images))
    names = distinct_names(files)
    assert model is not None  # it has a default here
    check_model(model, weights)
    for file in progress(files, "checking"):
        if is_video(file):
            open_video(file)
        else:
            read_image(file)

    from deeplab_repro.crf.model import CRFParams
    from deeplab_repro.predict.preprocessing import MODELS, bundled_record
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
    if model in ("bundled", *MODELS):
        known = ", ".join(segmenter.class_names)
        about = bundled_record(model)["about"]
        note = f"the bundled model was trained on {about} and knows {known}; --model names another"
        print(f"note: {note}", file=sys.stderr)
    segmenter.crf = (segmenter.crf or CRFParams()) if crf else None
    rows: list[dict[str, Any]] = []
    with output_folder(output):
        pairs = zip(files, names, strict=True)
        # A video has a bar of its own, and a terminal shows one.
        for file, name in pairs if any(map(is_video, files)) else progress(pairs, "segmenting", len(files)):
            try:
                if is_video(file):
                    rows.append({"image": str(file), **_segment_video(segmenter, file, output, name, opacity)})
                    continue
                segmentation = segmenter(read_image(file))
            except ValueError as error:
                told = str(error).startswith(str(file))
                raise error if told else ValueError(f"{file}: {error}") from error
            rows.append({"image": str(file), **save_pictures(segmentation, output, name, opacity)})
    answer = {"model": model, "weights": weights, "crf": crf, "scales": factors, "images": rows}
    if write_json(answer, json):
        columns = ("image", "labels", "share of the pixels")
        cells = [(row["image"], row.get("labels", row["overlay"]), _shares(row["shares"], segmenter)) for row in rows]
        console().print(table(columns, cells, left=columns))


def _segment_video(segmenter: Segmenter, file: Path, output: Path, name: str, opacity: float) -> dict[str, Any]:
    """NAME_overlay.mp4, and what the table says of it: shares are those of all frames."""
    from collections import Counter

    from deeplab_repro.cli.output import progress
    from deeplab_repro.predict.pictures import named_shares
    from deeplab_repro.predict.video import open_video, written_video
    from deeplab_repro.report.legend import entries, with_legend

    video = open_video(file)
    target = output / f"{name}_overlay.mp4"
    total: Counter[int] = Counter()
    count, size = 0, (0, 0)
    with written_video(target, video.rate) as writer:
        for frame in progress(video, f"segmenting {file.name}", video.frames or None):
            segmentation = segmenter(frame)
            total.update(segmentation.shares())
            # All classes, in one order: the strip may not change from frame to frame.
            known = entries(range(len(segmentation.class_names)), segmentation.class_names, segmentation.palette)
            writer.write(with_legend(segmentation.overlay(opacity), known))
            count, size = count + 1, segmentation.labels.shape
    shares = {label: share / count for label, share in total.most_common()}
    facts = {"height": size[0], "width": size[1], "frames": count, "overlay": str(target)}
    return {**facts, "shares": named_shares(shares, segmenter.class_names)}


def _shares(shares: dict[str, float], segmenter: Segmenter, most: int = 4) -> Text:
    """The largest shares, each behind its colour."""
    from rich.text import Text

    text = Text()
    for place, (name, share) in enumerate(list(shares.items())[:most]):
        label = segmenter.class_names.index(name) if name in segmenter.class_names else int(name)
        text.append(", " if place else "")
        text.append("\u25a0 ", f"rgb({','.join(map(str, segmenter.palette[label].tolist()))})")
        text.append(f"{name} {share:.1%}")
    return text.append(", ..." if len(shares) > most else "")
