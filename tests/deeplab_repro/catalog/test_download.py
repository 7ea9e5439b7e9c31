"""Downloads against a server of our own: cut off, killed, changed, refused."""

import os
import signal
import subprocess
import sys
import time

import pytest

from deeplab_repro.catalog.download import DownloadError, download

DATA = bytes(range(256)) * 4096  # 1 MiB


def test_file_arrives_and_progress_is_told(site, tmp_path):
    seen = []
    download(site.put("/a.bin", DATA), tmp_path / "a.bin", lambda have, total: seen.append((have, total)))
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_truncated_download_fails_and_goes_on_where_it_stopped(site, tmp_path):
    url = site.put("/a.bin", DATA)
    site.cut = 300_000
    with pytest.raises(DownloadError, match=r"300,000 of 1,048,576 bytes|connection broke"):
        download(url, tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()
    site.cut = None
    download(url, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert site.requests == [("/a.bin", None), ("/a.bin", "bytes=300000-")]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_killed_download_goes_on_where_it_stopped(site, tmp_path):
    url = site.put("/a.bin", DATA)
    site.pause = 0.02
    code = f"from deeplab_repro.catalog.download import download; download({url!r}, {str(tmp_path / 'a.bin')!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    part = tmp_path / "a.bin.part"
    deadline = time.monotonic() + 240
    while not (part.is_file() and part.stat().st_size >= 1 << 18):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    have = part.stat().st_size
    assert 0 < have < len(DATA)
    site.pause = 0.0
    download(url, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert site.requests[-1] == ("/a.bin", f"bytes={have}-")


@pytest.mark.parametrize("how", ["changed", "no ranges", "another address"])
def test_part_of_another_file_is_not_continued(site, tmp_path, how):
    url = site.put("/a.bin", DATA)
    site.cut = 300_000
    with pytest.raises(DownloadError):
        download(url, tmp_path / "a.bin")
    site.cut = None
    wanted = DATA[::-1]
    if how == "changed":
        site.put("/a.bin", wanted, '"two"')
    elif how == "another address":
        url = site.put("/b.bin", wanted)
    else:
        site.ranges, wanted = False, DATA
    download(url, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == wanted


def test_part_without_validator_is_not_continued(site, tmp_path):
    url = site.put("/a.bin", DATA, tag="")
    site.cut = 300_000
    with pytest.raises(DownloadError):
        download(url, tmp_path / "a.bin")
    site.cut = None
    download(url, tmp_path / "a.bin")
    assert site.requests[-1] == ("/a.bin", None)


def test_complete_part_is_taken_as_it_is(site, tmp_path):
    """Killed after the last byte, before the renaming."""
    url = site.put("/a.bin", DATA)
    site.cut = len(DATA) - 1
    with pytest.raises(DownloadError):
        download(url, tmp_path / "a.bin")
    with (tmp_path / "a.bin.part").open("ab") as file:
        file.write(DATA[-1:])
    download(url, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_dead_addresses_say_so(site, tmp_path):
    with pytest.raises(DownloadError, match="404 Not Found"):
        download(f"{site.address}/gone", tmp_path / "a")
    with pytest.raises(DownloadError, match="no answer"):
        download("http://127.0.0.1:9/a", tmp_path / "a")
    with pytest.raises(DownloadError, match="no address"):
        download("not-an-address", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_endless_answers_are_cut(site, tmp_path, monkeypatch):
    monkeypatch.setattr("deeplab_repro.catalog.download.MOST_BYTES", 500_000)
    url = site.put("/a.bin", DATA)
    with pytest.raises(DownloadError, match="announces 1,048,576 bytes"):
        download(url, tmp_path / "a.bin")
    site.announce = False
    with pytest.raises(DownloadError, match="sends more than 500,000 bytes"):
        download(url, tmp_path / "a.bin")
