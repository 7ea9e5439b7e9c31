"""Output files: written whole under their own name, or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside a file, renamed to it when the block succeeds and removed when it fails.

    The temporary name keeps the suffix, which many writers choose their format by. The file has the mode of any new
    file there, whatever mode a writer gives it (safetensors makes private ones).

    Args:
        path: The file.

    Raises:
        OSError: The folder is missing or cannot be written.

    Example:
        >>> from pathlib import Path
        >>> from deeplab_repro.files.atomic import replacing
        >>> with replacing("note.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> Path("note.txt").read_text()
        'whole'
    """
    target = Path(path)
    check_output_file(target)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        # An empty file tells the mode; to ask for the umask is to change it, for other threads too.
        temporary.touch(exist_ok=False)
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Replace a file by a text in UTF-8.

    Args:
        path: The file.
        text: The text.

    Raises:
        OSError: As of `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_output_file(path: str | os.PathLike[str]) -> None:
    """Make sure that a file of a name can be written; touches nothing.

    Args:
        path: The file.

    Raises:
        OSError: It cannot; the message names the file.
    """
    target = Path(path)
    folder = target.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{target}: the folder {folder} does not exist")
    if target.is_dir():
        raise IsADirectoryError(f"{target}: is a folder, a file is to be written there")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{target}: the folder {folder} cannot be written")


def check_output_folder(path: str | os.PathLike[str]) -> None:
    """Make sure that no file has a folder's name; touches nothing.

    Args:
        path: The folder, which need not be there.

    Raises:
        NotADirectoryError: It is a file, or lies in one; the message names it.
    """
    for level in (Path(path), *Path(path).parents):
        if level.exists():
            if not level.is_dir():
                raise NotADirectoryError(f"{level}: is a file, a folder is meant")
            return


@contextmanager
def output_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a folder, with its parents, for the block; when the block fails, what was made and is empty goes again.

    Args:
        path: The folder.

    Raises:
        OSError: The folder cannot be made or written; the message names it.
    """
    folder = Path(path)
    check_output_folder(folder)
    made = [level for level in (folder, *folder.parents) if not level.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder}: the folder cannot be written")
        yield folder
    except BaseException:
        for level in made:
            with suppress(OSError):
                level.rmdir()
        raise


@contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new folder beside `path`, renamed to it when the block succeeds and removed when it fails.

    Args:
        path: The folder.

    Raises:
        ValueError: A folder with something in it is there.
        OSError: The folder cannot be made.
    """
    target = Path(path)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target}: is there already; name a folder that is new or empty")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    temporary.mkdir()
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
