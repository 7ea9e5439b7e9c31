"""Fetching, adding and checking weight files, with everything that may go wrong."""

import hashlib
import io
import json
import zipfile
from dataclasses import replace

import pytest

from deeplab_repro.catalog import Lists, Store
from deeplab_repro.catalog.download import DownloadError


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "weights")


def _names(store):
    return sorted(path.name for path in store.folder.iterdir()) if store.folder.exists() else []


def _zip(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"released/{name}.caffemodel", data)
    return buffer.getvalue()


def test_fetched_file_is_checked_and_noted(site, tiny, store):
    entry, data = tiny
    entry = replace(entry, urls=(f"{site.address}/dead", site.put("/tiny.caffemodel", data)))
    said = []
    path = store.fetch(entry, report=said.append)
    assert path.read_bytes() == data
    assert said == [f"{site.address}/dead: 404 Not Found"]
    assert _names(store) == ["checksums.json", "tiny.caffemodel"]
    noted = store.checksums()["tiny"]
    assert noted["bytes"] == len(data)
    assert noted["origin"] == entry.urls[1]
    assert store.check(entry) == path


def test_dead_links_tell_what_to_do(site, tiny, store):
    entry = replace(tiny[0], urls=(f"{site.address}/gone",))
    with pytest.raises(
        DownloadError, match=r"404 Not Found\. Ask for tiny.caffemodel elsewhere.*weights add tiny FILE"
    ):
        store.fetch(entry)
    with pytest.raises(DownloadError, match="no address is known"):
        store.fetch(tiny[0])
    with pytest.raises(DownloadError, match=r"never released: train it \(for a week\)"):
        store.fetch(replace(tiny[0], released=False, recipe="for a week"))
    assert _names(store) == []


def test_page_instead_of_the_file_is_refused(site, tiny, store):
    page = b"<!doctype html><html><body>moved</body></html>"
    entry = replace(tiny[0], urls=(site.put("/page", page),))
    with pytest.raises(DownloadError, match="what it gave"):
        store.fetch(entry)
    assert _names(store) == []


def test_truncated_file_is_never_under_its_name_and_is_completed(site, tiny, store):
    entry, data = tiny
    entry = replace(entry, urls=(site.put("/tiny.caffemodel", data),))
    site.cut = 200_000
    with pytest.raises(DownloadError):
        store.fetch(entry)
    assert store.find("tiny") is None
    site.cut = None
    assert store.fetch(entry).read_bytes() == data
    assert site.requests[-1][1] == "bytes=200000-"


def test_archive_is_fetched_once_for_all_its_members(site, tiny, store):
    entry, data = tiny
    url = site.put("/both.zip", _zip(train=data, train2=data))
    for name in ("train", "train2"):
        store.fetch(replace(entry, name=name, urls=(url,), member=f"{name}.caffemodel"))
    assert len(site.requests) == 1
    assert store.find("train2").read_bytes() == data


def test_known_checksum_is_kept_to(site, tiny, store, tmp_path):
    entry, data = tiny
    (tmp_path / "mine").write_bytes(data)
    with pytest.raises(ValueError, match=r"mine: sha256 [0-9a-f]{64}, but the catalog has 00 for tiny"):
        store.add(replace(entry, sha256="00"), tmp_path / "mine")
    assert _names(store) == []
    store.add(entry, tmp_path / "mine")
    other = bytearray(data)
    other[1000:1004] = b"\1\2\3\4"  # the same tensors, another number
    (tmp_path / "other").write_bytes(other)
    with pytest.raises(ValueError, match="another file than before"):
        store.add(entry, tmp_path / "other")
    assert store.find("tiny").read_bytes() == data
    store.find("tiny").write_bytes(other)
    with pytest.raises(ValueError, match="another file than before"):
        store.check(entry)


def test_added_archive_gives_its_member(tiny, store, tmp_path):
    entry, data = tiny
    (tmp_path / "a.zip").write_bytes(_zip(tiny=data, init=b""))
    assert store.add(entry, tmp_path / "a.zip").read_bytes() == data
    assert store.checksums()["tiny"]["origin"] == "a.zip"


