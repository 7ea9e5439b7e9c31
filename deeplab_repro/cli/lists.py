"""`deeplab lists`: data sets as released, made ready for training and evaluation."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeplab_repro.cli.options import JsonOption

if TYPE_CHECKING:
    from deeplab_repro.data.sets.prepare import Source


class Kind(StrEnum):
    """The data set's release."""

    voc2012 = "voc2012"
    context = "context"
    person_part = "person-part"
    cityscapes = "cityscapes"
    camvid = "camvid"
    coco_voc = "coco-voc"
    coco_stuff = "coco-stuff"
    voc_layout = "voc-layout"


def lists(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=", ".join(Kind), show_default=False)],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The set as released.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="A new folder for it.")],
    sbd: Annotated[
        Path | None,
        typer.Option(
            "--sbd", metavar="DIR", help="voc2012: SBD's folder `dataset`, for train_aug.", show_default=False
        ),
    ] = None,
    voc: Annotated[
        Path | None,
        typer.Option("--voc", metavar="DIR", help="context, person-part: the folder VOC2010.", show_default=False),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            metavar="N|JSON",
            help="context: 59, or 60 with background. voc-layout: how many, or classes.json with names and colours.",
            show_default="59; voc-layout: the folder's",
        ),
    ] = None,
    annotations: Annotated[
        list[Path] | None,
        typer.Option("--annotations", metavar="JSON", help="coco-voc: instances_*.json; may be repeated."),
    ] = None,
    min_pixels: Annotated[int, typer.Option("--min-pixels", min=0, help="coco-voc: fewer labelled pixels: out.")] = 200,
    tile: Annotated[
        str | None,
        typer.Option("--tile", metavar="HxW+O", help="Cut overlapping tiles (Cityscapes 'Full'), e.g. 721x1281+128."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Make lists and label maps out of a data set as released.

    Writes a folder in VOC's layout: JPEGImages (links, or tiles), grey label PNGs of class numbers with void 255,
    ImageSets/Segmentation, list/ with Caffe's lines (root_folder is this folder), classes.json. Counts are compared
    with the papers'; VOC's train_aug and val are the published lists to the byte where the names are the same.

    voc-layout is for data of one's own: JPEGImages/ and SegmentationClass/, or images/ and labels/, of the same names.
    Splits are those of ImageSets/Segmentation, else of folders train/ and val/, else every tenth image is val.

    [dim]deeplab lists voc-layout photos/ -o own[/dim]

    [dim]deeplab lists voc2012 VOCdevkit/VOC2012 --sbd benchmark_RELEASE/dataset -o voc12[/dim]

    [dim]deeplab lists cityscapes cityscapes/ --tile 721x1281+128 -o cityscapes_full[/dim]
    """
    from deeplab_repro.cli.eval_options import parse_tile
    from deeplab_repro.cli.output import check_json, console, progress_steps, write_json
    from deeplab_repro.data.sets.prepare import write_prepared

    check_json(json)
    cut = parse_tile(tile)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    source = _source(kind, folder, sbd, voc, classes, annotations or [], min_pixels)
    with progress_steps("writing") as progress:
        done = write_prepared(source, output, cut, progress)
    answer = {"folder": output, "images": done.counts, "classes": len(source.class_names), "notes": done.notes}
    if write_json(answer, json):
        for split, count in done.counts.items():
            console().print(f"{split}: {count} images")
        for note in done.notes:
            console().print(f"  {note}", markup=False)
        if kind == Kind.voc_layout:
            print(f"check it: deeplab doctor {output}")
            print(f"train on it: deeplab export deeplab_largefov --train --dataset own --data {output} -o net")


def _source(
    kind: Kind,
    folder: Path,
    sbd: Path | None,
    voc: Path | None,
    classes: str | None,
    annotations: list[Path],
    min_pixels: int,
) -> Source:
    if kind == Kind.voc_layout:
        from deeplab_repro.data.sets.prepare_own import voc_layout

        return voc_layout(folder, classes)
    if classes is not None and not classes.isdigit():
        raise ValueError(f"--classes {classes}: must be a number for {kind.value}")
    if kind in (Kind.context, Kind.person_part) and voc is None:
        raise ValueError(f"{kind.value}: needs --voc, the folder VOC2010 with JPEGImages and ImageSets/Main")
    if kind == Kind.coco_voc and not annotations:
        raise ValueError("coco-voc: needs --annotations instances_train2014.json")
    from deeplab_repro.data.sets import prepare_coco, prepare_street, prepare_voc

    if kind == Kind.voc2012:
        return prepare_voc.voc2012(folder, sbd)
    if kind == Kind.coco_voc:
        return prepare_coco.coco_to_voc(folder, annotations, min_pixels)
    if kind == Kind.coco_stuff:
        return prepare_coco.coco_stuff(folder)
    if kind == Kind.cityscapes:
        return prepare_street.cityscapes(folder)
    if kind == Kind.camvid:
        return prepare_street.camvid(folder)
    assert voc is not None
    return (
        prepare_voc.context(folder, voc, int(classes or 59))
        if kind == Kind.context
        else prepare_voc.person_part(folder, voc)
    )
