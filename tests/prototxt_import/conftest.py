"""Small nets and the recorded Caffe files that the importer's tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prototxt_import import NetSpec, read_net
from tests.paths import GOLDEN, SHARED


@pytest.fixture(scope="session")
def golden() -> Path:
    """Nets recorded from Caffe that are part of this repository."""
    return GOLDEN / "nets"


@pytest.fixture(scope="session")
def shared_caffe() -> Path:
    """The full set of recordings, beside the repository."""
    path = SHARED / "golden" / "caffe"
    if not path.is_dir():
        pytest.skip("needs the recordings in ../shared/golden/caffe")
    return path


@pytest.fixture
def net(tmp_path: Path) -> Callable[..., NetSpec]:
    """read_net on text, with a file name for the errors."""

    def read(text: str, **state: object) -> NetSpec:
        path = tmp_path / "net.prototxt"
        path.write_text(text)
        return read_net(path, **state)

    return read
