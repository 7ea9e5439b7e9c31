"""read_net: a prototxt in any dialect and the blobs of a model file, to one NetSpec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prototxt_import.binary.weights import attach, read_weights
from prototxt_import.prototxt.net import net_of_text
from prototxt_import.prototxt.text import load
from prototxt_import.spec import NetSpec


def read_net(
    path: str | Path,
    weights: str | Path | None = None,
    phase: str = "TEST",
    variables: Mapping[str, str] | None = None,
    dialect: str = "auto",
    level: int = 0,
    stages: Sequence[str] = (),
) -> NetSpec:
    """Read a prototxt, and with `weights` a model file whose blobs are checked against it and mapped, not copied.

    variables: values of the file's ${NAME} placeholders. dialect: "auto", or one of "v0", "v1", "v2", "x2", "bvlc",
    "hed", "segnet", "enet", "pspnet" and "crfrnn"; it decides where forks mean different things by one text, and auto
    puts what it took into the spec's notes. phase, level, stages: the net state that include and exclude rules are
    held against.
    Raises CaffeFormatError, one line with file, line, layer and remedy as far as they are known."""
    source = str(path)
    return parse_net(load(path, variables), source, weights, phase, variables, dialect, level, stages)


def parse_net(
    text: str,
    source: str = "<text>",
    weights: str | Path | None = None,
    phase: str = "TEST",
    variables: Mapping[str, str] | None = None,
    dialect: str = "auto",
    level: int = 0,
    stages: Sequence[str] = (),
) -> NetSpec:
    """read_net for text at hand, placeholders already replaced; `source` stands for the file name in errors."""
    stored = None if weights is None else lambda name: len(read_weights(weights).get(name, ()))
    spec = net_of_text(text, source, phase, variables, dialect, level, stages, stored)
    return spec if weights is None else attach(spec, weights)
