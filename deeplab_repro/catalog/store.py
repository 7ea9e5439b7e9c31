"""A folder of weight files under the catalog's names, and the checksums they had when they came."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from deeplab_repro.catalog.archive import extract_member, is_archive
from deeplab_repro.catalog.download import DownloadError, Progress, download
from deeplab_repro.catalog.entries import Entry, Lists
from deeplab_repro.catalog.tensors import check_tensors, expected_tensors
from deeplab_repro.files.atomic import output_folder, replacing, write_text

FOLDER_VARIABLE = "DEEPLAB_WEIGHTS"
CHECKSUMS = "checksums.json"
SUFFIXES = (".caffemodel", ".caffemodel.h5", ".pth")
_TEXT_BYTES = 1 << 26


def default_folder() -> Path:
    """The folder of weight files: $DEEPLAB_WEIGHTS, or one in the user's cache folder for this program.

    Returns:
        The folder, which need not exist.

    Example:
        >>> from deeplab_repro import catalog
        >>> catalog.default_folder()
        PosixPath('...')
    """
    import pooch

    return Path(os.environ.get(FOLDER_VARIABLE) or Path(pooch.os_cache("deeplab-repro")) / "weights")


class Store:
    """A folder of weight files; checksums.json in it holds sha256, size and origin of every file that passed its check.

    Args:
        folder: The folder, which need not exist.

    Example:
        >>> from deeplab_repro import catalog
        >>> store = catalog.Store("weights")
        >>> store.find("vgg16") is None, store.checksums()
        (True, {})
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def find(self, name: str) -> Path | None:
        """The file of a name.

        Args:
            name: The entry's name.

        Returns:
            Its path, None where there is none.
        """
        for suffix in SUFFIXES:
            path = self.folder / f"{name}{suffix}"
            if path.is_file():
                return path
        return None

    def checksums(self) -> dict[str, dict[str, Any]]:
        """What checksums.json holds.

        Returns:
            sha256, bytes, origin and date by name; nothing where there is no such file.

        Raises:
            ValueError: The file is damaged.
        """
        path = self.folder / CHECKSUMS
        if not path.is_file():
            return {}
        try:
            noted = json.loads(path.read_text())
            if not isinstance(noted, dict) or not all(isinstance(facts, dict) for facts in noted.values()):
                raise ValueError("not a table of names")
        except ValueError as error:
            raise ValueError(f"{path}: damaged ({error}); delete it, and every file is noted anew") from error
        return noted

    def check(self, entry: Entry) -> Path:
        """Check the checksum and the tensors of an entry's file; the checksum is noted where none is known.

        Args:
            entry: The entry.

        Returns:
            The file's path.

        Raises:
            FileNotFoundError: The file is not there.
            ValueError: It is another file than it was or should be.
        """
        path = self.find(entry.name)
        if path is None:
            raise FileNotFoundError(f"{self.folder / entry.name}{SUFFIXES[0]}: not there; {how_to_get(entry)}")
        self._compare(entry, path, sha256(path))
        check_tensors(entry, path)
        if entry.name not in self.checksums():
            self._note(entry.name, path, "found in the folder")
        return path

    def add(self, entry: Entry, source: str | os.PathLike[str], origin: str = "") -> Path:
        """Check a file obtained anywhere, or an archive that holds it, and copy it into the folder.

        Nothing is left behind when the check fails.

        Args:
            entry: The entry it is the file of.
            source: The file, or the archive.
            origin: What checksums.json says about where it came from.

        Returns:
            The path of the copy.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The checksum is not the known one, and as `check_tensors`.
        """
        source = Path(source)
        if not source.is_file():
            raise FileNotFoundError(f"{source}: no such file")
        suffix = {".h5": SUFFIXES[1], ".pth": SUFFIXES[2]}.get(source.suffix, SUFFIXES[0])
        with output_folder(self.folder), replacing(self.folder / f"{entry.name}{suffix}") as temporary:
            if _holds_members(source):
                extract_member(
                    source, entry.member or entry.file or f"{entry.name}.caffemodel", temporary, _most(entry)
                )
            else:
                shutil.copyfile(source, temporary)
            self._passes(entry, temporary, str(source))
        path = self.folder / f"{entry.name}{suffix}"
        self._note(entry.name, path, origin or source.name)
        return path

    def fetch(
        self,
        entry: Entry,
        progress: Progress | None = None,
        report: Callable[[str], None] = lambda _: None,
        urls: tuple[str, ...] = (),
    ) -> Path:
        """Download an entry's file from the first address that gives it, check and keep it.

        Args:
            entry: The entry.
            progress: Told how far a download is.
            report: Told in a sentence about every address that does not give the file, or gives another.
            urls: Addresses in place of the entry's.

        Returns:
            The file's path.

        Raises:
            DownloadError: No address gives the file; the message says what to do instead.
        """
        failures = []
        with output_folder(self.folder) as folder:
            for url in urls or entry.urls:
                target = _kept_download(folder, url)
                try:
                    if not target.is_file():
                        download(url, target, progress)
                    path = self.add(entry, target, url)
                except (DownloadError, ValueError) as error:
                    if not isinstance(error, DownloadError):
                        target.unlink(missing_ok=True)  # complete, and not what it should be
                    failures.append(f"{url}: {str(error).replace(str(target), 'what it gave')}")
                    report(failures[-1])
                    continue
                if not _holds_members(target):
                    target.unlink()
                return path
            reasons = "; ".join(failures) or "no address is known"
            raise DownloadError(f"{entry.name}: {reasons}. {how_to_get(entry)}")

    def fetch_beside(self, entry: Entry, progress: Progress | None = None) -> Path:
        """Download the prototxts that stood beside an entry's file into the folder NAME.

        Args:
            entry: The entry.
            progress: Told how far a download is.

        Returns:
            That folder.

        Raises:
            DownloadError: As `fetch`, also for what is no text.
        """
        if not entry.beside:
            raise DownloadError(f"{entry.name}: no prototxts are known to have stood beside its file")
        failures = []
        with output_folder(self.folder / entry.name) as folder:
            for url in entry.urls:
                archive = _kept_download(self.folder, url)
                try:
                    if entry.member and not archive.is_file():
                        download(url, archive, progress)
                    for name in entry.beside:
                        with replacing(folder / name) as temporary:
                            if entry.member:
                                extract_member(archive, name, temporary, _TEXT_BYTES)
                            else:
                                download(urljoin(url, name), temporary, progress)
                            _check_text(temporary, f"{url}: {name}")
                except (DownloadError, ValueError) as error:
                    failures.append(f"{url}: {error}")
                    continue
                return folder
            reasons = "; ".join(failures) or "no address is known"
            raise DownloadError(f"{', '.join(entry.beside) or entry.name}: {reasons}")

    def fetch_lists(self, lists: Lists, progress: Progress | None = None) -> Path:
        """Download image lists into the folder NAME and check the md5 of those that are known.

        Args:
            lists: The lists.
            progress: Told how far a download is.

        Returns:
            That folder.

        Raises:
            DownloadError: As `fetch`.
            ValueError: A list is not the known one.
        """
        failures = []
        for url in lists.urls:
            with output_folder(self.folder / lists.name) as folder:
                archive = folder / _file_name(url)
                try:
                    download(url, archive, progress)
                except DownloadError as error:
                    failures.append(f"{url}: {error}")
                    continue
                try:
                    for name, wanted in lists.md5.items():
                        with replacing(folder / name) as temporary:
                            extract_member(archive, name, temporary, _TEXT_BYTES)
                            if (md5 := _digest(temporary, "md5")) != wanted:
                                raise ValueError(f"{url}: {name} has md5 {md5}, should be {wanted}")
                finally:
                    archive.unlink()
                return folder
        raise DownloadError(f"{lists.name}: {'; '.join(failures)}. Obtain the archive elsewhere and unpack it yourself")

    def _passes(self, entry: Entry, path: Path, source: str) -> None:
        try:
            check_tensors(entry, path)
            self._compare(entry, path, sha256(path))
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), source)) from error

    def _compare(self, entry: Entry, path: Path, digest: str) -> None:
        wanted, origin = entry.sha256, "the catalog"
        if not wanted:
            wanted, origin = self.checksums().get(entry.name, {}).get("sha256", ""), str(self.folder / CHECKSUMS)
        if wanted and digest != wanted:
            raise ValueError(
                f"{path}: sha256 {digest}, but {origin} has {wanted} for {entry.name}; another file than before?"
            )

    def _note(self, name: str, path: Path, origin: str) -> None:
        facts = {
            "sha256": sha256(path),
            "bytes": path.stat().st_size,
            "origin": origin,
            "noted": datetime.now(UTC).strftime("%Y-%m-%d"),
        }
        sums = {**self.checksums(), name: facts}
        write_text(self.folder / CHECKSUMS, json.dumps(sums, indent=1, sort_keys=True) + "\n")


