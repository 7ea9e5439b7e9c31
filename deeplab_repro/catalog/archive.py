"""One member out of a zip archive, whatever the archive says about paths and sizes."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

_CHUNK = 1 << 20


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a zip archive.

    Args:
        path: The file.

    Returns:
        The answer.
    """
    return zipfile.is_zipfile(path)


def extract_member(
    archive: str | os.PathLike[str], member: str, target: str | os.PathLike[str], most_bytes: int
) -> None:
    """Take a member of a file name out of an archive, in whatever folder of it the member is.

    Only `target` is ever written: paths inside the archive choose nothing, so none can lead out of a folder.

    Args:
        archive: The archive.
        member: The member's file name.
        target: The file to write.
        most_bytes: What the member may have.

    Raises:
        ValueError: The archive is damaged or encrypted, holds no such member or several, or the member has more bytes,
            announced or read; the message names the archive.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [info for info in opened.infolist() if _file_name(info.filename) == member and not info.is_dir()]
            if not members:
                names = sorted({_file_name(info.filename) for info in opened.infolist() if not info.is_dir()})
                raise ValueError(f"{archive}: holds no {member}; it holds {', '.join(names[:8]) or 'nothing'}")
            # macOS adds a folder of the same names, which hold no data of the files.
            members = [info for info in members if not info.filename.startswith("__MACOSX/")] or members
            if len(members) > 1:
                raise ValueError(
                    f"{archive}: holds {len(members)} files called {member}; unpack it and add the right one"
                )
            if members[0].file_size > most_bytes:
                raise ValueError(
                    f"{archive}: {member} would take {members[0].file_size:,} bytes, {most_bytes:,} at most"
                )
            _copy(opened, members[0], Path(target), most_bytes)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{archive}: a damaged or encrypted archive: {error}") from error


def _copy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, most_bytes: int) -> None:
    written = 0
    with archive.open(member) as source, target.open("wb") as file:
        while data := source.read(_CHUNK):
            written += len(data)
            if written > most_bytes:
                raise ValueError(f"{archive.filename}: {member.filename} is longer than {most_bytes:,} bytes")
            file.write(data)


def _file_name(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]
