"""Where the files lie that come with the package: models, catalog, published numbers."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def shipped(name: str) -> Path:
    """Find a file of `weights/`, which lies beside the package in a checkout and inside it where it was installed.

    Args:
        name: The file's name.

    Returns:
        Its path.
    """
    checkout = _PACKAGE.parent / "weights" / name
    return checkout if checkout.exists() else _PACKAGE / "weights" / name
