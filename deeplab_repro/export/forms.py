"""The files of a zoo net's training: nets and solvers, as published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deeplab_repro import zoo
from deeplab_repro.zoo.recipes import recipe_files
from prototxt_import import NetSpec


def zoo_forms(
    name: str, train: bool, recipe: bool, deploy: bool, values: Mapping[str, str], **facts: Any
) -> tuple[list[tuple[str, NetSpec]], dict[str, str]]:
    """The forms of a zoo net that are asked for, at least one of them.

    Args:
        name: The net.
        train: Whether train.prototxt and solver.prototxt are.
        recipe: Whether all phases of the published training are.
        deploy: Whether deploy.prototxt is.
        values: Of the ${NAME}s in the data layer's paths.
        facts: As `zoo.spec` takes them.

    Returns:
        The nets with their file names, and texts by file name.

    Raises:
        ValueError: As `zoo.spec`.
    """
    root, source = (_filled(text, values) for text in (zoo.training.ROOT_FOLDER, zoo.training.SOURCE))
    nets, texts = recipe_files(name, root, **facts) if recipe else ([], {})
    if train:
        texts = {"solver.prototxt": zoo.solver_text(name)}
        nets.append((zoo.training.NET_FILE, zoo.training_spec(name, root_folder=root, source=source, **facts)))
    if deploy:
        nets.append(("deploy.prototxt", zoo.spec(name, phase="TEST", **facts)))
    return nets, texts


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value)
    return text
