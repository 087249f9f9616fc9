"""How far it is: a bar on a terminal, a line a minute in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

#: Seconds between two lines of a log.
PAUSE = 60.0


class Progress:
    """Counts instances.

    Args:
        word: what is done, as ``pull``.
        total: how many there will be, as far as is known.
    """

    def __init__(self, word: str, total: int = 0) -> None:
        self._word, self._total, self._done = word, total, 0
        self._told = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total or None, unit="instance", desc=word)

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
        elif time.monotonic() - self._told > PAUSE:
            self._told = time.monotonic()
            print(f"{self._word}: {self._done} of {self._total} instances", file=sys.stderr)

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
