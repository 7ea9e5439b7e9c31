"""`deeplab doctor`: what is wrong with a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeplab_repro.cli.eval_options import ClassesOption, RootOption
from deeplab_repro.cli.options import JsonOption, expanded

if TYPE_CHECKING:
    from rich.text import Text

    from deeplab_repro.data.sets.datasets import SegmentationDataset


def doctor(
    data: Annotated[
        list[Path],
        typer.Argument(metavar="DATASET", help="A VOC-style or Cityscapes folder, or list files.", show_default=False),
    ],
    split: Annotated[
        list[str] | None,
        typer.Option("--split", help="Of a folder's lists; may be repeated.", show_default="train and val, as present"),
    ] = None,
    classes: ClassesOption = None,
    root: RootOption = None,
    fix: Annotated[
        Path | None,
        typer.Option("--fix", metavar="DIR", help="Write a repaired copy there, in VOC's layout.", show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", "--jobs", min=1, help="Threads that read files.")] = 2,
    json: JsonOption = None,
) -> None:
    """Find what people get wrong about segmentation data, and say what to do.

    Found: palette pictures stored as grey levels (labels 38, 75, 147, 220), colours in place of labels, labels beyond
    the classes, void written as 0, sizes that differ, missing and damaged files, JPEG labels, images in two splits or
    listed twice, labels of 16 bits or of fewer than 8, palettes in another order, photos that EXIF turns away from
    their labels. Palette PNGs, which other programs misread, are noted. Nothing is changed; --fix writes a copy.

    Exit code 1 where something is wrong.

    [dim]deeplab doctor VOCdevkit/VOC2012 --split train_aug --split val[/dim]

    [dim]deeplab doctor train.txt val.txt --classes 11 --fix repaired[/dim]
    """
    from deeplab_repro.cli.output import check_json, console, progress_steps, write_json
    from deeplab_repro.data.sets.doctor import diagnose
    from deeplab_repro.data.sets.doctor_fix import write_repaired

    check_json(json)
    datasets = _open(expanded(data), split, classes, root)
    with progress_steps("examining") as progress:
        diagnosis = diagnose(datasets, workers, progress)
    answer: dict[str, Any] = {
        "data": data,
        "splits": {dataset.split: len(dataset) for dataset in datasets},
        "classes": datasets[0].num_classes,
        "healthy": diagnosis.healthy,
        "faults": [
            {
                "kind": fault.kind,
                "note": fault.is_note,
                "files": len(fault.files),
                "first": fault.files[:10],
                "what": fault.what,
                "remedy": fault.remedy,
            }
            for fault in diagnosis.faults
        ],
    }
    if fix is not None:
        with progress_steps("writing") as progress:
            repair = write_repaired(datasets, diagnosis, fix, progress)
        answer["repaired"] = {"folder": fix, "kept": repair.kept, "left_out": repair.left_out}
    if write_json(answer, json):
        screen = console()
        for fault in diagnosis.faults:
            mark = "note" if fault.is_note else "fault"
            screen.print(f"[b]{mark}: {fault.kind}[/b] in {len(fault.files)} files, the first: {fault.files[0]}")
            screen.print(f"  what: {fault.what}\n  do: {fault.remedy}")
        if any(
            fault.kind in ("colours", "unknown colours", "palette order", "palette as grey")
            for fault in diagnosis.faults
        ):
            screen.print("the classes' colours:")
            screen.print(_legend(datasets[0]))
        total = sum(map(len, datasets))
        screen.print(f"{total} samples, {'nothing wrong' if diagnosis.healthy else 'see the faults above'}")
        if fix is not None:
            left = answer["repaired"]["left_out"]
            screen.print(f"{sum(answer['repaired']['kept'].values())} samples written to {fix}, {len(left)} left out")
            for name, reason in list(left.items())[:10]:
                screen.print(f"  {name}: {reason}")
    if not diagnosis.healthy:
        raise typer.Exit(1)


def _legend(dataset: SegmentationDataset) -> Text:
    """Number, name and RGB of every class, each in its colour."""
    from rich.text import Text

    from deeplab_repro.data.sets.label_facts import class_colours

    text = Text("  ")
    for colour, label in sorted(class_colours(dataset).items(), key=lambda pair: pair[1]):
        name = dataset.class_names[label] if label < dataset.num_classes else "void"
        text.append("\u25a0", f"rgb({','.join(map(str, colour))})")
        text.append(f" {label} {name} {colour}  ")
    return text


def _open(
    data: list[Path], split: list[str] | None, classes: str | None, root: Path | None
) -> list[SegmentationDataset]:
    """The splits asked for; without a word train and val, as far as they are there."""
    from deeplab_repro.data.sets.datasets import open_dataset

    if all(path.is_file() for path in data):
        return [open_dataset(path, "", classes, root) for path in data]
    if len(data) != 1:
        raise ValueError("give one folder, or list files")
    if split:
        return [open_dataset(data[0], name, classes) for name in split]
    opened, error = [], None
    for name in ("train", "val"):
        try:
            opened.append(open_dataset(data[0], name, classes))
        except ValueError as problem:
            error = problem
    if not opened:
        assert error is not None
        raise error
    return opened
