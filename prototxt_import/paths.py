"""Names of files inside files: looked up where the user's own file lies, and in folders that the user names.

Nets come from the internet; what they name must not make a program read /etc/passwd, or a device that never ends."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from prototxt_import.errors import CaffeFormatError, complain


def named_file(name: str, source: str, trusted: Iterable[str] = ()) -> Path:
    """The file that another file names: beside it, else in the current folder.

    A name may not lead out of the folders by its own words; links in them are the user's and are followed.

    Args:
        name: The name.
        source: The file that holds it.
        trusted: Values the user gave for ${NAME}s; a file may lie in folders that they name, the whole disk excepted.

    Returns:
        The file's path.

    Raises:
        CaffeFormatError: It lies outside all of these folders, is missing, or is no regular file.
    """
    problem = "there is no such file beside it or in the current folder"
    try:
        beside = Path(source).parent
        bases = [Path(os.path.abspath(beside)), Path.cwd()]
        folders = _trusted_folders(bases, trusted, beside.resolve())
        for base in bases:
            path = _plain(base / name)
            if not any(path.is_relative_to(folder) for folder in folders):
                problem = (
                    "lies outside the folder of the file that names it; copy it there, or allow its folder: "
                    f"--var DATA={path.parent}"
                )
            elif path.is_file():
                return path
    except (OSError, ValueError, RuntimeError) as error:
        raise _refused(name, source, f"cannot be looked up: {error}") from None
    raise _refused(name, source, problem)


def output_file(name: str, source: str, trusted: Iterable[str] = ()) -> Path:
    """The file that another file asks to be written, in the current folder where its name is relative, as in Caffe.

    Args:
        name: The name.
        source: The file that holds it.
        trusted: As of `named_file`.

    Returns:
        The file's path.

    Raises:
        CaffeFormatError: It would lie outside the folders of `named_file`, or in one that is missing.
    """
    bases = [Path.cwd(), Path(os.path.abspath(Path(source).parent))]
    folders = _trusted_folders(bases, trusted)
    path = _plain(bases[0] / name)
    if not any(path.is_relative_to(folder) for folder in folders):
        raise _refused(name, source, "would be written outside the folder of the file that names it")
    if not path.parent.is_dir():
        raise _refused(name, source, f"the folder {path.parent} does not exist")
    return path


def _trusted_folders(bases: list[Path], trusted: Iterable[str], *links: Path) -> set[Path]:
    """The folders that may hold a file: `bases`, what they link to, those that the user named; not the whole disk."""
    named = {*links, *(_plain(base / folder) for base in bases for folder in trusted)}
    return {*bases, *(folder for folder in named if folder != folder.parent)}


def _plain(path: Path) -> Path:
    """Without "..", each taken for the folder above as it is written: no link on the way can change what it means."""
    return Path(os.path.normpath(path))


def _refused(name: str, source: str, fault: str) -> CaffeFormatError:
    return complain(f"file {name!r}: {fault}", source=source)