def test_wrong_file_is_refused_and_leaves_nothing(tiny, store, tmp_path):
    entry, data = tiny
    (tmp_path / "mine").write_bytes(data)
    with pytest.raises(ValueError, match=r"mine: not the weights of tiny: .*120,000 numbers, should be 3 of 120,000"):
        store.add(replace(entry, blobs=3), tmp_path / "mine")
    (tmp_path / "cut").write_bytes(data[:1000])
    with pytest.raises(ValueError, match="cut"):
        store.add(entry, tmp_path / "cut")
    with pytest.raises(FileNotFoundError, match="none"):
        store.add(entry, tmp_path / "none")
    assert _names(store) == []


def test_file_put_there_by_hand_is_noted_at_its_first_check(tiny, store):
    entry, data = tiny
    store.folder.mkdir()
    (store.folder / "tiny.caffemodel").write_bytes(data)
    store.check(entry)
    assert store.checksums()["tiny"]["origin"] == "found in the folder"
    with pytest.raises(FileNotFoundError, match="weights add other FILE"):
        store.check(replace(entry, name="other"))


def test_damaged_checksums_are_named(tiny, store):
    store.folder.mkdir()
    (store.folder / "checksums.json").write_text(json.dumps(["no table"]))
    with pytest.raises(ValueError, match=r"checksums\.json: damaged"):
        store.checksums()


def test_lists_are_checked_by_md5(site, store):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("list/val.txt", "2007_000033\n")
    url = site.put("/list.zip", buffer.getvalue())
    md5 = "a4c66a1be2fcfa8cf6dcc8ba1d25b4d4"
    good = Lists("lists", (f"{site.address}/gone", url), {"val.txt": hashlib.md5(b"2007_000033\n").hexdigest()})
    folder = store.fetch_lists(good)
    assert [path.name for path in folder.iterdir()] == ["val.txt"]
    with pytest.raises(ValueError, match=rf"val\.txt has md5 .*, should be {md5}"):
        store.fetch_lists(replace(good, urls=(url,), md5={"val.txt": md5}))
    with pytest.raises(DownloadError, match="404"):
        store.fetch_lists(replace(good, urls=(f"{site.address}/gone",)))


def test_prototxts_beside_a_file_come_from_the_same_place(site, tiny, store):
    entry, data = tiny
    url = site.put("/net/tiny.caffemodel", data)
    site.put("/net/train.prototxt", b"name: 'train'\n")
    entry = replace(entry, urls=(f"{site.address}/gone/tiny.caffemodel", url), beside=("train.prototxt",))
    folder = store.fetch_beside(entry)
    assert (folder / "train.prototxt").read_text() == "name: 'train'\n"
    assert [path.name for path in folder.iterdir()] == ["train.prototxt"]
    site.put("/net/train.prototxt", b"<html>moved</html>")
    with pytest.raises(DownloadError, match=r"train\.prototxt: .*a web page, no prototxt"):
        store.fetch_beside(entry)


def test_prototxts_of_an_archive_come_out_of_it(site, tiny, store):
    entry, data = tiny
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/tiny.caffemodel", data)
        archive.writestr("a/test.prototxt", "name: 'test'")
    url = site.put("/all.zip", buffer.getvalue())
    entry = replace(entry, urls=(url,), member="tiny.caffemodel", beside=("test.prototxt",))
    store.fetch(entry)
    assert (store.fetch_beside(entry) / "test.prototxt").read_text() == "name: 'test'"
    assert len(site.requests) == 1


def test_file_of_a_port_is_taken_whole(store, tmp_path):
    """A .pth is a zip archive, whose members are nobody's business here."""
    import torch

    from deeplab_repro.catalog import read_catalog

    torch.save({"layer1.weight": torch.zeros(2)}, tmp_path / "mine.pth")
    with pytest.raises(ValueError, match=r"mine\.pth: no table knows its names"):
        store.add(read_catalog().entry("kazuto1011_voc12"), tmp_path / "mine.pth")
    assert _names(store) == []
