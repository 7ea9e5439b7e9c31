"""`deeplab verify` as a whole: alone, with data and weights, under torchrun's variables."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.paths import SHARED

SAMPLE = SHARED / "voc_sample"


@pytest.fixture
def verify(deeplab, tmp_path):
    """verify(...) runs the verb without timings: its exit code and rows by id."""

    def run(*arguments):
        json_file = tmp_path / "v.json"
        result = deeplab("verify", "--no-timings", "--work", tmp_path / "work", "--json", json_file, *arguments)
        assert result.exit_code in (0, 1), result.output
        return result, {row["id"]: row for row in json.loads(json_file.read_text())["rows"]}

    return run


def test_without_data_and_weights_every_row_is_answered(verify, tmp_path):
    (tmp_path / "none").mkdir()
    result, rows = verify("--weights", tmp_path / "none")
    assert result.exit_code == 0, result.output
    assert sum(name.startswith("R") for name in rows) == 174
    assert rows["R016"]["verdict"] == "reproduced"
    assert rows["R016"]["ours"] == pytest.approx(134.346581)
    assert (rows["R001"]["verdict"], rows["R011"]["verdict"]) == ("needs weights", "test server only")
    assert rows["R046"]["conflict"] == ["R049"]
    assert "reproduced, " in result.stdout
    assert not (tmp_path / "work").exists()


def test_walks_the_whole_path_with_data_and_stand_in_weights(verify, voc_devkit, weights_folder, tmp_path):
    result, rows = verify("--data", voc_devkit.folder, "--weights", weights_folder, "--html", tmp_path / "v.html")
    assert result.exit_code == 0, result.output
    for name in ("R001", "R002", "R007", "R008", "R110", "R130"):
        assert rows[name]["verdict"] == "needs weights"
        assert "stand-in" in rows[name]["detail"]
    assert isinstance(rows["R008"]["ours"], float)
    assert len(rows["R008"]["per_class"]) == 21
    assert "stand-in weights" in (tmp_path / "v.html").read_text()


def test_a_number_that_differs_is_exit_code_1(verify, monkeypatch, tmp_path):
    import deeplab_repro.verify.run as run

    read = run.read_published

    def changed():
        published = read()
        rows = [replace(record, value=400.0) if record.id == "N01" else record for record in published.records]
        return replace(published, records=tuple(rows))

    monkeypatch.setattr(run, "read_published", changed)
    (tmp_path / "none").mkdir()
    result, rows = verify("--weights", tmp_path / "none")
    assert result.exit_code == 1
    assert rows["N01"]["verdict"] == "differs"


def test_refusals_are_one_line(refused, voc_devkit, tmp_path):
    options = ("verify", "--no-timings")
    refused("no such folder", *options, "--data", tmp_path / "gone")
    refused("no such folder", *options, "--weights", tmp_path / "gone")
    refused("no such data set", *options, "--data", f"KITTI={voc_devkit.folder}")
    refused("named twice", *options, "--data", voc_devkit.folder, "--data", voc_devkit.folder)
    refused("does not exist", *options, "--html", tmp_path / "gone" / "v.html")


def test_ranks_share_the_images_and_the_first_answers(voc_devkit, weights_folder, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (weights_folder / "v1_deeplab_train.caffemodel").unlink()
    code = "from deeplab_repro.cli import main; main()"
    arguments = [
        "verify",
        "--no-timings",
        "--data",
        voc_devkit.folder,
        "--weights",
        weights_folder,
        "--json",
        tmp_path / "v.json",
    ]
    ranks = []
    for rank in range(2):
        facts = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        ranks.append(
            subprocess.Popen(
                [sys.executable, "-c", code, *map(str, arguments), "--work", str(tmp_path / "work")],
                env={**os.environ, **{key: str(value) for key, value in facts.items()}, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    outputs = [process.communicate(timeout=120) for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], outputs
    assert "reproduced" in outputs[0][0]
    assert "reproduced" not in outputs[1][0]
    rows = {row["id"]: row for row in json.loads((tmp_path / "v.json").read_text())["rows"]}
    assert isinstance(rows["R007"]["ours"], float)


@pytest.mark.skipif(not SAMPLE.exists(), reason="needs ../shared/voc_sample, real VOC pictures")
def test_real_pictures_are_scored(verify, weights_folder, tmp_path):
    root = tmp_path / "sample"
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    for folder in ("JPEGImages", "SegmentationClass"):
        (root / folder).symlink_to(SAMPLE / folder)
    names = (SAMPLE / "ImageSets" / "Segmentation" / "val.txt").read_text().split()[:2]
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(names))
    (weights_folder / "v1_deeplab_train.caffemodel").unlink()
    result, rows = verify("--data", root, "--weights", weights_folder)
    assert result.exit_code == 0, result.output
    assert 0 <= rows["R007"]["ours"] < 100


def test_only_answers_what_a_pattern_names(verify, refused, tmp_path):
    (tmp_path / "none").mkdir()
    _, rows = verify("--weights", tmp_path / "none", "--only", "R00[12]", "--only", "r016")
    assert list(rows) == ["R001", "R002", "R016"]
    _, rows = verify("--weights", tmp_path / "none", "--only", "field_of_view")
    assert "R017" in rows
    assert "R016" not in rows
    refused("--only nothing: names no record", "verify", "--no-timings", "--only", "nothing")


def test_the_counts_come_first_and_no_line_is_wider_than_the_terminal(deeplab, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "none").mkdir()
    from typer.testing import CliRunner

    from deeplab_repro.cli import app

    words = ["verify", "--no-timings", "--weights", str(tmp_path / "none"), "--work", str(tmp_path / "w")]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].endswith(" published numbers, 9 orderings in the small")
    assert " reproduced, " in lines[1]
    assert lines[2].endswith("settings that match settings: nothing was computed for them")
    (row,) = [line for line in lines if line.split()[:1] == ["R016"]]
    assert "134.347" in row
    assert row.rstrip().endswith("reproduced")
    tables = [line for line in lines if not line.startswith("  ")]  # below a table stand the reasons, which fold
    assert max(map(len, tables)) <= 100
