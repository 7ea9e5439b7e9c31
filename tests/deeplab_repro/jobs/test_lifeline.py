"""A rank that fails or is gone ends the others, whatever they are doing, with its name and reason."""

import pytest

COLLECTIVE = "job.total(torch.zeros(1))"
# Longer than any test may take: who is not ended fails by the job's timeout.
WORKING = "import time; time.sleep(3600)"
# A call that returns to the interpreter only when it is done, as a kernel or a collective on CUDA.
DEAF = "lifeline.GRACE = 1; import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(3600)"
FAILS = "raise ValueError('s3.png: not there')"
DIES = "import os; os.kill(os.getpid(), 9)"


@pytest.mark.parametrize("doing", [COLLECTIVE, WORKING, DEAF])
def test_a_rank_that_fails_ends_the_others_with_its_reason(job, doing):
    (code, line), failed = job(doing, FAILS)
    assert failed == (1, "s3.png: not there")
    assert code in (1, 2)
    assert "lost another process of the job: rank 1 of 2 failed: s3.png: not there" in line
    assert line.startswith("deeplab: error: rank 0 of 2: ") == (doing == DEAF)


def test_a_rank_that_is_killed_is_named(job):
    (code, line), (killed, _) = job(WORKING, DIES)
    assert (code, killed) == (1, -9)
    assert "rank 1 of 2 gives no sign of life" in line


def test_rank_0_takes_the_store_with_it(job):
    _, (code, line) = job(DIES, WORKING)
    assert code == 1
    assert "rank 0 of 2, or torchrun" in line


def test_ranks_that_end_at_other_times_wait_for_each_other(job):
    # Longer than a rank may be silent; and rank 0, which keeps the store, is the last to go.
    for bodies in (("import time; time.sleep(7)", "pass"), ("pass", "import time; time.sleep(1)")):
        assert [code for code, _ in job(*bodies)] == [0, 0]
