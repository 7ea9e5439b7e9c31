"""The command's frame: help, version, exit codes, one-line errors."""

import os
import signal
import subprocess
import sys
import time

import pytest
import typer

from deeplab_repro.cli import app
from deeplab_repro.cli.app import VERBS, is_expected, one_line

COMMAND = [sys.executable, "-c", "from deeplab_repro.cli import main; main()"]


def test_help_lists_every_verb_and_imports_no_torch():
    code = (
        "import sys\nfrom deeplab_repro.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'cv2', 'scipy', 'numpy', 'matplotlib'} & set(sys.modules)\nassert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for verb in VERBS:
        assert verb in result.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(deeplab, verb):
    result = deeplab(verb, "--help")
    assert result.exit_code == 0
    assert f"deeplab {verb}" in result.stdout


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("crf-search", ("Pixels.", "Of 255.", "mean IoU")),
        ("bench", ("Timing budget of a convolution", "Processor threads")),
        ("eval", ("Relative image sizes", "721x1281+128")),
        ("trimap", ("721x1281+128",)),
        ("lists", ("721x1281+128",)),
        ("export", ("HxW Input size",)),
        ("diff", ("Share of max|golden|", "Exit code 1")),
        ("demo", ("Exit code 1",)),
        ("train", ("Exit codes 130 and 143",)),
    ],
)
def test_help_says_what_numbers_count_and_what_exit_codes_mean(deeplab, verb, words):
    text = " ".join(deeplab(verb, "--help").stdout.replace("│", " ").split())
    for word in words:
        assert word in text


@pytest.mark.parametrize(("verb", "names"), [
    ("crf", ("jobs", "processes")), ("crf-search", ("jobs", "processes")), ("verify", ("jobs", "processes")),
    ("doctor", ("workers", "jobs")), ("train", ("workers",)),
])  # fmt: skip
def test_processes_are_jobs_and_threads_that_read_are_workers(refused, verb, names):
    """Older spellings stay."""
    for name in names:
        refused(f"--{name}", verb, f"--{name}", -1)


def test_version(deeplab):
    from deeplab_repro import __version__

    result = deeplab("--version")
    assert result.exit_code == 0
    assert result.stdout == f"deeplab-repro {__version__}\n"


def test_without_a_verb_the_help_is_shown(deeplab):
    result = deeplab()
    assert result.exit_code == 0
    assert result.stdout.count("Usage:") == 1


def test_usage_errors_are_one_line(refused, deeplab):
    refused("--scores", "crf", "a.png", "-o", "b.png")
    refused("No such option: --nope", "inspect", "a.prototxt", "--nope")
    refused("not one of", "crf", "a.png", "--scores", "s", "-o", "b.png", "--device", "tpu")
    result = deeplab("segmnt")
    assert result.exit_code == 2
    assert "segment" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_expected_error_becomes_one_line(deeplab, monkeypatch):
    def fail(*_):
        raise ValueError("first\n   second\nException raised from there (a.cpp:1)\n")

    monkeypatch.setattr("deeplab_repro.files.images.read_image", fail)
    result = deeplab("crf", "a.png", "--scores", "s.npy", "-o", "b.png")
    assert result.exit_code == 2
    assert result.stderr == "deeplab crf: error: first second\n"


def test_an_unexpected_error_keeps_its_traceback(monkeypatch):
    code = (
        "import deeplab_repro.files.images as images\n"
        "def fail(*_): raise KeyError('a mistake of ours')\n"
        "images.read_image = fail\nfrom deeplab_repro.cli import main\nmain()"
    )
    arguments = ["crf", "a.png", "--scores", "s.npy", "-o", "b.png"]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "a mistake of ours" in result.stderr


def test_traceback_is_shown_on_request():
    arguments = ["--traceback", "crf", "none.png", "--scores", "s.npy", "-o", "b.png"]
    result = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)
    assert result.returncode == 1
    assert "Traceback" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_interrupt_is_one_line_and_130():
    code = (
        "import time, deeplab_repro.files.images as images\n"
        "def wait(*_): print('ready', flush=True); time.sleep(60)\n"
        "images.read_image = wait\nfrom deeplab_repro.cli import main\nmain()"
    )
    arguments = ["crf", "a.png", "--scores", "s.npy", "-o", "b.png"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "deeplab crf: interrupted\n"


def test_which_errors_are_expected():
    for error in (
        ValueError("x"),
        OSError("x"),
        RuntimeError("x"),
        MemoryError(),
        UnicodeDecodeError("a", b"", 0, 1, ""),
    ):
        assert is_expected(error)
    for error in (KeyError("x"), TypeError("x"), AttributeError("x"), RecursionError(), AssertionError()):
        assert not is_expected(error)


def test_os_errors_are_said_without_numbers():
    assert one_line(FileNotFoundError(2, "No such file or directory", "a.txt")) == "a.txt: No such file or directory"
    assert one_line(MemoryError()) == "MemoryError"


def test_app_is_a_typer_application():
    assert isinstance(app, typer.Typer)


def test_a_shell_completes_verbs_and_options():
    """What `deeplab --install-completion` sets up asks for these."""
    for words, wanted in (("deeplab seg", "segment"), ("deeplab crf --pre", "--preset")):
        asked = {"_DEEPLAB_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        result = subprocess.run(COMMAND, capture_output=True, text=True, env={**os.environ, **asked})
        assert wanted in result.stdout.split(), result.stderr
    shown = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True)
    assert "--install-completion" in shown.stdout
