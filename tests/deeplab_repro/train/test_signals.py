"""Signals that stop a run or ask for a snapshot."""

import os
import signal

import pytest

from deeplab_repro.train.watch.watchers import JsonLog


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_writes_a_snapshot_and_stops(tiny, same, number):
    class Sender(JsonLog):
        def iterated(self, iteration):
            super().iterated(iteration)
            if iteration.number == 5:
                os.kill(os.getpid(), number)

    tiny.train("whole")
    trainer = tiny.train("part", watchers=[Sender(tiny.folder / "log.jsonl")])
    assert (trainer.updates, trainer.stopped_by) == (6, number)
    tiny.train("part", snapshot=str(tiny.folder / "part_iter_6.solverstate"))
    same(tiny.weights("whole"), tiny.weights("part"))
