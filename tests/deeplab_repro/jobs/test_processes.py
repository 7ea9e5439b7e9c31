"""Worker processes, and this process's place in a job."""

import os
import signal

import pytest
import torch

from deeplab_repro.jobs.processes import rank_label, worker_pool


@pytest.mark.parametrize(
    ("world", "rank", "label"),
    [(None, None, ""), ("1", "0", ""), ("4", "2", "rank 2 of 4: "), ("4", None, "rank ? of 4: ")],
)
def test_errors_of_a_job_begin_with_the_rank(monkeypatch, world, rank, label):
    for name, value in (("WORLD_SIZE", world), ("RANK", rank)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert rank_label() == label


def test_workers_are_fresh_processes_that_leave_interrupts_to_their_parent():
    with worker_pool(1, torch_threads=False) as pool:
        worker = pool.submit(os.getpid).result()
        assert worker != os.getpid()
        os.kill(worker, signal.SIGINT)
        assert pool.submit(os.getpid).result() == worker


def test_workers_share_torchs_threads():
    with worker_pool(2) as pool:
        assert pool.submit(torch.get_num_threads).result() == max(1, torch.get_num_threads() // 2)
