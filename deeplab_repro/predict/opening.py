"""From what a user names to what runs: a model, opened with what belongs to its weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplab_repro.predict.preprocessing import (
    MODELS,
    Preprocessing,
    bundled_file,
    bundled_preprocessing,
    spec_preprocessing,
)
from prototxt_import.errors import nearest

if TYPE_CHECKING:
    from deeplab_repro.net.network import CaffeNet
    from deeplab_repro.zoo.transplant import Transplant
    from prototxt_import import NetSpec


def model_names() -> tuple[str, ...]:
    """Names that stand for a model: 'bundled', those that come with the package, and the zoo's variants."""
    from deeplab_repro.zoo import models

    return ("bundled", *MODELS, *sorted(models.__all__))


def check_model(model: str | os.PathLike[str], weights: str | os.PathLike[str] | None = None) -> str:
    """What kind of model is named. Loads nothing.

    Args:
        model: A name or file.
        weights: Its weights.

    Returns:
        "bundled", "checkpoint", "prototxt" or "zoo".

    Raises:
        ValueError: The name is unknown (the message lists those known), or weights are missing, or stand beside a model
            that has its own.
        FileNotFoundError: A file is not there.
    """
    path = Path(model)
    if str(model) in ("bundled", *MODELS):
        kind = "bundled"
    elif path.suffix == ".safetensors":
        kind = "checkpoint"
    elif path.suffix == ".prototxt" or path.is_file():
        kind = "prototxt"
    elif str(model) in model_names():
        kind = "zoo"
    else:
        known = model_names()
        raise ValueError(
            f"unknown model {str(model)!r}; known: {', '.join(known)}, or the name of a .prototxt or .safetensors file"
            f"{nearest(str(model), known)}"
        )
    if kind in ("checkpoint", "prototxt") and not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    own = kind in ("bundled", "checkpoint")
    if own and weights is not None:
        raise ValueError(f"model {model} has its own weights; leave {weights} out, or name a .prototxt")
    if not own and weights is None:
        raise ValueError(f"model {model}: its weights are missing; name its .caffemodel (--weights)")
    if weights is not None and not Path(weights).is_file():
        raise FileNotFoundError(f"{weights}: no such file")
    return kind


def weights_file(name: str | os.PathLike[str]) -> Path:
    """The file of that name, or the one that the weights folder keeps under that name of the catalog.

    Args:
        name: A file or a name.

    Returns:
        The file.

    Raises:
        FileNotFoundError: There is neither.
    """
    from deeplab_repro.catalog.entries import read_catalog
    from deeplab_repro.catalog.store import Store, default_folder, how_to_get

    path = Path(name)
    if path.is_file():
        return path
    folder = default_folder()
    kept = Store(folder).find(os.fspath(name))
    if kept is None:
        entries = read_catalog().entries
        entry = entries.get(os.fspath(name))
        if entry is not None:
            raise FileNotFoundError(f"{name}: its file is not in {folder} yet. {how_to_get(entry)}")
        raise FileNotFoundError(
            f"{name}: no such file, and no such name in {folder} (`deeplab weights list` shows those known)"
            f"{nearest(os.fspath(name), entries)}"
        )
    return kept


