"""Members of archives, of hostile ones too."""

import zipfile

import pytest

from deeplab_repro.catalog.archive import extract_member, is_archive


def _zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def test_member_is_found_in_any_folder(tmp_path):
    archive = _zip(tmp_path / "a.zip", [("deep/er/w.bin", b"weights"), ("__MACOSX/deep/er/w.bin", b"x"), ("r", b"")])
    extract_member(archive, "w.bin", tmp_path / "out", 100)
    assert (tmp_path / "out").read_bytes() == b"weights"
    assert is_archive(archive)
    assert not is_archive(tmp_path / "out")


@pytest.mark.parametrize("name", ["../../evil.bin", "/etc/evil.bin", "..\\..\\evil.bin", "C:\\evil.bin"])
def test_paths_in_the_archive_lead_nowhere(tmp_path, name):
    (tmp_path / "in").mkdir()
    archive = _zip(tmp_path / "in" / "a.zip", [(name, b"data")])
    extract_member(archive, "evil.bin", tmp_path / "in" / "out", 100)
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert written == ["in/a.zip", "in/out"]


def test_bombs_are_refused(tmp_path):
    archive = _zip(tmp_path / "a.zip", [("w.bin", bytes(1 << 20))])
    with pytest.raises(ValueError, match=r"w\.bin would take 1,048,576 bytes, 1,000 at most"):
        extract_member(archive, "w.bin", tmp_path / "out", 1000)
    assert not (tmp_path / "out").exists()


def test_announced_size_is_not_believed(tmp_path):
    archive = _zip(tmp_path / "a.zip", [("w.bin", bytes(1 << 20))])
    data = bytearray(archive.read_bytes())
    size = (1 << 20).to_bytes(4, "little")
    while (at := data.find(size)) >= 0:
        data[at : at + 4] = (100).to_bytes(4, "little")
    archive.write_bytes(data)
    with pytest.raises(ValueError, match=r"damaged|longer"):
        extract_member(archive, "w.bin", tmp_path / "out", 1000)
    assert not (tmp_path / "out").exists() or (tmp_path / "out").stat().st_size <= 1000


def test_missing_doubled_and_damaged_members_are_named(tmp_path):
    archive = _zip(tmp_path / "a.zip", [("a/w.bin", b"1"), ("b/w.bin", b"2"), ("c/x.bin", b"3" * 50)])
    with pytest.raises(ValueError, match=r"holds no y\.bin; it holds w\.bin, x\.bin"):
        extract_member(archive, "y.bin", tmp_path / "out", 100)
    with pytest.raises(ValueError, match=r"holds 2 files called w\.bin"):
        extract_member(archive, "w.bin", tmp_path / "out", 100)
    data = bytearray(_zip(tmp_path / "b.zip", [("x.bin", bytes(range(50)))]).read_bytes())
    data[40] ^= 0xFF
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        extract_member(tmp_path / "b.zip", "x.bin", tmp_path / "out", 100)
