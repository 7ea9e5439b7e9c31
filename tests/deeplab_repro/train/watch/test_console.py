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


def test_the_loss_stands_once_in_a_line(capsys):
    console = Console()
    console.iterated(Iteration(0, 1.5, 1.25, 0.1, 0.2, True, {"loss": [1.5]}))
    console.iterated(Iteration(1, 1.5, 1.25, 0.1, 0.2, True, {"loss": [1.5], "accuracy": [0.5]}))
    console.iterated(Iteration(2, 1.5, 1.25, 0.1, 0.2, True, {"loss1": [1.0], "loss2": [0.5]}))
    assert capsys.readouterr().out.splitlines() == [
        "Iteration 0, loss = 1.25, lr = 0.1",
        "Iteration 1, loss = 1.25, lr = 0.1, accuracy = 0.5",
        "Iteration 2, loss = 1.25, lr = 0.1, loss1 = 1, loss2 = 0.5",
    ]
