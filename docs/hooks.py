"""Pages that are made while the site is built, so that they cannot go stale: the reference of the command line."""

from __future__ import annotations

import inspect
import re
from enum import Enum
from typing import Any

import typer
from mkdocs.structure.files import File, Files
from rich.text import Text

from deeplab_repro.cli.app import VERBS, app

PAGE = "reference/cli.md"


def on_files(files: Files, config: Any) -> Files:
    """Add the reference of the command line to the pages."""
    files.append(File.generated(config, PAGE, content=command_line()))
    return files


def command_line() -> str:
    """The help of every verb as one Markdown page, in the order and under the sections of `deeplab --help`."""
    root = typer.main.get_command(app)
    parts = ["# Command line", _prose(root.help)]
    for panel in dict.fromkeys(VERBS.values()):
        parts.append(f"## {panel}")
        for verb in (name for name, own in VERBS.items() if own == panel):
            parts += _verb(root.commands[verb], f"deeplab {verb}", "###")
    return "\n\n".join(parts) + "\n"


def _verb(command: Any, name: str, heading: str) -> list[str]:
    inner = getattr(command, "commands", {})
    parts = [f"{heading} {name}", _prose(command.help)]
    if inner:
        for each in inner.values():
            parts += _verb(each, f"{name} {each.name}", heading + "#")
        return parts
    return [*parts, _table(command)]


def _table(command: Any) -> str:
    """Arguments and options of a verb."""
    rows = ["| argument or option | meaning |", "| --- | --- |"]
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or parameter.name == "help":
            continue
        rows.append(f"| {_spelled(parameter)} | {_cell(parameter)} |")
    return "\n".join(rows)


def _spelled(parameter: Any) -> str:
    value = parameter.metavar or (parameter.name or "").upper()
    if parameter.param_type_name == "argument":
        return f"`{value}`"
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if getattr(parameter, "is_flag", False):
        return names
    if isinstance(parameter.default, Enum):
        value = "|".join(str(choice.value) for choice in type(parameter.default))
    elif not parameter.metavar and isinstance(parameter.default, int | float):
        value = "N" if isinstance(parameter.default, int) else "X"
    return f"{names} `{value}`"


def _cell(parameter: Any) -> str:
    text = _plain(parameter.help or "")
    if parameter.required:
        text += " Required."
    shown = getattr(parameter, "show_default", None)
    default = parameter.default
    if isinstance(shown, str):
        text += f" Default: {shown}."
    elif isinstance(default, int | float | str) and not isinstance(default, bool) and default != "":
        text += f" Default: `{getattr(default, 'value', default)}`."
    return text.strip().replace("|", "\\|")


def _prose(text: str | None) -> str:
    """A docstring's paragraphs; those that are dim all through are commands."""
    done = []
    for paragraph in inspect.cleandoc(text or "").split("\n\n"):
        command = re.fullmatch(r"\[dim\](.*)\[/dim\]", paragraph, re.DOTALL)
        plain = " ".join(_plain(command[1] if command else paragraph).split())
        done.append(f"```sh\n{plain}\n```" if command else plain)
    return "\n\n".join(done)


def _plain(text: str) -> str:
    """Text without rich's marks."""
    plain = Text.from_markup(text).plain
    return plain.replace("<", "&lt;")
