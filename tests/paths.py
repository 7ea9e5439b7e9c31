"""Folders that tests read: the checkout, recordings that come with it, and data that may lie beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
SHARED = ROOT.parent / "shared"
