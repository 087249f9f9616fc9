"""How far a long work is: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

#: Seconds between two lines of a log.
PAUSE = 60.0

_T = TypeVar("_T")


class Progress:
    """Counts what is done.

    Args:
        word: what is done, as ``pull``.
        total: how many there will be, as far as is known.
        unit: what is counted, as ``file``.
        pause: seconds between two lines of a log; 0 tells each.
    """

    def __init__(self, word: str, total: int = 0, *, unit: str, pause: float = PAUSE) -> None:
        self._word, self._total, self._done = word, total, 0
        self._unit, self._pause = unit, pause
        self._told = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total or None, unit=unit, desc=word)

    def expect(self, more: int) -> None:
        """So many more are to come."""
        self._total += more
        if self._bar is not None:
            self._bar.total = self._total
            self._bar.refresh()

    def step(self, count: int = 1) -> None:
        """So many are done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif time.monotonic() - self._told >= self._pause:
            self._told = time.monotonic()
            text = f"{self._word}: {self._done} of {self._total} {self._unit}s"
            print(text, file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def shown(
    items: Iterable[_T], total: int, word: str, *, unit: str, pause: float = PAUSE
) -> Iterator[_T]:
    """Hand the items on, and tell how many of ``total`` came."""
    with Progress(word, total, unit=unit, pause=pause) as progress:
        for item in items:
            progress.step()
            yield item
