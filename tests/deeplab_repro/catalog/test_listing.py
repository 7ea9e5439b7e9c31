"""The catalog beside a folder of files."""

import pytest

from deeplab_repro.catalog import Store, read_catalog
from deeplab_repro.catalog.listing import checked, listed, present

ENTRIES = [read_catalog().entry(name) for name in ("v1_largefov", "vgg16_20M")]


@pytest.fixture
def store(tmp_path):
    """A folder with one file of the catalog's name that is no model."""
    (tmp_path / "v1_largefov.caffemodel").write_bytes(b"x")
    return Store(tmp_path)


def test_rows_say_what_a_file_is_and_where(store):
    first, second = listed(ENTRIES, store)
    assert (first["name"], first["path"]) == ("v1_largefov", store.folder / "v1_largefov.caffemodel")
    assert (second["name"], second["path"]) == ("vgg16_20M", None)
    assert first["parameters"] == ENTRIES[0].parameters
    assert first["tensors"] == ENTRIES[0].blobs


def test_only_what_is_there_is_present(store, tmp_path):
    assert present(ENTRIES, store) == [ENTRIES[0]]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty: holds no file of the catalog; see deeplab weights list"):
        present(ENTRIES, Store(tmp_path / "empty"))


def test_problems_are_one_line_each_and_stop_nothing(store):
    first, second = checked(ENTRIES, store)
    for row in (first, second):
        assert row["problem"]
        assert "\n" not in row["problem"]
    assert first["path"] is not None
    assert second["path"] is None
