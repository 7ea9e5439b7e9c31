"""Output files appear whole, or not at all."""

import os
import stat

import pytest

from deeplab_repro.files.atomic import check_output_file, output_folder, replacing, write_text


def _write_and_fail(path):
    path.write_text("new")
    raise KeyError


def test_a_file_is_replaced_only_when_all_went_well(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(KeyError), replacing(target) as temporary:
        _write_and_fail(temporary)
    assert target.read_text() == "old"
    with replacing(target) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    write_text(target, "n\u00e9w\n")
    assert target.read_bytes() == b"n\xc3\xa9w\n"
    assert list(tmp_path.iterdir()) == [target]


def test_files_that_cannot_be_written_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.txt.*none does not exist"):
        check_output_file(tmp_path / "none" / "a.txt")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        check_output_file(tmp_path)


def test_a_folder_made_for_a_failure_goes_again(tmp_path):
    with pytest.raises(ValueError, match="no"), output_folder(tmp_path / "a" / "b"):
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_results_stays(tmp_path):
    with pytest.raises(KeyError), output_folder(tmp_path / "a") as folder:
        _write_and_fail(folder / "result")
    assert (tmp_path / "a" / "result").exists()


def test_a_file_where_the_folder_should_be_is_named(tmp_path):
    (tmp_path / "a").touch()
    with (
        pytest.raises(NotADirectoryError, match="a: is a file, a folder is meant"),
        output_folder(tmp_path / "a" / "b"),
    ):
        pass


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_files_have_the_umasks_mode_whatever_their_writer_gives(tmp_path, mask, mode):
    old = os.umask(mask)
    try:
        for given in (0o600, 0o777):
            target = tmp_path / f"{given:o}.bin"
            with replacing(target) as temporary:
                temporary.unlink()
                temporary.write_bytes(b"x")
                temporary.chmod(given)
            assert stat.S_IMODE(target.stat().st_mode) == mode
    finally:
        os.umask(old)
