"""Signals during training: the first asks to stop after the iteration that runs, the next one stops at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Signals:
    """In the block SIGINT and SIGTERM set `stop`, SIGHUP sets `save`; a second one acts as it always does.

    Handlers belong to the main thread: elsewhere the block changes nothing. `received` is what asked to stop.
    """

    def __init__(self) -> None:
        self.stop = self.save = False
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None)):
                if number is not None:
                    self._before[number] = signal.signal(number, self._caught)
        return self

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if number not in (signal.SIGINT, signal.SIGTERM):
            self.save = True
            return
        self.stop, self.received = True, number
        for stopping in (signal.SIGINT, signal.SIGTERM):
            signal.signal(stopping, self._before.get(stopping, signal.SIG_DFL))

    def saved(self) -> None:
        """The snapshot that SIGHUP asked for is written."""
        self.save = False

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
