"""Options that several verbs share, as annotated types."""

from __future__ import annotations

import glob
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypedDict

import typer


class Device(StrEnum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


DeviceOption = Annotated[
    Device, typer.Option("--device", help="Where to compute; auto takes CUDA where it is built and present.")
]
JsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write the answer as JSON too; '-' prints it instead of the table."),
]
JobsOption = Annotated[
    int, typer.Option("--jobs", "--processes", min=1, help="Processes that share images and threads.")
]
PhaseOption = Annotated[str, typer.Option("--phase", help="TRAIN or TEST: which layers the rules of the file keep.")]
VariablesOption = Annotated[
    list[str] | None,
    typer.Option("--var", metavar="K=V", help="Value of a ${K} in the prototxt; may be repeated.", show_default=False),
]
DialectOption = Annotated[
    str,
    typer.Option(
        "--dialect",
        help="The Caffe fork the net is for: v1, v2, x2, bvlc, hed, segnet, enet, pspnet, crfrnn; auto finds out.",
    ),
]
StageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--stage", metavar="NAME", help="A stage of the net's state; may be repeated, or A,B.", show_default=False
    ),
]
LevelOption = Annotated[
    int | None, typer.Option("--level", metavar="N", help="The level of the net's state.", show_default=False)
]
NetArgument = Annotated[
    Path, typer.Argument(metavar="NET", help="A .prototxt, or a .safetensors checkpoint.", show_default=False)
]


def expanded(paths: list[Path]) -> list[Path]:
    """The paths, patterns that no shell has expanded ('photos/*.jpg', quoted or not) replaced by what they match.

    ValueError for a pattern that matches nothing; a file whose own name looks like a pattern is that file."""
    found: list[Path] = []
    for path in paths:
        if not glob.has_magic(str(path)) or path.exists():
            found.append(path)
            continue
        matches = sorted(glob.glob(str(path.expanduser()), recursive=True))
        if not matches:
            raise ValueError(f"{path}: matches no file")
        found += map(Path, matches)
    return found


def parse_variables(pairs: list[str] | None) -> dict[str, str]:
    """K=V strings as a dict; ValueError for one without '=' or without a name."""
    variables = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"--var {pair}: must be NAME=VALUE")
        variables[name] = value
    return variables


class NetOptions(TypedDict):
    """How a net's text is read, beside its phase: keywords of read_net, load_caffe and Segmenter."""

    variables: dict[str, str]
    dialect: str
    level: int
    stages: tuple[str, ...]


def parse_net_options(pairs: list[str] | None, dialect: str, stages: list[str] | None, level: int | None) -> NetOptions:
    """What --var, --dialect, --stage and --level say together; errors as parse_variables."""
    chosen = tuple(name for names in stages or [] for name in names.split(",") if name)
    return {"variables": parse_variables(pairs), "dialect": dialect, "level": level or 0, "stages": chosen}


def parse_phase(phase: str) -> str:
    """TRAIN or TEST, whatever the case; ValueError for others."""
    if phase.upper() not in ("TRAIN", "TEST"):
        raise ValueError(f"--phase {phase}: must be TRAIN or TEST")
    return phase.upper()


def parse_numbers(option: str, text: str) -> tuple[float, ...]:
    """Numbers with commas between them; ValueError naming the option for anything else."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"{option} {text}: must be numbers with commas between them") from error


def parse_size(size: str) -> tuple[int, int]:
    """HEIGHTxWIDTH as (height, width); ValueError for anything else."""
    sides = [int(side) if side.isdecimal() else 0 for side in size.lower().split("x")]
    if len(sides) != 2 or min(sides) < 1:
        raise ValueError(f"--size {size}: must be HEIGHTxWIDTH, such as 321x321")
    return sides[0], sides[1]
