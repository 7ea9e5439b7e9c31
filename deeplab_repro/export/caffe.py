"""The way back: any CaffeNet as the files that Caffe reads."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from deeplab_repro.files.atomic import check_output_file, output_folder, write_text
from deeplab_repro.net.network import CaffeNet
from prototxt_import import NetSpec, net_text, schema, write_net, write_weights
from prototxt_import.prototxt.writer import lacking, nearest_dialect
from prototxt_import.values import Array

# The form in which a net of each dialect is written.
_FORMATS = {"v0": "v1"} | {name: name for name in schema.FORKS}


class Exported(NamedTuple):
    """The files of an exported net.

    Attributes:
        prototxt: The net.
        weights: Its weights.
        dialect: The dialect they are in; "text" where no one fork reads them.
    """

    prototxt: Path
    weights: Path
    dialect: str


def export_net(
    net: CaffeNet | NetSpec, directory: str | os.PathLike[str], dialect: str | None = None, hdf5: bool = False
) -> Exported:
    """Write a net, or a spec with its weights, as test.prototxt (train.prototxt in that phase) and model.caffemodel.

    Blobs are stored in single precision; reading the files gives the same net and bit-equal blobs, except for what
    `prototxt_import.net_text` names. The folder is made where it is missing; each file appears whole or not at all.

    Args:
        net: The net.
        directory: The folder.
        dialect: "v1" (`layers { type: CONVOLUTION }`, `hole`), "v2", "x2", "bvlc" or another fork's; None keeps the
            net's own, or takes the nearest that has all its layers. Where none has, the text is the union of all
            ("text"), which this project reads, and the model keeps what is not in "v2" by name.
        hdf5: Whether to write model.caffemodel.h5 instead.

    Returns:
        The files' paths and their dialect.

    Raises:
        CaffeFormatError: The dialect cannot express a layer, which the message names; nothing has been written then.
        OSError: The folder cannot be written.

    Example:
        >>> from deeplab_repro import export_net, load_caffe
        >>> from prototxt_import import layer, make_net
        >>> spec = make_net("n", {"x": (1, 3, 4, 4)}, [layer("ReLU", "r", "x", "y")])
        >>> files = export_net(spec, "exported")
        >>> files.prototxt.name, files.weights.name, files.dialect
        ('test.prototxt', 'model.caffemodel', 'v2')
    """
    spec = net if isinstance(net, NetSpec) else net.spec
    dialect = dialect or own_dialect([spec])
    blobs = spec.weights if isinstance(net, NetSpec) else net_arrays(net)
    prototxt, weights = write_forms(
        [(f"{spec.phase.lower()}.prototxt", spec)], directory, dialect, blobs=blobs, hdf5=hdf5
    )
    return Exported(prototxt, weights, dialect)


def write_forms(
    nets: Sequence[tuple[str, NetSpec]],
    directory: str | os.PathLike[str],
    dialect: str | None = None,
    texts: Mapping[str, str] | None = None,
    blobs: Mapping[str, Sequence[Array]] | None = None,
    blobs_name: str = "model",
    hdf5: bool = False,
) -> list[Path]:
    """Write several forms of one net, other texts, and blobs.

    Args:
        nets: (file name, spec) of each form.
        directory: The folder.
        dialect: As for `export_net`.
        texts: By file name.
        blobs: Arrays by layer name of the first form; None writes no model.
        blobs_name: The model's name, without its suffix.
        hdf5: As for `export_net`.

    Returns:
        The paths written, in that order.

    Raises:
        CaffeFormatError: As `export_net`.
        OSError: As `export_net`.
    """
    dialect = dialect or own_dialect([spec for _, spec in nets])
    with output_folder(directory) as folder:
        written = [folder / name for name in (*(name for name, _ in nets), *(texts or {}))]
        if blobs is not None:
            written.append(folder / f"{blobs_name}.caffemodel{'.h5' if hdf5 else ''}")
        for _, spec in nets:
            net_text(spec, dialect)  # meets every layer the dialect lacks before anything is written
        for path in written:
            path.parent.mkdir(exist_ok=True)  # lists lie in a folder of their own
            check_output_file(path)
        for path, (_, spec) in zip(written, nets, strict=False):
            write_net(spec, path, dialect)
        for path, text in zip(written[len(nets) :], (texts or {}).values(), strict=False):
            write_text(path, text)
        if blobs is not None:
            union = dialect == "text"
            write_weights(blobs, nets[0][1], written[-1], "v2" if union else dialect, by_name=union)
    return written


def own_dialect(specs: Sequence[NetSpec]) -> str:
    """The dialect that forms of one net are written in: their own, else the nearest that has all their layers.

    Args:
        specs: The forms.

    Returns:
        The dialect; where none has all layers "text", the union of all, which no single fork reads.
    """
    own = _FORMATS[specs[0].dialect]
    nearest = dict.fromkeys((own, *(nearest_dialect(spec, own) for spec in specs)))
    for dialect in filter(None, nearest):
        if not any(lacking(spec, dialect) for spec in specs):
            return dialect
    return "text"


def net_arrays(net: CaffeNet) -> Mapping[str, list[Array]]:
    """The blobs of every layer as single-precision arrays, {layer: [array, ...]} in Caffe's order; on the CPU without
    copying where they are there already."""
    return {
        name: [
            blob.detach().to("cpu", torch.float32).numpy().reshape(shape)
            for blob, shape in zip(blobs, net.spec.param_shapes[name], strict=True)
        ]
        for name, blobs in net.params.items()
        if blobs
    }
