"""Two processes connected by gloo, against one."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deeplab_repro.jobs.ranks import Ranks
from deeplab_repro.train.watch.watchers import JsonLog

ONE_RANK = Path(__file__).with_name("one_rank.py")


@pytest.fixture
def job(tiny):
    """job("train", ...): the verb in two processes; [(exit code, standard error)] by rank."""

    def run(*arguments, stop_at=None, die_at=-1):
        struck = ("KILL", str(die_at)) if stop_at is None else ("STOP", str(stop_at))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        ranks = [
            subprocess.Popen(
                [sys.executable, ONE_RANK, str(rank), "2", str(port), *struck, *map(str, arguments)],
                cwd=tiny.folder,
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
            )
            for rank in range(2)
        ]
        try:
            ended = []
            for process in ranks:
                _, text = process.communicate(timeout=240)
                ended.append((process.returncode, text))
                if stop_at is not None:
                    ranks[1].kill()
            return ended
        finally:
            for process in ranks:
                process.kill()

    return run


def close(ours, theirs):
    for name in theirs:
        for a, b in zip(ours[name], theirs[name], strict=True):
            assert np.abs(a - b).max() <= 5e-6 * np.abs(b).max(), name


# batch 4 is shared by rows; batch 1 with iter_size 2 pass by pass. Labels are ignored unevenly over the items.
@pytest.mark.parametrize(("batch", "passes"), [(4, 1), (1, 2)])
def test_two_processes_give_the_trace_of_one(tiny, job, batch, passes):
    tiny.write(f"iter_size: {passes} test_iter: 3 test_interval: 6 clip_gradients: 1.5", batch=batch)
    results = job("train", "solver.prototxt", "--snapshot-prefix", "two", "--log", "two.jsonl")
    assert [code for code, _ in results] == [0, 0], results
    tiny.train("one", watchers=[JsonLog(tiny.folder / "one.jsonl")])
    close(tiny.weights("two"), tiny.weights("one"))
    losses = [[row["loss"] for row in tiny.rows(f"{name}.jsonl")] for name in ("two", "one")]
    assert len(losses[0]) == 12
    assert np.allclose(*losses, rtol=5e-6)


def test_ranks_that_find_different_snapshots_do_not_go_on(tiny):
    class Elsewhere(Ranks):
        def gather(self, part):
            return [part, 8]

    tiny.write(batch=4)
    with pytest.raises(ValueError, match="no snapshot, one of 8 updates; let them share the folder"):
        tiny.train(ranks=Elsewhere(0, 2), snapshot="latest")


def test_lost_rank_ends_the_job_with_a_snapshot_to_go_on_from(tiny, job):
    tiny.write(batch=4)
    (code, text), (lost, _) = job("train", "solver.prototxt", "--snapshot-prefix", "two", die_at=6)
    assert lost == -9
    assert code == 2
    assert "error: rank 0 of 2: lost another process of the job: rank 1 of 2 gives no sign of life" in text
    assert "7 updates are done and saved" in text
    tiny.train("two", snapshot=str(tiny.folder / "two_iter_7.solverstate"))
    tiny.train("one")
    close(tiny.weights("two"), tiny.weights("one"))


def test_a_rank_that_hangs_costs_no_finished_update(tiny, job):
    tiny.write(batch=4)
    (code, text), _ = job("train", "solver.prototxt", "--snapshot-prefix", "two", stop_at=6)
    assert code == 2
    assert "error: rank 0 of 2: lost another process of the job: rank 1 of 2 gives no sign of life; 7 updates" in text
    tiny.train("two", snapshot=str(tiny.folder / "two_iter_7.solverstate"))
    tiny.train("one")
    close(tiny.weights("two"), tiny.weights("one"))
