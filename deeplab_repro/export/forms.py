"""The files of a zoo net's training: nets and solvers, as published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deeplab_repro import zoo
from deeplab_repro.data.sets.datasets import read_classes
from deeplab_repro.zoo.recipes import recipe_files
from prototxt_import import NetSpec


def zoo_forms(
    name: str,
    train: bool,
    recipe: bool,
    deploy: bool,
    values: Mapping[str, str],
    solver_mode: str = "GPU",
    source: str = zoo.training.SOURCE,
    batch: int | None = None,
    **facts: Any,
) -> tuple[list[tuple[str, NetSpec]], dict[str, str]]:
    """The forms of a zoo net that are asked for, at least one of them.

    Args:
        name: The net.
        train: Whether train.prototxt and solver.prototxt are.
        recipe: Whether all phases of the published training are.
        deploy: Whether deploy.prototxt is.
        values: Of the ${NAME}s in the data layer's paths.
        solver_mode: Of the solvers, "GPU" or "CPU".
        source: The list of images of train.prototxt.
        batch: Images of a pass of training; None for the variant's own.
        facts: As `zoo.spec` takes them.

    Returns:
        The nets with their file names, and texts by file name.

    Raises:
        ValueError: As `zoo.spec`.
    """
    fed = facts if batch is None else {**facts, "batch": batch}
    root, source = (_filled(text, values) for text in (zoo.training.ROOT_FOLDER, source))
    nets, texts = recipe_files(name, root, solver_mode, **fed) if recipe else ([], {})
    if train:
        texts = {"solver.prototxt": zoo.solver_text(name, solver_mode=solver_mode)}
        nets.append((zoo.training.NET_FILE, zoo.training_spec(name, root_folder=root, source=source, **fed)))
    if deploy:
        nets.append(("deploy.prototxt", zoo.spec(name, phase="TEST", **facts)))
    return nets, texts


def backbone_forms(
    classifier: NetSpec,
    head: str,
    num_classes: int,
    values: Mapping[str, str],
    solver_mode: str = "GPU",
    source: str = zoo.training.SOURCE,
    batch: int | None = None,
    mean_bgr: Sequence[float] = zoo.training.MEAN_BGR,
    scale: float = 1.0,
    **facts: Any,
) -> tuple[list[tuple[str, NetSpec]], dict[str, str]]:
    """The training of DeepLab on a classifier: train.prototxt, test.prototxt and solver.prototxt.

    Args:
        classifier: The net in phase TEST, with or without weights.
        head: As of `zoo.backbone_spec`.
        num_classes: Outputs of the score layer.
        values: Of the ${NAME}s in the data layer's paths.
        solver_mode: Of the solver, "GPU" or "CPU".
        source: The list of images of train.prototxt.
        batch: Images of a pass; None for the paper's.
        mean_bgr: What the classifier wants subtracted; where its weights are there, they come to want the papers' mean.
        scale: The classifier's factor after that.
        facts: As `zoo.backbone_spec` takes them.

    Returns:
        The nets with their file names, the first with the weights that training begins with, and texts by file name.

    Raises:
        ValueError: As `zoo.backbone_spec`.
        CaffeFormatError: As `zoo.backbone_spec`, and where the first layer cannot take in another mean.
    """
    recipe = zoo.table.V2_VGG
    batch = batch or recipe.batch
    root, source = (_filled(text, values) for text in (zoo.training.ROOT_FOLDER, source))
    train = zoo.backbone_spec(classifier, num_classes, head, phase="TRAIN", batch=batch, **facts)
    if train.weights:
        train = zoo.with_mean(train, mean_bgr, scale)
    test = zoo.backbone_spec(classifier, num_classes, head, phase="TEST", **facts)
    fed = replace(zoo.training.fed(train, source, root, recipe.scales), weights=train.weights)
    texts = {"solver.prototxt": zoo.training.recipe_text(recipe, solver_mode=solver_mode)}
    return [(zoo.training.NET_FILE, fed), ("test.prototxt", test)], texts


@dataclass(frozen=True)
class OwnData:
    """A folder of images and label maps that a net is to be trained on.

    Args:
        root: The folder, whole.
        classes: How many classes it has.
        lists: The text of each list by the file's name beside the net, list/NAME.txt.
    """

    root: Path
    classes: int
    lists: Mapping[str, str]

    @staticmethod
    def source(split: str) -> str:
        """The file of a list, seen from the net's.

        Args:
            split: The list's name.

        Returns:
            Its name.
        """
        return f"list/{split}.txt"


def own_data(folder: Path, needed: Sequence[str] = ()) -> OwnData:
    """Read what `deeplab lists` wrote of a data set.

    Args:
        folder: The data set's folder.
        needed: Names of lists that have to be there.

    Returns:
        What training files say of it.

    Raises:
        ValueError: A list, or classes.json, is missing or cannot be used; the message says what makes them.
        OSError: A file cannot be read.

    Example:
        >>> from pathlib import Path
        >>> from deeplab_repro.export.forms import own_data
        >>> Path("own/list").mkdir(parents=True)
        >>> _ = Path("own/list/train.txt").write_text("/JPEGImages/a.jpg /SegmentationClass/a.png")
        >>> _ = Path("own/classes.json").write_text('{"classes": ["sky", "ground"]}')
        >>> own_data(Path("own")).classes
        2
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    remedy = f"make it so: deeplab lists voc-layout {folder} -o NEW, then --data NEW"
    files = {file.stem: file for file in sorted((folder / "list").glob("*.txt"))}
    lacking = [name for name in needed if name not in files]
    if lacking:
        raise ValueError(f"{folder}: has no list/{lacking[0]}.txt; {remedy}")
    if not (folder / "classes.json").is_file():
        raise ValueError(f"{folder}: has no classes.json; {remedy}")
    names, _, _ = read_classes(folder / "classes.json")
    return OwnData(
        folder.resolve(), len(names), {OwnData.source(name): file.read_text() for name, file in files.items()}
    )


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value)
    return text
