"""Where the files lie that come with the package: models, catalog, published numbers."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def shipped(name: str) -> Path:
    """The path of a file of `weights/`: beside the package in a checkout, inside it where it was installed."""
    checkout = _PACKAGE.parent / "weights" / name
    return checkout if checkout.exists() else _PACKAGE / "weights" / name
