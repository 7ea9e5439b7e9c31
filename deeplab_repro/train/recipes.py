"""The published trainings, from first weights to submitted model: train, train2, and MSc on top of its base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deeplab_repro import zoo
from prototxt_import import NetSpec

# MSc nets start from the trained net without branches and train these alone (Chen et al., ICLR 2015, section 4.3).
BASES = {
    "deeplab_msc": "deeplab",
    "deeplab_msc_largefov": "deeplab_largefov",
    "deeplab_msc_coco_largefov": "deeplab_coco_largefov",
}
# What solver2 changes, on train and val together; the v2 releases' is solver once more.
_SECOND: dict[zoo.table.Recipe, Mapping[str, Any]] = {
    zoo.table.V1: {"max_iter": 8000},
    zoo.table.V1_MSC: {"max_iter": 8000},
    zoo.table.V1_NOUP: {"base_lr": 0.01, "stepsize": 3000, "max_iter": 12000},
}
FIRST_SET, SECOND_SET = "train_aug", "trainval_aug"
INIT = "init.caffemodel"


@dataclass(frozen=True)
class Phase:
    """One call of the trainer. name: of its net, <name>.prototxt, and snapshots; solver: of its solver file; weights:
    the model it starts from; changes: to the variant's own solver facts."""

    variant: str
    name: str
    solver: str
    images: str
    weights: str
    changes: Mapping[str, Any]

    @property
    def last(self) -> str:
        """The model that the phase ends with."""
        updates = self.changes.get("max_iter", zoo.variant(self.variant).recipe.max_iter)
        return f"{self.name}_iter_{updates}.caffemodel"


def phases(name: str) -> list[Phase]:
    """The phases of a variant's published training in order; ValueError for an unknown variant.

    Source: the releases' solver files and run_pascal.sh, whose second training starts from the first one's last
    model."""
    name = zoo.table.ALIASES.get(name, name)
    second = _SECOND.get(zoo.variant(name).recipe, {})
    found, weights, mark = [], INIT, ""
    if name in BASES:
        found.append(Phase(BASES[name], "train", "solver.prototxt", FIRST_SET, INIT, {}))
        weights, mark = found[-1].last, "msc_"
    found.append(Phase(name, f"{mark}train", f"{mark}solver.prototxt", FIRST_SET, weights, {}))
    last = found[-1].last
    found.append(Phase(name, f"{mark}train2", f"{mark}solver2.prototxt", SECOND_SET, last, second))
    return found


def recipe_files(
    name: str, root_folder: str = zoo.training.ROOT_FOLDER, **facts: Any
) -> tuple[list[tuple[str, NetSpec]], dict[str, str]]:
    """The nets of a recipe, (file name, spec), and its texts by file name: the solvers, and run.sh, which calls
    `deeplab train` for one phase after the other and may be started again at any time.

    The lists are list/train_aug.txt and list/trainval_aug.txt beside them, the first weights init.caffemodel.
    root_folder: goes before the names in the lists. facts: as zoo.training_spec takes them (num_classes, dataset, size,
    batch, width...). Errors as there."""
    steps = phases(name)
    nets, texts = [], {}
    for step in steps:
        source = f"list/{step.images}.txt"
        file = f"{step.name}.prototxt"
        nets.append((file, zoo.training_spec(step.variant, root_folder=root_folder, source=source, **facts)))
        texts[step.solver] = zoo.solver_text(step.variant, file, step.name, **step.changes)
    texts["run.sh"] = _script(zoo.variant(name), steps, root_folder)
    return nets, texts


def _script(row: zoo.table.Variant, steps: Sequence[Phase], root_folder: str) -> str:
    variable = ' --var DATA_ROOT="${DATA_ROOT?is the folder of the data set}"' if "${DATA_ROOT}" in root_folder else ""
    lines = [
        "#!/bin/sh",
        f"# {row.title}, as published. Beside this file: {INIT} (the papers': {row.init}), list/{FIRST_SET}.txt and",
        f"# list/{SECOND_SET}.txt. Started again it goes on where it was; options are passed on to `deeplab train`.",
        "# Models of a phase on trainval have seen val: their figures there say nothing.",
        "set -e",
        'cd "$(dirname "$0")"',
    ]
    for step in steps:
        lines.append(
            f"deeplab train {step.solver} --weights {step.weights} --snapshot latest --log {step.name}.jsonl"
            f'{variable} "$@"'
        )
    return "\n".join(lines) + "\n"
