"""SIGTERM (time limit, pre-emption, requeue) asks a training to end after the current step."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

#: Exit status of a process that SIGTERM ended, as a shell gives it.
TERMINATED = 143


class Stop:
    """Notes SIGTERM instead of dying by it, while the block runs."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Stop:
        # handlers can be set in the main thread only
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


def ignore_in_worker(number: int) -> None:
    """Keep a loader's process alive when SIGTERM goes to the whole group: the training ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
