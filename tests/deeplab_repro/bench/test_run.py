"""The harness on cases small enough for any machine."""

import json

import cv2
import numpy as np
import pytest
import torch

from benchmarks import small_run
from deeplab_repro.bench import crf, crf_accuracy, data, importer, run, timing
from deeplab_repro.bench.cases import CONV_CASES, CRF_GPU_CASES, MOST_ENERGIES, ConvCase, CrfCase, conv_cases, crf_cases

TINY = ConvCase("tiny", 8, 6, 3, 2, 7)


def test_alternate_takes_turns():
    order = []
    timings = timing.alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, "cpu", rounds=4)
    assert order == ["a", "b"] * 5
    assert timings["a"].samples == 4
    assert 0 <= timings["a"].best_ms <= timings["a"].median_ms


def test_alternate_stops_after_its_seconds():
    assert timing.alternate({"a": lambda: None}, "cpu", rounds=50, seconds=0)["a"].samples == 3


def test_crf_row_holds_times():
    (row,) = crf.bench_crf([CrfCase("busy", height=20, width=24, labels=3, iterations=2)], "cpu", seconds=0)
    assert row["passed"]
    assert row["vertices_per_pixel"] > 0
    assert "ours" in crf.format_row(row)
    assert {"build", "rest"} <= set(row["split_ms"])
    assert sum(row["split_ms"].values()) > 0
    assert set(row["peak_mib"]) == set(row["times"])
    assert json.loads(json.dumps(row)) == row


def test_crf_batch_is_checked_image_by_image(monkeypatch):
    monkeypatch.setattr(crf, "peak_mib", lambda case, program: None)  # a process each
    (row,) = crf.bench_crf([CrfCase("busy", height=20, width=24, labels=3, iterations=2, batch=2)], "cpu", seconds=0)
    assert row["passed"]
    assert row["case"].endswith(" n2")


def test_crf_row_names_the_original_programs_speed():
    times = {"ours": {"median_ms": 2.0}, "pydensecrf": {"median_ms": 6.0}}
    row = {"case": "c", "vertices_per_pixel": 1, "passed": True, "times": times, "split_ms": {}, "peak_mib": {}}
    assert "the original program about 4.5x" in crf.format_row(row | {"over_original": 4.5})


def test_lattice_error_is_measured_on_drawn_scenes(monkeypatch, tmp_path):
    monkeypatch.setattr(crf_accuracy, "PHOTOGRAPHS", tmp_path)
    monkeypatch.setattr(crf_accuracy, "LABELS", 3)
    rows = crf_accuracy.bench_accuracy("cpu", count=1, size=24, only="4/49/5")
    assert [row["case"] for row in rows] == ["4/49/5 it1", "4/49/5 it10"]
    for row in rows:
        assert "1 drawn scenes cropped to 24x24" in row["images"]
        assert 0 < row["mean_dq"] < row["max_dq"] <= 1
        assert row["labels_differing"] < 0.2
        assert "max|dQ|" in crf_accuracy.format_row(row)
    with pytest.raises(ValueError, match=r"no \.jpg or \.png image"):
        crf_accuracy.bench_accuracy("cpu", tmp_path)


def test_accuracy_reads_a_folder_of_photographs(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 30, 3), 200, np.uint8))
    crops, source = crf_accuracy._crops(tmp_path, 2, 32)
    assert [crop.shape for crop in crops] == [(32, 30, 3)]
    assert source == "1 photographs cropped to 32x32"