def how_to_get(entry: Entry) -> str:
    """Say what to do to have an entry's file.

    Args:
        entry: The entry.

    Returns:
        A sentence.
    """
    add = f"deeplab weights add {entry.name} FILE"
    if not entry.released:
        return f"It was never released: train it ({entry.recipe}) and run: {add}"
    inside = f" (in an archive: {entry.member})" if entry.member else ""
    return f"Ask for {entry.file}{inside} elsewhere, or take a copy you have, and run: {add}"


def sha256(path: Path) -> str:
    """The sha256 of a file's contents.

    Args:
        path: The file.

    Returns:
        Hexadecimal digits.
    """
    return _digest(path, "sha256")


def _digest(path: Path, algorithm: str) -> str:
    import pooch

    return str(pooch.file_hash(str(path), alg=algorithm))


def _most(entry: Entry) -> int:
    """Bytes that an entry's file may have: eight times its numbers' (nets that share blobs store them again)."""
    return (1 << 26) + 32 * expected_tensors(entry).parameters


def _kept_download(folder: Path, url: str) -> Path:
    """Where the download of an address lies: entries out of one archive share it."""
    return folder / f".{hashlib.sha256(url.encode()).hexdigest()[:12]}-{_file_name(url)}"


def _holds_members(path: Path) -> bool:
    """Whether a file is an archive of others; a .pth is one, too, and is taken whole."""
    return path.suffix != SUFFIXES[2] and is_archive(path)


def _check_text(path: Path, source: str) -> None:
    try:
        start = path.read_text("utf-8").lstrip()[:1]
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: no text") from error
    if start in ("", "<"):
        raise ValueError(f"{source}: {'a web page' if start else 'empty'}, no prototxt")


def _file_name(url: str) -> str:
    return Path(urlsplit(url).path).name or "download"
