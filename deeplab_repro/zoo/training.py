"""The training files of a variant: its net behind the data layer, and the solver, as the releases have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from deeplab_repro.zoo.table import spec, variant
from prototxt_import import NetSpec, layer, make_net
from prototxt_import.layers.data import TransformOptions

# BGR, as every data layer of the releases has it.
MEAN_BGR = (104.008, 116.669, 122.675)
# The releases' own placeholders: the data set's folder, the experiment's, and the list of images.
ROOT_FOLDER = "${DATA_ROOT}"
SOURCE = "${EXP}/list/${TRAIN_SET}.txt"
NET_FILE = "train.prototxt"


def training_spec(
    name: str,
    num_classes: int | None = None,
    dataset: str = "voc12",
    root_folder: str = ROOT_FOLDER,
    source: str = SOURCE,
    **facts: Any,
) -> NetSpec:
    """The variant in phase TRAIN, fed by an ImageSegData layer: mirrored random crops, shuffled, with pixel labels.

    root_folder, source: of the list of images and label maps; by default the releases' placeholders.
    size (a square) and batch default to those it was trained with. Other arguments and errors as for zoo.spec,
    ValueError for a size that is no square."""
    recipe = variant(name).recipe
    batch = facts.pop("batch", recipe.batch)
    height, width = facts.pop("size", None) or (recipe.crop, recipe.crop)
    if height != width:
        raise ValueError(f"size {height}x{width}: the data layer cuts squares; give equal sides")
    net = spec(name, num_classes, dataset, "TRAIN", size=(height, width), batch=batch, **facts)
    return fed(net, source, root_folder, recipe.scales)


def fed(net: NetSpec, source: str, root_folder: str = "", scales: Sequence[float] = ()) -> NetSpec:
    """The TRAIN net with its inputs `data` (a square) and `label` read by an ImageSegData layer: mirrored random crops,
    shuffled, with pixel labels. source, root_folder: of the list; scales: that images are drawn at."""
    batch, _, side, _ = net.inputs["data"]
    data = layer(
        "ImageSegData",
        "data",
        (),
        ("data", "label"),
        root_folder=root_folder,
        source=source,
        batch_size=batch,
        shuffle=True,
        label_type="PIXEL",
        transform=TransformOptions(mirror=True, crop_size=side, mean_value=MEAN_BGR, scale_factors=tuple(scales)),
    )
    return make_net(net.name, {}, [data, *net.layers], "TRAIN", net.dialect)


def solver_text(name: str, net_file: str = NET_FILE, prefix: str = "train", **changes: Any) -> str:
    """The solver prototxt of a variant's first training, on the train set; its net is `net_file` beside it.

    prefix: of its snapshots. changes: to fields of the variant's Recipe, for later trainings."""
    recipe = replace(variant(name).recipe, **changes)
    policy = {"gamma": recipe.gamma, "stepsize": recipe.stepsize}
    facts: dict[str, object] = {
        "base_lr": recipe.base_lr,
        "lr_policy": f'"{recipe.lr_policy}"',
        **(policy if recipe.lr_policy == "step" else {"power": recipe.power}),
        "max_iter": recipe.max_iter,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "display": 10,
        "snapshot": recipe.snapshot,
        "snapshot_prefix": f'"{prefix}"',
        "solver_mode": "GPU",
    }
    # Fields the v1 fork does not know are written only where they say something.
    facts |= {"iter_size": recipe.iter_size} if recipe.iter_size > 1 else {}
    facts |= {"average_loss": recipe.average_loss} if recipe.average_loss > 1 else {}
    return "".join(f"{key}: {value}\n" for key, value in {"train_net": f'"{net_file}"', **facts}.items())
