"""A rank that fails or is gone ends the others, whatever they are doing, with its name and reason."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ONE_JOB = Path(__file__).with_name("one_job.py")


@pytest.fixture
def job():
    """job(first, second): two ranks with these bodies, None for one that never comes; [(exit code, last line)]."""

    def run(*bodies):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        ranks = [
            subprocess.Popen(
                [sys.executable, ONE_JOB, str(rank), str(port), body],
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "TORCH_CPP_LOG_LEVEL": "ERROR"},
            )
            for rank, body in enumerate(bodies)
            if body is not None
        ]
        try:
            ended = [(each.communicate(timeout=60)[1], each.returncode) for each in ranks]
            return [(code, text.strip().split("\n")[-1]) for text, code in ended]
        finally:
            for each in ranks:
                each.kill()

    return run


COLLECTIVE = "job.total(torch.zeros(1))"
WORKING = "import time; time.sleep(50)"
# A call that returns to the interpreter only when it is done, as a kernel or a collective on CUDA.
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); import time; time.sleep(50)"
FAILS = "raise ValueError('s3.png: not there')"
DIES = "import os; os.kill(os.getpid(), 9)"


@pytest.mark.parametrize("doing", [COLLECTIVE, WORKING, DEAF])
def test_a_rank_that_fails_ends_the_others_with_its_reason(job, doing):
    began = time.monotonic()
    (code, line), failed = job(doing, FAILS)
    assert failed == (1, "s3.png: not there")
    assert code in (1, 2)
    assert "lost another process of the job: rank 1 of 2 failed: s3.png: not there" in line
    assert line.startswith("deeplab: error: rank 0 of 2: ") == (doing == DEAF)
    assert time.monotonic() - began < 30


def test_a_rank_that_is_killed_is_named(job):
    (code, line), (killed, _) = job(WORKING, DIES)
    assert (code, killed) == (1, -9)
    assert "rank 1 of 2 gives no sign of life" in line


def test_rank_0_takes_the_store_with_it(job):
    _, (code, line) = job(DIES, WORKING)
    assert code == 1
    assert "rank 0 of 2, or torchrun" in line


def test_a_rank_that_does_not_come_is_named(job):
    ((code, line),) = job("pass", None)
    assert code == 1
    assert "rank 1 did not come within 3 s" in line
    ((code, line),) = job(None, "pass")
    assert code == 1
    assert "rank 0 does not answer" in line


def test_ranks_that_end_at_other_times_wait_for_each_other(job):
    # Longer than a rank may be silent; and rank 0, which keeps the store, is the last to go.
    for bodies in (("import time; time.sleep(4)", "pass"), ("pass", "import time; time.sleep(1)")):
        assert [code for code, _ in job(*bodies)] == [0, 0]


def test_half_an_environment_is_refused(monkeypatch):
    import torch

    from deeplab_repro.jobs.ranks import joined

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ValueError, match="RANK is not set"), joined(torch.device("cpu")):
        pass
