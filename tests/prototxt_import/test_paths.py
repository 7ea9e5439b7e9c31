"""Files named inside files."""

from __future__ import annotations

import pytest

from prototxt_import import CaffeFormatError
from prototxt_import.paths import named_file


def test_named_files_are_looked_up_in_the_users_folders_only(tmp_path, monkeypatch):
    inner, here = tmp_path / "nets", tmp_path / "here"
    inner.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    for folder in (inner, here, tmp_path):
        (folder / f"{folder.name}.txt").write_text("1")
    source = str(inner / "net.prototxt")
    assert named_file("nets.txt", source) == inner / "nets.txt"
    assert named_file("here.txt", source) == here / "here.txt"
    assert named_file(str(inner / "nets.txt"), source) == inner / "nets.txt"
    for outside in ("/etc/hostname", f"../{tmp_path.name}.txt", "../nets/../../x", str(tmp_path)):
        with pytest.raises(CaffeFormatError, match="lies outside the folder"):
            named_file(outside, source)
    for absent in ("no.txt", ".", "", "a\0b"):
        with pytest.raises(CaffeFormatError, match=r"no such file|cannot be looked up"):
            named_file(absent, source)


def test_folders_the_user_names_are_looked_up_too_and_no_name_leads_out_of_them(tmp_path, monkeypatch):
    nets, data = tmp_path / "nets", tmp_path / "data"
    for folder in (nets, data):
        folder.mkdir()
        (folder / "list.txt").write_text("1")
    monkeypatch.chdir(nets)
    (tmp_path / "secret.txt").write_text("1")
    source = str(nets / "net.prototxt")
    assert named_file(f"{data}/list.txt", source, [str(data)]) == data / "list.txt"
    assert named_file("../data/list.txt", source, ["21", "../data/"]) == data / "list.txt"
    for outside in (f"{data}/../secret.txt", f"{data}/../../etc/hostname", "../secret.txt", f"{data}2/list.txt"):
        with pytest.raises(CaffeFormatError, match="lies outside the folder"):
            named_file(outside, source, [str(data)])
    # The root of the disk tells nothing about what the user means.
    with pytest.raises(CaffeFormatError, match="lies outside the folder"):
        named_file(f"{data}/list.txt", source, ["/", ""])


def test_links_in_the_users_folder_are_followed_but_lead_no_name_out_of_it(tmp_path, monkeypatch):
    nets, far = tmp_path / "nets", tmp_path / "far" / "list"
    nets.mkdir()
    far.mkdir(parents=True)
    monkeypatch.chdir(nets)
    (far / "train.txt").write_text("1")
    (tmp_path / "far" / "secret.txt").write_text("1")
    (nets / "list").symlink_to(far)
    (tmp_path / "by_link").symlink_to(nets)
    for source in (nets / "net.prototxt", tmp_path / "by_link" / "net.prototxt"):
        listed = named_file("list/train.txt", str(source))
        assert listed == source.parent / "list" / "train.txt"
        assert listed.read_text() == "1"
        assert named_file(str(nets / "list" / "train.txt"), str(source)).read_text() == "1"
        with pytest.raises(CaffeFormatError, match="no such file"):
            named_file("list/../secret.txt", str(source))
        with pytest.raises(CaffeFormatError, match="lies outside the folder"):
            named_file("list/../../far/secret.txt", str(source))
    (nets / "device.txt").symlink_to("/dev/zero")
    with pytest.raises(CaffeFormatError, match="no such file"):
        named_file("device.txt", str(nets / "net.prototxt"))