def open_model(
    model: str | os.PathLike[str] = "bundled",
    weights: str | os.PathLike[str] | None = None,
    variables: Mapping[str, str] | None = None,
    dialect: str = "auto",
    level: int = 0,
    stages: Sequence[str] = (),
) -> tuple[CaffeNet, Preprocessing]:
    """The network a name or file stands for, in TEST phase with its weights, and its preprocessing.

    Args:
        model: "bundled" or another that comes with the package, a zoo name, a .prototxt or a .safetensors checkpoint.
        weights: The .caffemodel of the middle two.
        variables: Values of the ${NAME}s in the prototxt.
        dialect: Of the prototxt, as for `load_caffe`; so are level and stages.
        level: The state's level.
        stages: The state's stages.

    Returns:
        The net and its preprocessing.

    Raises:
        ValueError: Weights leave layers without values, and as `check_model`.
        CaffeFormatError: The files do not fit.
        OSError: A file cannot be read.
    """
    from deeplab_repro.net.load import load_caffe

    kind = check_model(model, weights)
    if kind == "bundled":
        file = bundled_file(str(model))
        return load_caffe(file, file.with_suffix(".caffemodel")), bundled_preprocessing(str(model))
    if kind == "checkpoint":
        from deeplab_repro.net.checkpoint import read_checkpoint

        net, record = read_checkpoint(model)
        return net, Preprocessing.of(record, str(model))
    if kind == "zoo":
        from deeplab_repro.zoo import models

        net = getattr(models, str(model))(weights=weights)
    else:
        net = load_caffe(model, weights, variables=dict(variables or {}), dialect=dialect, level=level, stages=stages)
    require_weights(net.spec, weights, model)
    return net, spec_preprocessing(net.spec)


def require_weights(spec: NetSpec, weights: object, model: object, remedy: str = "") -> None:
    """Make sure that weights are there for every layer.

    Args:
        spec: The net.
        weights: The file that was read, as errors name it.
        model: The net, as errors name it.
        remedy: What to do, at the end of the error.

    Raises:
        ValueError: The file holds nothing for some layers.
    """
    if spec.missing_weights:
        layers = ", ".join(spec.missing_weights)
        raise ValueError(f"{weights}: holds no weights for the layers {layers} of {model}{remedy}")


def open_or_draw(
    model: str, weights: Path | None, init: Path | None, phase: str, facts: Mapping[str, Any], **read: Any
) -> tuple[CaffeNet, Transplant | None]:
    """The network a name or file stands for, in either phase; without weights its fillers draw them.

    Args:
        model: A bundled name, a zoo name, a .prototxt or a .safetensors; only the middle two may lack weights.
        weights: Their .caffemodel, .caffemodel.h5 or a port's .pth.
        init: Another net's model to begin with, in place of `weights`.
        phase: "TRAIN" or "TEST".
        facts: Of a zoo name, as `zoo.spec` takes them.
        read: How a prototxt is read: variables, dialect, level, stages.

    Returns:
        The net, and what `init` gave each layer.

    Raises:
        ValueError: The net has weights of its own or another phase, or weights leave layers without values.
        CaffeFormatError: The files do not fit.
        OSError: A file cannot be read.
    """
    from deeplab_repro import zoo
    from prototxt_import import read_net

    if model in zoo.names():
        return filled_net(zoo.spec(model, phase=phase, **facts), model, weights, init)
    if Path(model).suffix == ".prototxt":
        return filled_net(read_net(model, phase=phase, **read), model, weights, init)
    if init is not None:
        raise ValueError(f"{model}: has weights; --init is for zoo names and prototxts")
    check_model(model, weights)
    net, _ = open_model(model, weights, **read)
    if net.spec.phase != phase:
        raise ValueError(f"{model}: is a net in phase {net.spec.phase}; export its prototxt to get the other")
    return net, None


def filled_net(
    spec: NetSpec, model: str, weights: Path | None, init: Path | None
) -> tuple[CaffeNet, Transplant | None]:
    """A net with the weights of a file, or with what fits of another net's.

    Args:
        spec: The net.
        model: What errors call it.
        weights: Its weights.
        init: Another net's model, in place of `weights`; fillers draw what it lacks, or all without either.

    Returns:
        The net, and what `init` gave each layer.

    Raises:
        ValueError: `weights` leaves layers without values.
    """
    from deeplab_repro.zoo.models import fresh_net
    from deeplab_repro.zoo.ports import attach_weights
    from deeplab_repro.zoo.transplant import initialise

    origin = None
    if init is not None:
        spec, origin = initialise(spec, init)
    elif weights is not None:
        spec = attach_weights(spec, weights)
        require_weights(spec, weights, model)
    return fresh_net(spec), origin
