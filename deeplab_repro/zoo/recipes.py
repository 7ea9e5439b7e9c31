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
# Lists of the phases, as `deeplab lists` writes them. Only VOC's models were trained once more, with val: the papers'
# of Context, Person-Part, Cityscapes (test server, too) and COCO-Stuff (10k) have seen train alone.
SETS = {"voc12": ("train_aug", "trainval_aug")}
ONE_SET = ("train",)
INIT = "init.caffemodel"


@dataclass(frozen=True)
class Phase:
    """One call of the trainer.

    Args:
        variant: The zoo's net.
        name: Of its file, <name>.prototxt, and of snapshots.
        solver: Its solver file.
        images: Its list's name.
        weights: The model it starts from.
        changes: To the variant's own recipe.
    """

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


def phases(name: str, dataset: str = "voc12") -> list[Phase]:
    """List the phases of a variant's published training.

    Args:
        name: One of `zoo.names`.
        dataset: As of `zoo.spec`; only voc12 has the second training.

    Returns:
        The phases in order.

    Raises:
        ValueError: No variant has that name.

    Source:
        The releases' solver files and run_pascal.sh, whose second training starts from the first one's last model.

    Example:
        >>> from deeplab_repro.zoo.recipes import phases
        >>> [phase.last for phase in phases("deeplab_largefov")]
        ['train_iter_6000.caffemodel', 'train2_iter_8000.caffemodel']
    """
    name = zoo.table.ALIASES.get(name, name)
    second = _SECOND.get(zoo.variant(name).recipe, {})
    first_set, *later = SETS.get(dataset, ONE_SET)
    planned, weights, mark = [], INIT, ""
    if name in BASES:
        planned.append(Phase(BASES[name], "train", "solver.prototxt", first_set, INIT, {}))
        weights, mark = planned[-1].last, "msc_"
    planned.append(Phase(name, f"{mark}train", f"{mark}solver.prototxt", first_set, weights, {}))
    for images in later:
        planned.append(Phase(name, f"{mark}train2", f"{mark}solver2.prototxt", images, planned[-1].last, second))
    return planned


def recipe_files(
    name: str, root_folder: str = zoo.training.ROOT_FOLDER, solver_mode: str = "GPU", **facts: Any
) -> tuple[list[tuple[str, NetSpec]], dict[str, str]]:
    """Write out a published training, for `deeplab train`.

    The lists are list/train_aug.txt and list/trainval_aug.txt beside the files, for another dataset than voc12
    list/train.txt, the first weights init.caffemodel.

    Args:
        name: One of `zoo.names`.
        root_folder: Goes before the names in the lists.
        solver_mode: Of the solvers, "GPU" or "CPU".
        facts: As of `zoo.training_spec` (num_classes, dataset, size, batch, width...).

    Returns:
        The nets as (file name, net), and texts by file name: the solvers, and run.sh, which calls `deeplab train` for
        one phase after the other and may be started again at any time.

    Raises:
        ValueError: As of `zoo.training_spec`.
    """
    steps = phases(name, facts.get("dataset", "voc12"))
    nets, texts = [], {}
    for step in steps:
        source = f"list/{step.images}.txt"
        file = f"{step.name}.prototxt"
        nets.append((file, zoo.training_spec(step.variant, root_folder=root_folder, source=source, **facts)))
        texts[step.solver] = zoo.solver_text(step.variant, file, step.name, solver_mode, **step.changes)
    texts["run.sh"] = _script(zoo.variant(name), steps, root_folder)
    return nets, texts


# Shell: the model with most updates of the phase whose snapshots have that prefix; ls tells where there is none.
_NEWEST = (
    "newest() {",
    "    last=$(ls \"$1\"_iter_*.caffemodel | sed 's/.*_iter_//' | sort -n | tail -n 1)",
    '    [ -n "$last" ] || exit 1',
    '    echo "$1_iter_$last"',
    "}",
)


def _script(row: zoo.table.Variant, steps: Sequence[Phase], root_folder: str) -> str:
    variable = ' --var DATA_ROOT="${DATA_ROOT?is the folder of the data set}"' if "${DATA_ROOT}" in root_folder else ""
    lists = dict.fromkeys(f"list/{step.images}.txt" for step in steps)
    lines = [
        "#!/bin/sh",
        f"# {row.title}, as published. Beside this file: {INIT} (the papers': {row.init}),",
        f"# {' and '.join(lists)} (list/ may be a link).",
        "# Started again it goes on where it was; options are passed on to `deeplab train`. After a trial (--max-iter)",
        "# remove its *_iter_* files, or the training goes on from them.",
        '# Where deeplab is not on the PATH: DEEPLAB="python -m deeplab_repro" sh run.sh',
    ]
    if len(lists) > 1:
        lines.append("# Models of a phase on trainval have seen val: their figures there say nothing.")
    lines += ["set -e", 'cd "$(dirname "$0")"']
    if len(steps) > 1:
        lines += _NEWEST
    for step in steps:
        before = step.weights.rpartition("_iter_")[0]
        first = step.weights
        if before:
            lines.append(f"weights=$(newest {before})")
            first = '"$weights"'
        lines.append(
            f"${{DEEPLAB:-deeplab}} train {step.solver} --weights {first} --snapshot latest --log {step.name}.jsonl"
            f'{variable} "$@"'
        )
    return "\n".join(lines) + "\n"
