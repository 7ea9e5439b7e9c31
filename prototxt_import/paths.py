"""Names of files inside files: looked up where the user's own file lies, and nowhere else.

Nets come from the internet; what they name must not make a program read /etc/passwd, or a device that never ends."""

from __future__ import annotations

from pathlib import Path

from prototxt_import.errors import CaffeFormatError, complain


def named_file(name: str, source: str) -> Path:
    """The file that the file `source` names: beside it, else in the current folder; links are resolved.

    Raises CaffeFormatError for one that lies outside both folders, is missing, or is no regular file."""
    folders = [Path(source).parent.resolve(), Path.cwd()]
    problem = "there is no such file beside it or in the current folder"
    for folder in folders:
        try:
            found = (folder / name).resolve()
            if not any(found.is_relative_to(one) for one in folders):
                problem = "lies outside the folder of the file that names it; copy it there"
            elif found.is_file():
                return found
        except (OSError, ValueError, RuntimeError) as error:
            raise _refused(name, source, f"cannot be looked up: {error}") from None
    raise _refused(name, source, problem)


def _refused(name: str, source: str, what: str) -> CaffeFormatError:
    return complain(f"file {name!r}: {what}", source=source)
