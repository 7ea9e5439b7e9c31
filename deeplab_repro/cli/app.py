"""The command's frame: its verbs, and one line on standard error with exit code 2 for every expected failure.

A verb is a module of this package with a function of the same name, or a typer application called `app` for a
family of verbs; it is added by one line in VERBS. Modules import torch inside their functions only: `--help` is fast.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

# Verb, its section in `deeplab --help`.
VERBS = {
    "demo": "Start here",
    "segment": "Images",
    "crf": "Images",
    "crf-search": "Images",
    "eval": "Data sets",
    "trimap": "Data sets",
    "doctor": "Data sets",
    "lists": "Data sets",
    "convert": "Caffe files",
    "export": "Caffe files",
    "densify": "Caffe files",
    "inspect": "Caffe files",
    "run": "Caffe files",
    "diff": "Caffe files",
    "train": "Training",
    "weights": "Published results",
    "verify": "Published results",
    "bench": "Measurements",
}

USAGE, INTERNAL, INTERRUPTED = 2, 1, 130


def one_line(error: BaseException) -> str:
    """What an error says, on one line: without errno, C++ stack and line breaks."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    text = str(error).split("\nException raised from")[0]
    return " ".join(text.split()) or type(error).__name__


def is_expected(error: BaseException) -> bool:
    """Whether an error tells of bad input or surroundings, not of a mistake in this program.

    CaffeFormatError is a ValueError; ops, torch and safetensors raise RuntimeError or their own class."""
    if isinstance(error, RecursionError):
        return False
    known = (ValueError, OSError, RuntimeError, MemoryError, ImportError)
    return isinstance(error, known) or type(error).__name__ == "SafetensorError"


class Verbs(TyperGroup):
    """The group of verbs, with the project's way of failing."""

    def main(  # type: ignore[override]  # what else typer may pass goes on in `extra`
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a verb; a failure ends in one line on standard error and an exit code."""
        args = list(sys.argv[1:] if args is None else args) or ["--help"]
        name = " ".join(["deeplab", *[word for word in args if word in self.commands][:1]])
        code: Any = 0
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if category is UserWarning:
                print(f"{name}: warning: {one_line(ValueError(message))}", file=sys.stderr)
            else:
                shown(message, category, *where)

        warnings.showwarning = show  # type: ignore[assignment]  # what else there is goes on in `where`
        try:
            code = super().main(args, "deeplab", standalone_mode=False, **extra)
        except (KeyboardInterrupt, typer.Abort):
            code = INTERRUPTED
        except Exception as error:
            if hasattr(error, "format_message"):  # a usage error, whichever click typer carries
                code = self._usage_error(error, name)
            elif is_expected(error) and "--traceback" not in args:
                from deeplab_repro.jobs.processes import rank_label

                print(f"{name}: error: {rank_label()}{one_line(error)}", file=sys.stderr)
                code = USAGE
            else:
                raise
        finally:
            warnings.showwarning = shown
        if code == INTERRUPTED:
            print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(code if isinstance(code, int) else 0)

    @staticmethod
    def _usage_error(error: Any, name: str) -> int:
        print(f"{name}: error: {one_line(ValueError(error.format_message()))} (see {name} --help)", file=sys.stderr)
        return USAGE


def _show_version(wanted: bool) -> None:
    if wanted:
        from deeplab_repro import __version__

        print(f"deeplab-repro {__version__}")
        raise typer.Exit


def _unfolded(text: str | None) -> str:
    """A docstring with each paragraph on one line: the terminal decides where lines break."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show Python's traceback with an error, for reports.")
    ] = False,
) -> None:
    """DeepLab v1 and v2 as Caffe computed them, in PyTorch.

    Original [b].prototxt[/b] and [b].caffemodel[/b] files run as they are; images are segmented, refined by the
    dense CRF and scored. [b]deeplab demo[/b] shows all of it on a small bundled model, without any download.

    Exit codes: 0 done; 1 the answer is no (diff: beyond its tolerance); 2 bad input, one line says which.
    """


def _build() -> typer.Typer:
    application = typer.Typer(
        cls=Verbs,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    application.callback(help=_unfolded(_root.__doc__))(_root)
    for verb, panel in VERBS.items():
        name = verb.replace("-", "_")
        module = importlib.import_module(f"deeplab_repro.cli.{name}")
        if hasattr(module, "app"):
            application.add_typer(module.app, name=verb, rich_help_panel=panel)
        else:
            function = getattr(module, name)
            application.command(verb, help=_unfolded(function.__doc__), rich_help_panel=panel)(function)
    return application


app = _build()


def main() -> None:
    """Run the command line of this process."""
    app()
