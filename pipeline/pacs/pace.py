"""Patience: how fast we ask, and how long we go on asking."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import TypeVar

from pipeline.errors import VoxelwayError

T = TypeVar("T")

#: What may be better a moment later; other errors stay as they are however often one asks.
PASSING = ("E-PACS-UNREACHABLE", "E-PACS-REJECTED", "E-PACS-INCOMPLETE")
#: A retrieval that the archive ended may succeed later; a query that it refused will not.
PASSING_OF_RETRIEVAL = (*PASSING, "E-PACS-QUERY")
#: Longest pause between two attempts, in seconds.
LONGEST = 60.0


class Throttle:
    """Spaces out instances so that no second has more than ``rate`` of them on average.

    An archive waits for the answer to an instance before it sends the next, so that waiting before
    the answer slows it down.

    Args:
        rate: instances a second; 0 never waits.
    """

    def __init__(self, rate: float) -> None:
        self._step = 1.0 / rate if rate > 0 else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait for this instance's turn."""
        if not self._step:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._step
        time.sleep(turn - now)


class Patience:
    """Attempts with pauses that double, counted anew whenever something was gained.

    Args:
        retries: further attempts in a row that may bring nothing.
        backoff: first pause in seconds.
        passing: codes of errors that are worth another attempt.
    """

    def __init__(self, retries: int, backoff: float, passing: Collection[str] = PASSING) -> None:
        self._retries, self._backoff, self._passing = retries, backoff, passing
        self._failed = 0

    def gained(self) -> None:
        """Something came: start counting again."""
        self._failed = 0

    def spend(self, error: VoxelwayError) -> None:
        """Pause before the next attempt.

        Raises:
            VoxelwayError: ``error`` itself, when it will not pass or the attempts are used up.
        """
        if error.code not in self._passing or self._failed >= self._retries:
            raise error
        time.sleep(min(LONGEST, self._backoff * 2.0**self._failed))
        self._failed += 1


def persist(patience: Patience, work: Callable[[], T]) -> T:
    """Do ``work`` until it succeeds or patience ends.

    Raises:
        VoxelwayError: the last one.
    """
    while True:
        try:
            return work()
        except VoxelwayError as error:
            patience.spend(error)
