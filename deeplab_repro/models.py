"""Published networks by name: zoo.models', which take `pretrained` as torchvision's and torch.hub's do, too."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

from deeplab_repro.net.network import CaffeNet
from deeplab_repro.zoo import models as _variants
from prototxt_import.errors import nearest

__all__ = _variants.__all__

Pretrained = bool | str | os.PathLike[str] | None


def pretrained_file(pretrained: Pretrained) -> Path | None:
    """The weights that `pretrained` names.

    Args:
        pretrained: A file, the name of one in torch.hub's checkpoints folder, or a name of `deeplab weights list` that
            was fetched; False or None for fresh weights.

    Returns:
        The file, None for fresh weights.

    Raises:
        ValueError: It is True: which of the released weights is meant, and where they lie, nobody can know.
        FileNotFoundError: Nothing has that name.

    Example:
        >>> from deeplab_repro.models import pretrained_file
        >>> pretrained_file(False) is None
        True
    """
    if pretrained is False or pretrained is None:
        return None
    if pretrained is True:
        raise ValueError(
            "pretrained=True: the releases' weights are not ours to serve; name a .caffemodel, or a port's .pth "
            "(`deeplab weights list` tells where they were published, `deeplab weights fetch` gets them)"
        )
    import torch

    from deeplab_repro.predict.opening import weights_file

    kept = Path(torch.hub.get_dir()) / "checkpoints" / pretrained
    return kept if kept.is_file() else weights_file(pretrained)


def _entry(name: str) -> Callable[..., CaffeNet]:
    build = getattr(_variants, name)

    @wraps(build)
    def entry(weights: str | os.PathLike[str] | None = None, *facts: Any, **more: Any) -> CaffeNet:
        named = pretrained_file(more.pop("pretrained", None))
        if named is not None and weights is not None:
            raise ValueError(f"{name}: weights and pretrained exclude each other; both name trained weights")
        return build(weights if named is None else named, *facts, **more)

    told = "    init: A model"
    entry.__doc__ = build.__doc__.replace(
        told, f"    pretrained: As for `pretrained_file`; another word for weights.\n{told}"
    )
    return entry


globals().update({_name: _entry(_name) for _name in __all__})


def __getattr__(name: str) -> NoReturn:
    raise AttributeError(f"deeplab_repro.models has no network {name!r}{nearest(name, __all__)}")
