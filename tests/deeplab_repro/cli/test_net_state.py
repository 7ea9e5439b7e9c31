"""--stage, --level and --dialect reach every verb that opens a net."""

import inspect as signatures
from importlib import import_module

import pytest
from typer.testing import CliRunner

from deeplab_repro.cli.app import app

VERBS = ("inspect", "run", "diff", "convert", "densify", "segment", "eval", "trimap", "train", "export")
STAGED = """input: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }
layer { name: "r" type: "ReLU" bottom: "data" top: "a" include { stage: "deploy" min_level: 2 } }
layer { name: "s" type: "Sigmoid" bottom: "data" top: "b" exclude { stage: "deploy" } }"""


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_take_stage_level_and_dialect(verb):
    module = import_module(f"deeplab_repro.cli.{verb}")
    assert {"stage", "level", "dialect"} <= set(signatures.signature(getattr(module, verb)).parameters)


def test_inspect_shows_the_state_that_is_asked_for(tmp_path):
    net = tmp_path / "net.prototxt"
    net.write_text(STAGED)
    asked = ["inspect", str(net), "--stage", "deploy", "--level", "2", "--json", "-"]
    shown = CliRunner().invoke(app, asked).stdout
    assert '"ReLU"' in shown
    assert '"Sigmoid"' not in shown
