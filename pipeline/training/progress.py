"""Shows how a training goes on: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

#: Seconds from one line of a log to the next.
EVERY = 30.0


class Progress:
    """Tells the step, the loss, the time of a step and what is left.

    Args:
        first: steps done before.
        last: all steps.
        shown: False for all processes but the first.
        stream: where to; a bar if it is a terminal.
    """

    def __init__(self, first: int, last: int, shown: bool, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.first, self.last, self.shown = first, last, shown
        self.begun = self.told = time.monotonic()
        self.bar: tqdm[Any] | None = None
        if shown and self.stream.isatty():
            self.bar = tqdm(initial=first, total=last, unit="step", file=self.stream)

    def step(self, number: int, loss: float) -> None:
        """A step was done."""
        if self.bar is not None:
            self.bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
            self.bar.update()
            return
        now = time.monotonic()
        if self.shown and (now - self.told >= EVERY or number == self.first + 1):
            self.told = now
            each = (now - self.begun) / (number - self.first)
            left = _clock(each * (self.last - number))
            self.say(f"step {number}/{self.last}  loss {loss:.4g}  {each:.3g} s/step  {left} left")

    def say(self, text: str) -> None:
        """A line, above the bar if there is one."""
        if self.bar is not None:
            self.bar.write(text, file=self.stream)
        elif self.shown:
            print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """The end, good or not."""
        if self.bar is not None:
            self.bar.close()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
