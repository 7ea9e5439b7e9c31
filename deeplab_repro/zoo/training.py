"""The training files of a variant: its net behind the data layer, and the solver, as the releases have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from deeplab_repro.zoo.table import Recipe, spec, variant
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

    Args:
        name: One of `names`.
        num_classes: As for `spec`.
        dataset: As for `spec`.
        root_folder: Folder of the images and label maps; by default the releases' placeholder.
        source: Their list; by default the releases' placeholder.
        facts: As for `spec`; size (a square) and batch default to those the variant was trained with.

    Returns:
        The net, its shapes inferred.

    Raises:
        ValueError: The size is no square, and as `spec` does.

    Source:
        The released train.prototxt.

    Example:
        >>> from deeplab_repro import zoo
        >>> net = zoo.training_spec("deeplab_largefov", source="train.txt", root_folder="", batch=2)
        >>> net.layers[0].type, net.blobs["data"]
        ('ImageSegData', (2, 3, 321, 321))
    """
    recipe = variant(name).recipe
    batch = facts.pop("batch", recipe.batch)
    height, width = facts.pop("size", None) or (recipe.crop, recipe.crop)
    if height != width:
        raise ValueError(f"size {height}x{width}: the data layer cuts squares; give equal sides")
    net = spec(name, num_classes, dataset, "TRAIN", size=(height, width), batch=batch, **facts)
    return fed(net, source, root_folder, recipe.scales)


def fed(net: NetSpec, source: str, root_folder: str = "", scales: Sequence[float] = ()) -> NetSpec:
    """A net whose inputs `data` (a square) and `label` an ImageSegData layer reads: mirrored random crops, shuffled.

    Args:
        net: The net, in phase TRAIN.
        source: The list of images and label maps.
        root_folder: Their folder.
        scales: Relative sizes that images are drawn at.

    Returns:
        The net behind the data layer.
    """
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


def solver_text(
    name: str, net_file: str = NET_FILE, prefix: str = "train", solver_mode: str = "GPU", **changes: Any
) -> str:
    """The solver prototxt of a variant's first training, on the train set.

    Args:
        name: One of `names`.
        net_file: The file of its net, beside it.
        prefix: Of its snapshots' names.
        solver_mode: "GPU", as the releases have it, or "CPU".
        changes: To fields of the variant's `Recipe`, for later trainings.

    Returns:
        The text.

    Raises:
        ValueError: No variant has that name.

    Source:
        The released solver.prototxt.

    Example:
        >>> from deeplab_repro import zoo
        >>> zoo.solver_text("deeplab_vgg16_aspp_l").splitlines()[:4]
        ['train_net: "train.prototxt"', 'base_lr: 0.001', 'lr_policy: "poly"', 'power: 0.9']
    """
    return recipe_text(replace(variant(name).recipe, **changes), net_file, prefix, solver_mode)


def recipe_text(recipe: Recipe, net_file: str = NET_FILE, prefix: str = "train", solver_mode: str = "GPU") -> str:
    """The solver prototxt of a recipe.

    Args:
        recipe: The recipe.
        net_file: As for `solver_text`, like what follows.
        prefix: Of its snapshots' names.
        solver_mode: "GPU" or "CPU".

    Returns:
        The text.
    """
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
        "solver_mode": solver_mode,
    }
    # Fields the v1 fork does not know are written only where they say something.
    facts |= {"iter_size": recipe.iter_size} if recipe.iter_size > 1 else {}
    facts |= {"average_loss": recipe.average_loss} if recipe.average_loss > 1 else {}
    return "".join(f"{key}: {value}\n" for key, value in {"train_net": f'"{net_file}"', **facts}.items())
