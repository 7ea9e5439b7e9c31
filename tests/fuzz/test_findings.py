"""Inputs that once broke a reader, and the seeds of the fuzzers: nothing but CaffeFormatError comes out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import readers

FINDINGS = sorted(path for kind in readers.READERS for path in readers.FINDINGS.glob(f"{kind}-*"))


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: path.name)
def test_findings_stay_mended(path):
    with readers.scratch_file() as file:
        readers.READERS[path.name.split("-")[0]](path.read_bytes(), file)


@pytest.mark.parametrize(("kind", "least"), [("text", 30), ("binary", 30), ("hdf5", 6), ("datum", 5)])
def test_seeds_pass(kind, least):
    seeds = list(readers.SEEDS[kind]())
    assert len(seeds) >= least
    with readers.scratch_file() as file:
        for seed in seeds:
            readers.READERS[kind](seed, file)
