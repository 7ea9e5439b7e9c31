"""Training on the terminal."""

import sys
from io import StringIO

from deeplab_repro.train.watch.console import Console
from deeplab_repro.train.watch.watchers import Iteration, Start


def test_lines_stay_in_a_file_under_a_bar(monkeypatch, capsys):
    class Terminal(StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    console = Console()
    console.started(Start("s.prototxt", "net", 0, 5, 1, "cpu", 1, 10))
    console.iterated(Iteration(0, 1.5, 1.5, 0.1, 0.2, True))
    console.closed()
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == [
        "net: 10 parameters",
        "Iteration 0",
    ]
    assert "training" in sys.stderr.getvalue()
