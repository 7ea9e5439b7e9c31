"""Every command and every line of Python in the tutorials runs and prints what the page shows."""

from __future__ import annotations

import pytest
import torch
from typer.main import get_command
from typer.testing import CliRunner

from deeplab_repro.cli import app
from tests.docs.pages import blocks, run, verbs
from tests.paths import ROOT

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A new folder with what a checkout has, as the current one."""
    for name in ("weights", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    return tmp_path


@pytest.fixture
def deeplab():
    """deeplab("verb", ...) runs the command line in this process, as in a pipe."""

    def run(*arguments):
        return CliRunner().invoke(app, list(arguments), env={"COLUMNS": None})

    return run


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs_as_it_stands(page, folder, deeplab):
    assert run(page, deeplab) > 0


def test_the_readmes_commands_print_what_it_shows(folder, deeplab):
    assert run(ROOT / "README.md", deeplab) >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_on_the_readers_own_files_have_verbs_and_options_that_exist(page):
    root = get_command(app)
    for block in blocks(page):
        for words in verbs(block) if block.language == "sh" else ():
            command = root
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]
            assert command is not root, f"{page.name}:{block.line}: no verb in {' '.join(words)}"
            known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            unknown = [word for word in words if word.startswith("-") and word not in known | {"--help", "-h", "-"}]
            assert not unknown, f"{page.name}:{block.line}: deeplab {command.name} has no {', '.join(unknown)}"


def test_the_readme_is_short_and_needs_nothing_beside_the_checkout():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.split()) <= 900
    assert "../shared" not in text