def test_bench_crf_accuracy_writes_and_draws(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from deeplab_repro.cli import app

    cv2.imwrite(str(tmp_path / "a.png"), np.arange(20 * 22 * 3, dtype=np.uint8).reshape(20, 22, 3))
    files = tmp_path / "rows.json", tmp_path / "rows.svg"
    arguments = ["bench", "crf", "--accuracy", "--images", str(tmp_path), "--only", "4/67/3"]
    result = CliRunner().invoke(app, [*arguments, "--device", "cpu", "--json", str(files[0]), "--plot", str(files[1])])
    assert result.exit_code == 0, result.output
    assert len(json.loads(files[0].read_text())["crf_accuracy"]) == 2
    assert "<svg" in files[1].read_text()
    result = CliRunner().invoke(app, ["bench", "conv", "--accuracy"])
    assert result.exit_code != 0


@pytest.mark.parametrize(
    ("family", "case"),
    [
        (["conv"], "fc6 512->1024 3x3 r12 65 n1"),
        (["crf"], "busy 500x375x21x10 4/67/3"),
        (["crf", "--accuracy"], "4/121/5"),
        (["net"], "ResNet-101 ASPP 321 n1"),
        (["net", "importer"], "LargeFOV 321 n1"),
    ],
)
def test_a_pattern_that_no_case_matches_is_refused_with_the_cases_there_are(family, case):
    from typer.testing import CliRunner

    from deeplab_repro.cli import app

    result = CliRunner().invoke(app, ["bench", *family, "--device", "cpu", "--only", "nosuchcase"])
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("deeplab bench: error: --only 'nosuchcase' matches no case: ")
    assert case in line


def test_crf_cases_of_the_gate_are_named_apart():
    names = [case.name for case in CRF_GPU_CASES]
    assert len(set(names)) == len(names) == 8
    assert max(case.energies for case in CRF_GPU_CASES) <= MOST_ENERGIES


def test_crf_cases_fit_into_memory():
    assert [case.labels for case in crf_cases()] == [21, 21]
    many = crf_cases(full=True, batches=(1, 8))
    assert {(case.height, case.labels, case.batch) for case in many} >= {(1024, 60, 1), (321, 150, 8), (375, 150, 1)}
    assert max(case.energies for case in many) <= MOST_ENERGIES


# Shares of valid products as they were counted for the table of shapes.
@pytest.mark.parametrize(("rate", "size", "valid"), [(6, 41, 0.81), (24, 41, 0.37), (12, 65, 0.77), (24, 65, 0.57)])
def test_valid_share(rate, size, valid):
    assert ConvCase("fc6", 512, 1024, 3, rate, size).valid == pytest.approx(valid, abs=0.005)


def test_the_short_list_is_part_of_the_long_one():
    assert len(conv_cases()) == 6
    assert set(conv_cases()) < set(CONV_CASES) == set(conv_cases(full=True))
    assert {case.batch for case in conv_cases(batches=(1, 10))} == {1, 10}
    assert {case.size for case in CONV_CASES} == {41, 65, 97}
    named = conv_cases(batches=(1, 10), only=r"4x4 r8 65 n10$")
    assert [case.name for case in named] == ["fc6 512->1024 4x4 r8 65 n10"]


def test_run_writes_rows_and_machine(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "conv_cases", lambda full, batches, only: [TINY])
    assert run.main(["conv", "--seconds", "0", "--json", str(tmp_path / "new" / "rows.json")]) == 0
    report = json.loads((tmp_path / "new" / "rows.json").read_text())
    assert report["machine"]["torch"] == torch.__version__
    assert report["conv"][0]["case"].startswith("tiny")
    capsys.readouterr()
    assert run.main(["conv", "--seconds", "0", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["conv"][0]["passed"]


def test_run_refuses_an_unknown_family(capsys):
    with pytest.raises(SystemExit, match="2"):
        run.main(["nets"])
    assert "choose from conv, crf" in capsys.readouterr().err


def test_small_run_touches_every_op():
    small_run.run("cpu")


def test_machine_record_names_no_host():
    assert set(run.machine_record()) <= {
        "cpu", "cores", "threads", "cpu_capability", "system", "python", "torch", "gpu", "gpu_memory_gib",
        "multiprocessors", "compute_capability", "cuda", "cudnn",
    }  # fmt: skip


def test_importer_row_compares_blobs_and_measures_each_reader():
    (row,) = importer.bench_importer(seconds=0, stages=((4, 8, 1),))
    assert {"bytes", "ours", "protobuf"} <= set(row["times"])
    assert row["blobs"] == 5 * 6 + 4 + 2 * 4 - 4
    assert "blobs differ" not in row["wrong"]
    assert "ours" in importer.format_row(row)


def test_importer_case_is_of_resnet_101s_size():
    spec = importer.resnet_spec()
    sizes = [np.prod(shape) for shapes in spec.param_shapes.values() for shape in shapes]
    assert 43_500_000 < sum(sizes) < 44_500_000


def test_data_rows_compare_batches_and_name_every_loader(monkeypatch):
    for name, small in (("SIZE", (60, 80)), ("CROP", 33), ("BATCH", 2)):
        monkeypatch.setattr(data, name, small)
    rows = data.bench_data(seconds=0, workers=(("thread", 0), ("thread", 1)), images=2)
    assert [row["passed"] for row in rows] == [True, True]
    assert "port" in data.format_row(rows[0])
