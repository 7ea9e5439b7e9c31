"""The benchmark's command: rows and machine as JSON, families that there are."""

import json

import pytest
import torch

from deeplab_repro.bench import run
from deeplab_repro.bench.cases import ConvCase

TINY = ConvCase("tiny", 8, 6, 3, 2, 7)


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
