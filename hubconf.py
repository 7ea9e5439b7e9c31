"""Entry points for torch.hub: `torch.hub.load(REPOSITORY, "deeplab_largefov", pretrained="train2.caffemodel")`.

One for each name of the zoo, and `bundled`. A clone has no compiled extension: where it was not built in place, the
installed package is used (`pip install --no-build-isolation REPOSITORY` once)."""

# torch.hub takes every callable without an underscore for an entry point.
import sys
from pathlib import Path as _Path

dependencies = ["torch", "numpy", "google.protobuf", "safetensors"]

_HERE = _Path(__file__).resolve().parent

_path = sys.path[:]
if not list((_HERE / "deeplab_repro" / "ops").glob("_C*.so")):
    # torch.hub puts this folder in front: its sources would hide the package that has an extension.
    sys.path[:] = [folder for folder in _path if _Path(folder or ".").resolve() != _HERE]
try:
    from deeplab_repro import models as _models
    from deeplab_repro.predict import opening as _opening
except ImportError as _error:
    raise ImportError(
        f"{_HERE}: deeplab-repro is neither built here nor installed; run once: "
        f"pip install --no-build-isolation {_HERE} ({_error})"
    ) from _error
finally:
    sys.path[:] = _path


def _entry(name):
    def entry(pretrained=False, **facts):
        return getattr(_models, name)(pretrained=pretrained, **facts)

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = f"""{_models.__dict__[name].__doc__.splitlines()[0]}

    Args:
        pretrained: As for `deeplab_repro.models.pretrained_file`.
        facts: What `deeplab_repro.models.{name}` takes beside weights.

    Returns:
        The net.
    """
    return entry


def bundled():
    """The small model that comes with the package, trained on photographs of animals and people."""
    return _opening.open_model("bundled")[0]


globals().update({_name: _entry(_name) for _name in _models.__all__})
