"""The reference of the command line has every verb with every option."""

import importlib.util

import pytest
from typer.main import get_command

from deeplab_repro.cli.app import VERBS, app
from tests.paths import ROOT

pytest.importorskip("mkdocs", reason="pip install -e '.[docs]' brings it")


def test_the_reference_names_every_verb_and_option():
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.command_line()
    assert "[b]" not in page
    assert "[dim]" not in page
    for verb in VERBS:
        assert f"\n### deeplab {verb}\n" in page
        for parameter in get_command(app).commands[verb].params:
            for name in parameter.opts if parameter.param_type_name == "option" else ():
                assert f"`{name}`" in page or name in ("--help", "-h"), f"{verb}: {name}"
    assert "`auto|cpu|cuda`" in page
