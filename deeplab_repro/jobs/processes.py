"""Worker processes for independent pieces of work, and this process's place in a job of several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


def rank_label() -> str:
    """How an error begins in a job of several processes.

    Returns:
        "rank I of N: " as torchrun numbers them; empty alone.
    """
    world = os.environ.get("WORLD_SIZE", "1")
    return "" if world == "1" else f"rank {os.environ.get('RANK', '?')} of {world}: "


@contextmanager
def worker_pool(processes: int, torch_threads: bool = True) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes; leaving the block drops work not yet begun.

    Args:
        processes: How many.
        torch_threads: Whether they share this process's torch threads; without, they load no torch of their own accord.
    """
    threads = 0
    if torch_threads:
        import torch

        threads = max(1, torch.get_num_threads() // processes)
    # A forked process would inherit torch's threads and CUDA context, neither of which survives.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(threads,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(threads: int) -> None:
    if threads:
        import torch

        torch.set_num_threads(threads)
    # An interrupt is for the parent, which ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Workers wait for work for ever when their parent is killed: nobody else tells them.
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
