"""Files that Caffe's data layers name: lists of one image and its label a line, and mean images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab_repro.files.lists import read_pairs
from prototxt_import import NetSpec, read_mean
from prototxt_import.paths import named_file


@dataclass(frozen=True)
class ListItem:
    """One line of a list.

    Args:
        image: The image's file.
        label: The label map's file, an integer, several of them, or None.
        where: List and line, for errors.
    """

    image: Path
    label: Path | int | tuple[int, ...] | None
    where: str


def read_list(
    name: str, source: str, root: str = "", label: str = "PIXEL", trusted: Iterable[str] = (), most: int = 1
) -> list[ListItem]:
    """Read the list file that a prototxt names.

    Relative names in it are looked up beside the prototxt, else in the current folder.

    Args:
        name: The list, as the prototxt has it.
        source: The prototxt.
        root: Put before every name as it stands, as Caffe does.
        label: What the second column is: "PIXEL" a label map, "IMAGE" an integer, "NONE" nothing.
        trusted: Folders besides that the list may lie in, as for `named_file`.
        most: How many integers a line may have.

    Returns:
        One item a line.

    Raises:
        CaffeFormatError: The list is missing or lies elsewhere.
        ValueError: The list is empty, or a line lacks what the label asks for.
    """
    file = named_file(name, source, trusted)
    pairs = read_pairs(file, 1 if label == "NONE" else 2)
    base = _base(root + pairs[0][1][0], source)
    items = []
    for line, words in pairs:
        where = f"{name}:{line}"
        second: Path | int | tuple[int, ...] | None = None
        if label == "PIXEL":
            second = base / (root + words[1])
        elif label == "IMAGE":
            try:
                second = int(words[1]) if most == 1 else tuple(map(int, words[1:]))
            except ValueError:
                raise ValueError(f"{where}: the label must be an integer, found {' '.join(words[1:])!r}") from None
            if isinstance(second, tuple) and len(second) > most:
                raise ValueError(f"{where}: has {len(second)} labels, max_labels is {most}")
        items.append(ListItem(base / (root + words[0]), second, where))
    return items


def list_digest(name: str, source: str, trusted: Iterable[str] = ()) -> str:
    """What tells a list file from others: its words, wherever the files lie.

    Args:
        name: The list, as the prototxt has it.
        source: The prototxt.
        trusted: As of `read_list`.

    Returns:
        A digest in hexadecimal digits.

    Raises:
        ValueError: As of `read_pairs`.
    """
    lines = "\n".join(" ".join(words) for _, words in read_pairs(named_file(name, source, trusted), 1))
    return hashlib.blake2b(lines.encode(), digest_size=16).hexdigest()


def read_mean_image(name: str, spec: NetSpec) -> NDArray[np.float32]:
    """The mean image that a data layer of a net names.

    Args:
        name: The file, as written.
        spec: The net.

    Returns:
        float32 [C, H, W].

    Raises:
        CaffeFormatError: The file is missing, lies elsewhere, or is no mean.
    """
    mean = np.asarray(read_mean(named_file(name, spec.source, spec.variables.values())), np.float32)
    return mean.reshape(mean.shape[-3:])


def check_same_list(name: str, state: Mapping[str, Any], digest: str, count: int) -> None:
    """Make sure that a data layer's state is of its list.

    Args:
        name: The list, as the prototxt has it.
        state: With "order", and "list", the digest, which older ones lack.
        digest: The list's digest.
        count: How many lines or rows it has.

    Raises:
        ValueError: The state is of another list, which the message says with the list's name.
    """
    if len(state["order"]) != count or state.get("list", digest) != digest:
        raise ValueError(
            f"{name}: is not the list that the saved state is of ({count} entries, that has {len(state['order'])}); "
            "put that one back, or remove the .resume to go on with the data restarted"
        )


def _base(first: str, source: str) -> Path:
    """The folder that relative names are under, told from the first of them."""
    if Path(first).is_absolute():
        return Path("/")
    beside = Path(source).parent
    return beside if (beside / first).exists() else Path()
