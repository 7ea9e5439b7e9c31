"""One member out of a zip archive, whatever the archive says about paths and sizes."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

_CHUNK = 1 << 20


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a zip archive."""
    return zipfile.is_zipfile(path)


def extract_member(
    archive: str | os.PathLike[str], member: str, target: str | os.PathLike[str], most_bytes: int
) -> None:
    """Write the member of that file name, in whatever folder of the archive it is, to `target`.

    Only `target` is ever written: paths inside the archive choose nothing, so none can lead out of a folder.
    Raises ValueError naming the archive where it is damaged or encrypted, holds no such member or several, or where
    the member has more than `most_bytes`, announced or found."""
    try:
        with zipfile.ZipFile(archive) as opened:
            found = [each for each in opened.infolist() if _file_name(each.filename) == member and not each.is_dir()]
            if not found:
                names = sorted({_file_name(each.filename) for each in opened.infolist() if not each.is_dir()})
                raise ValueError(f"{archive}: holds no {member}; it holds {', '.join(names[:8]) or 'nothing'}")
            # macOS adds a folder of the same names, which hold no data of the files.
            found = [each for each in found if not each.filename.startswith("__MACOSX/")] or found
            if len(found) > 1:
                raise ValueError(
                    f"{archive}: holds {len(found)} files called {member}; unpack it and add the right one"
                )
            if found[0].file_size > most_bytes:
                raise ValueError(f"{archive}: {member} would take {found[0].file_size:,} bytes, {most_bytes:,} at most")
            _copy(opened, found[0], Path(target), most_bytes)
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
