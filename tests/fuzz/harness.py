"""Runs one reader under atheris: `python tests/fuzz/fuzz_text.py [-runs=N] [-max_len=N] [other libFuzzer options]`.

Seeds are recorded files; what coverage adds to them is kept in build/fuzz. An input that lets anything but
CaffeFormatError out, or takes 30 seconds, is saved in tests/fuzz/findings and ends the run with a non-zero code; once
mended, it stays there as a regression test (test_findings.py)."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[2]


def run(kind: str, max_len: int) -> None:
    """Fuzz the readers of `kind`, a key of readers.READERS; does not return."""
    with atheris.instrument_imports(include=["prototxt_import"]):
        import prototxt_import  # noqa: F401
    import readers

    corpus = ROOT / "build" / "fuzz" / kind
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in readers.SEEDS[kind]():
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    readers.FINDINGS.mkdir(exist_ok=True)
    options = [f"-max_len={max_len}", "-timeout=30", "-rss_limit_mb=2048", "-print_final_stats=1"]
    if kind == "text":
        words = corpus.with_suffix(".dict")
        quoted = (word.replace('"', '\\"') for word in sorted(set(readers.text_words())))
        words.write_text("".join(f'"{word}"\n' for word in quoted))
        options.append(f"-dict={words}")
    options.append(f"-artifact_prefix={readers.FINDINGS}/{kind}-")
    with readers.scratch_file() as file:
        read = readers.READERS[kind]
        atheris.Setup([sys.argv[0], *options, *sys.argv[1:], str(corpus)], lambda data: read(data, file))
        atheris.Fuzz()
