"""Downloads that go on where they stopped."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from deeplab_repro.files.atomic import write_text

# Told the bytes that are there and the bytes there will be (None where the server does not say).
Progress = Callable[[int, int | None], None]
CHUNK = 1 << 18
TIMEOUT = 30.0
# No original file comes near this; a server that sends more is not sending one.
MOST_BYTES = 8 << 30


class DownloadError(OSError):
    """An address that did not give its file; says why, on one line."""


def download(url: str, target: str | os.PathLike[str], progress: Progress | None = None) -> None:
    """Fetch a file, which appears when it is complete.

    What came is kept as TARGET.part when the connection breaks or the process is killed; the next call asks for the
    rest, and starts again where the server cannot give it or the file there has changed since.

    Args:
        url: The address.
        target: The file.
        progress: Told the bytes that are there and those there will be.

    Raises:
        DownloadError: The address does not answer, refuses, or ends before its announced length.
    """
    target = Path(target)
    part = target.with_name(f"{target.name}.part")
    try:
        _fetch(url, part, progress or (lambda *_: None))
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise DownloadError(f"no answer: {error.reason}") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise DownloadError(f"the connection broke ({type(error).__name__}); what came is kept, run again") from error
    except ValueError as error:
        raise DownloadError(f"no address: {error}") from error
    os.replace(part, target)
    _facts_file(part).unlink(missing_ok=True)


def _fetch(url: str, part: Path, progress: Progress) -> None:
    known = _known(part, url)
    have = part.stat().st_size if known else 0
    headers = {"User-Agent": "deeplab-repro", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": known["validator"]}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have and have == known.get("total"):
            return  # killed between the last byte and the renaming
        raise
    with answer:
        if have and (answer.status != 206 or not _begins_at(answer, have)):
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and length.isdecimal() else None
        if total is not None and total > MOST_BYTES:
            raise DownloadError(f"announces {total:,} bytes, more than any original file has")
        validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        if validator.startswith("W/"):
            validator = answer.headers.get("Last-Modified") or ""
        write_text(_facts_file(part), json.dumps({"url": url, "validator": validator, "total": total}))
        with part.open("ab" if have else "wb") as file:
            while data := answer.read(CHUNK):
                have += len(data)
                if have > MOST_BYTES:
                    raise DownloadError(f"sends more than {MOST_BYTES:,} bytes; no original file does")
                file.write(data)
                progress(have, total)
    if total is not None and have != total:
        raise DownloadError(f"ended after {have:,} of {total:,} bytes; what came is kept, run again")


def _facts_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _known(part: Path, url: str) -> dict[str, Any]:
    """What is known of a part that can be continued; empty where there is none of this address."""
    with suppress(OSError, ValueError):
        facts = json.loads(_facts_file(part).read_text())
        # Without a validator nothing says that the rest belongs to the same file.
        if isinstance(facts, dict) and facts.get("url") == url and facts.get("validator") and part.stat().st_size:
            return facts
    return {}


def _begins_at(answer: Any, start: int) -> bool:
    return str(answer.headers.get("Content-Range", "")).startswith(f"bytes {start}-")
