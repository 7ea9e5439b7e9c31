"""From what a user names to what runs: models, their preprocessing, devices."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplab_repro.files.shipped import shipped
from prototxt_import.errors import nearest

if TYPE_CHECKING:
    import torch

    from deeplab_repro.crf.model import CRFParams
    from deeplab_repro.net.network import CaffeNet
    from prototxt_import import NetSpec

BUNDLED = shipped("bundled.prototxt")
# ImageNet's mean in the original release's data layers, BGR.
MEAN_BGR = (104.008, 116.669, 122.675)


@dataclass(frozen=True)
class Preprocessing:
    """What rides along with weights: the image mean, and where known CRF parameters, class names and colours.

    scale: factor after subtracting the mean; palette: rows of RGB values, or None for the VOC colours."""

    mean_bgr: tuple[float, float, float] = MEAN_BGR
    scale: float = 1.0
    crf: CRFParams | None = None
    class_names: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] | None = None

    @classmethod
    def of(cls, facts: Mapping[str, Any], source: str = "preprocessing") -> Preprocessing:
        """From a JSON record with any of mean_bgr, scale, crf, class_names, palette; ValueError for a malformed one."""
        from deeplab_repro.crf.model import CRFParams

        try:
            crf = facts.get("crf")
            palette = facts.get("palette")
            return cls(
                _three(facts.get("mean_bgr") or MEAN_BGR),
                float(facts.get("scale", 1.0)),
                CRFParams(**crf) if isinstance(crf, Mapping) else None,
                tuple(facts.get("class_names") or facts.get("classes") or ()),
                tuple(tuple(map(int, colour)) for colour in palette) if palette else None,
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"{source}: not a record of preprocessing: {error}") from error


def _three(values: Iterable[float]) -> tuple[float, float, float]:
    numbers = [float(value) for value in values]
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise ValueError(f"the mean needs 3 values (blue, green, red), got {len(numbers)}")
    return numbers[0], numbers[1], numbers[2]


def model_names() -> tuple[str, ...]:
    """Names that stand for a model: 'bundled' and the zoo's variants."""
    from deeplab_repro.zoo import models

    return ("bundled", *sorted(models.__all__))


def pick_device(name: str | torch.device) -> torch.device:
    """The device of --device; 'auto' is CUDA where this build and this machine have it.

    Raises ValueError for CUDA without either, or an unknown name."""
    import torch

    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and _built_with_cuda() else "cpu")
    try:
        device = torch.device(str(name))
    except RuntimeError as error:
        raise ValueError(f"device {name}: unknown; choose auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name}: torch {torch.__version__} finds no CUDA device here; choose cpu or auto")
    if device.type == "cuda" and not _built_with_cuda():
        raise ValueError(f"device {name}: the extension was built without CUDA; build it again where nvcc is present")
    return device


def _built_with_cuda() -> bool:
    from deeplab_repro import ops  # noqa: F401 - loads the extension, with clear errors where it cannot be

    from deeplab_repro.ops import _C  # isort: skip

    return "cuda" in _C.devices()


def check_model(model: str | os.PathLike[str], weights: str | os.PathLike[str] | None = None) -> str:
    """What kind of model is named: 'bundled', 'checkpoint', 'prototxt' or 'zoo'. Loads nothing.

    Raises ValueError for an unknown name (with the known ones) or for weights missing or beside a model that has its
    own, FileNotFoundError for a file that is not there."""
    path = Path(model)
    if str(model) == "bundled":
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

    Raises FileNotFoundError where there is neither."""
    from deeplab_repro.catalog.store import Store, default_folder

    path = Path(name)
    if path.is_file():
        return path
    folder = default_folder()
    found = Store(folder).find(os.fspath(name))
    if found is None:
        raise FileNotFoundError(f"{name}: no such file, and no such name in {folder} (`deeplab weights` fills it)")
    return found


def open_model(
    model: str | os.PathLike[str] = "bundled",
    weights: str | os.PathLike[str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> tuple[CaffeNet, Preprocessing]:
    """The network a name or file stands for, in TEST phase with its weights, and its preprocessing.

    model: 'bundled', a zoo name, a .prototxt or a .safetensors checkpoint; weights: the .caffemodel of the middle two.
    Raises as `check_model`, ValueError for weights that leave layers without values, CaffeFormatError for files that do
    not fit, OSError for files that cannot be read."""
    from deeplab_repro.net.load import load_caffe

    kind = check_model(model, weights)
    if kind == "bundled":
        return load_caffe(BUNDLED, BUNDLED.with_suffix(".caffemodel")), bundled_preprocessing()
    if kind == "checkpoint":
        from deeplab_repro.net.checkpoint import read_checkpoint

        net, record = read_checkpoint(model)
        return net, Preprocessing.of(record, str(model))
    if kind == "zoo":
        from deeplab_repro.zoo import models

        net = getattr(models, str(model))(weights=weights)
    else:
        net = load_caffe(model, weights, variables=dict(variables or {}))
    require_weights(net.spec, weights, model)
    return net, spec_preprocessing(net.spec)


def require_weights(spec: NetSpec, weights: object, model: object, remedy: str = "") -> None:
    """ValueError naming the file `weights` and the layers of `model` that it holds nothing for, where there are any."""
    if spec.missing_weights:
        layers = ", ".join(spec.missing_weights)
        raise ValueError(f"{weights}: holds no weights for the layers {layers} of {model}{remedy}")


def bundled_preprocessing() -> Preprocessing:
    """The preprocessing recorded beside the bundled model."""
    path = BUNDLED.with_suffix(".json")
    return Preprocessing.of(json.loads(path.read_text()), str(path))


def spec_preprocessing(spec: NetSpec) -> Preprocessing:
    """Mean (BGR) and scale of the net's first data layer that states a mean; the original release's where none does."""
    for layer in spec.layers:
        transform = getattr(layer.options, "transform", None)
        if transform is not None and transform.mean_value:
            return Preprocessing(mean_bgr=_three(transform.mean_value), scale=float(transform.scale))
    return Preprocessing()
