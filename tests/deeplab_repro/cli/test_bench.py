"""`deeplab bench`: what it writes, draws and refuses, and its exit code."""

import json

import cv2
import numpy as np
import pytest
import torch

from deeplab_repro.bench import conv, crf, run
from deeplab_repro.bench.cases import (
    ConvCase,
    NetCase,
)

TINY_NET = NetCase("LargeFOV", "deeplab_largefov", "fc8_voc12", 33, {"width": 1 / 16})
TINY = ConvCase("tiny", 8, 6, 3, 2, 7)


def test_bench_crf_accuracy_writes_and_draws(tmp_path, deeplab, refused):
    cv2.imwrite(str(tmp_path / "a.png"), np.arange(20 * 22 * 3, dtype=np.uint8).reshape(20, 22, 3))
    files = tmp_path / "rows.json", tmp_path / "rows.svg"
    arguments = ["bench", "crf", "--accuracy", "--images", tmp_path, "--only", "4/67/3"]
    result = deeplab(*arguments, "--device", "cpu", "--json", files[0], "--plot", files[1])
    assert result.exit_code == 0, result.output
    assert len(json.loads(files[0].read_text())["crf_accuracy"]) == 2
    assert "<svg" in files[1].read_text()
    refused("--accuracy is of crf alone, not of conv", "bench", "conv", "--accuracy")
    refused("only --accuracy reads photographs", "bench", "crf", "--images", tmp_path)


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
def test_a_pattern_that_no_case_matches_is_refused_with_the_cases_there_are(deeplab, family, case):
    result = deeplab("bench", *family, "--device", "cpu", "--only", "nosuchcase")
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("deeplab bench: error: --only 'nosuchcase' matches no case: ")
    assert case in line


@pytest.fixture
def uncompiled(monkeypatch):
    """torch.compile takes half a minute on a small net."""
    monkeypatch.setattr(torch, "compile", lambda module: module)


def test_bench_verb_draws_and_writes_what_it_timed(tmp_path, monkeypatch, uncompiled, deeplab, refused):
    monkeypatch.setattr(run, "NET_CASES", (TINY_NET,))
    files = tmp_path / "rows.json", tmp_path / "rows.png"
    arguments = ["bench", "net", "--device", "cpu", "--seconds", "0", "--json", files[0], "--plot", files[1]]
    result = deeplab(*arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(files[0].read_text())["net"][0]["passed"]
    assert files[1].read_bytes().startswith(b"\x89PNG")
    refused("did you mean 'net'?", "bench", "nets")


def test_rows_go_where_json_says_and_a_wrong_result_of_ours_is_exit_code_1(deeplab, monkeypatch, tmp_path):
    monkeypatch.setattr(run, "conv_cases", lambda full, batches, only: [TINY])
    result = deeplab("bench", "conv", "--seconds", 0, "--json", "-")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["conv"][0]["passed"]
    assert report["machine"]["torch"] == torch.__version__
    monkeypatch.setattr(conv, "atrous_conv2d", lambda x, *_, **__: torch.zeros(1, 6, 7, 7))
    result = deeplab("bench", "conv", "--seconds", 0, "--json", tmp_path / "rows.json")
    assert result.exit_code == 1
    assert "WRONG: " in result.stdout
    assert not json.loads((tmp_path / "rows.json").read_text())["conv"][0]["passed"]


def test_unfit_command_lines_are_refused_before_anything_is_timed(refused, tmp_path):
    refused("conv, crf", "bench", "convolutions")
    refused("--plot", "bench", "conv", "--plot")
    refused("/proc/nope", "bench", "conv", "--json", "/proc/nope/rows.json")
    refused("no/such", "bench", "conv", "--plot", tmp_path / "no" / "such.png")


def test_bench_crf_says_what_to_install_for_its_peer(monkeypatch):
    monkeypatch.setattr("deeplab_repro.bench.crf.has_peer", lambda: False)
    told = []
    assert crf.bench_crf([], "cpu", progress=told.append) == []
    assert told == ["pydensecrf is not here to be timed beside ours: pip install pydensecrf2"]
