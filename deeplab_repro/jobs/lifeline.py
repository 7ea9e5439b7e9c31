"""Signs of life between the processes of a job: one that fails, or is not heard of any more, ends them all."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from deeplab_repro.jobs.processes import rank_label

if TYPE_CHECKING:
    from torch.distributed import Store

# Seconds between two signs.
BEAT = 1.0
# Missed signs after which a rank counts as lost: at any time, and once a collective has failed.
SILENT, SUSPECT = 30, 4
# Seconds that a process has to end by itself once another is lost, and then to save what it has.
GRACE, RESCUE = 15.0, 60.0
_FAILED, _DONE, _LEFT = "failed", "done", "left"


class Lifeline:
    """From here to `close` a thread gives signs of life on the job's store and listens for those of the next rank.

    Once any rank has failed or fallen silent, `reason` says which and why and the main thread gets an interrupt; where
    that does not end it, as in a collective that never returns, the process is ended with one line on standard error.
    `rescue` is what then saves its work first, from another thread, and says so; an empty text for nothing.

    Args:
        store: A connection of its own, since one that waits serves nobody else.
        rank: Of this process.
        world: How many there are.
    """

    def __init__(self, store: Store, rank: int, world: int) -> None:
        self.reason = ""
        self.rescue: Callable[[], str] | None = None
        self._store, self._rank, self._world = store, rank, world
        self._patience = SILENT
        self._lock = threading.Lock()
        self._over, self._closed = threading.Event(), threading.Event()
        # Whether the main thread is on its way out already.
        self._known = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        following, heard, silent = (self._rank + 1) % self._world, 0, 0
        while not self._closed.wait(BEAT):
            try:
                self._store.add(f"beat/{self._rank}", 1)
                beats = self._store.add(f"beat/{following}", 0)
                # Counted in our own beats: while everything stands still, as on a laptop asleep, nobody falls silent.
                heard, silent = beats, silent + 1 if beats == heard else 0
                if silent >= self._patience:
                    self._publish(self._store, f"rank {following} of {self._world} gives no sign of life")
                if self._store.check([_FAILED]):
                    self._end(self._store.get(_FAILED).decode())
                    return
            except RuntimeError:
                self._end(f"rank 0 of {self._world}, or torchrun, which keeps the job's store, is gone")
                return

    def _end(self, reason: str) -> None:
        with self._lock:
            self.reason = reason
            self._over.set()
            if self._known or self._closed.is_set():
                return
            # A real signal: it wakes a main thread that waits for a lock, too.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        if not self._closed.wait(GRACE) and not self._known:
            saved = self._rescued()
            if self._closed.is_set() or self._known:
                return
            print(f"deeplab: error: {rank_label()}{lost(reason)}{saved}", file=sys.stderr, flush=True)
            os._exit(2)

    def _rescued(self) -> str:
        said: list[str] = []

        def save() -> None:
            try:
                said.append(f"; {text}" if self.rescue is not None and (text := self.rescue()) else "")
            except Exception as error:
                said.append(f"; no snapshot could be written: {' '.join(str(error).split())}")

        # In a thread, since a disk that hangs must not keep the process.
        saving = threading.Thread(target=save, daemon=True)
        saving.start()
        saving.join(RESCUE)
        return said[0] if said else f"; a snapshot was not written within {RESCUE:g} s"

    def cause(self) -> str:
        """Ask which rank is lost, where a collective has failed. From here on the main thread is left alone: it knows.

        Returns:
            Which and why, within seconds; empty where nobody seems to be lost.
        """
        with self._lock:
            self._known, self._patience = True, SUSPECT
        self._over.wait(BEAT * (SUSPECT + 3))
        return self.reason

    def fail(self, store: Store, error: BaseException) -> None:
        """Tell the other ranks that this one ends with an error; only the job's first is told.

        Args:
            store: The job's store.
            error: The error.
        """
        with self._lock:
            self._known = True
        said = "was interrupted" if isinstance(error, KeyboardInterrupt) else "failed: " + " ".join(str(error).split())
        # The store may be what failed.
        with suppress(RuntimeError):
            self._publish(store, f"rank {self._rank} of {self._world} {said}")

    @staticmethod
    def _publish(store: Store, text: str) -> None:
        store.compare_set(_FAILED, "", text)

    def finish(self, store: Store) -> None:
        """Wait until every rank has done its part: one that ends earlier would pass for lost.

        Args:
            store: The job's store.
        """
        store.add(_DONE, 1)
        while store.add(_DONE, 0) < self._world:
            time.sleep(BEAT / 10)
        if self._rank > 0:
            # From the next line on the store may go at any time, and that is no loss any more.
            self.close()
            store.add(_LEFT, 1)
        # Rank 0 may keep the store, which the others still ask.
        while self._rank == 0 and store.add(_LEFT, 0) < self._world - 1:
            time.sleep(BEAT / 100)

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            self._closed.set()
        self._thread.join(BEAT)


def lost(reason: str) -> str:
    """What a rank says that ends because of another.

    Args:
        reason: Which, and why.

    Returns:
        The sentence.
    """
    return f"lost another process of the job: {reason}"
