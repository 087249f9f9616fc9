"""Geometry of the paired plots: both runs beside each other, and the differences with their mean.

The form is the paired estimation plot of Ho et al. 2019, Nat Methods 16:565-566,
doi:10.1038/s41592-019-0470-3. A plot of 2,000 subjects is a handful of SVG paths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.compare.outcome import Row
from pipeline.evaluate import registry

WIDTH, HEIGHT = 400, 190
TOP, BOTTOM = 12, 162
#: Columns of A and B, the vertical line of no difference's ends, the column of differences.
A_AT, B_AT = 74, 176
DIFFERENCES = (258, 392)
COLUMN = 310
MEAN_AT = 362
#: Dots of the differences keep this distance from each other where there is room.
APART, ROOM = 6.0, 84.0


@dataclass(frozen=True)
class Axis:
    """A linear axis from bottom to top."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Height of a value in the picture."""
        return BOTTOM - (BOTTOM - TOP) * (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        """Two to six round values with their heights."""
        step = _step((self.high - self.low) / 5)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        values = [n * step for n in range(first, last + 1)]
        return [(round(self.at(v), 1), f"{v:.{digits}f}".replace("-", "−")) for v in values]


def _step(raw: float) -> float:
    size = 10.0 ** math.floor(math.log10(raw))
    return next((factor * size for factor in (1, 2, 5) if factor * size >= raw), 10 * size)


def axis(values: Sequence[float]) -> Axis:
    """An axis that holds all values with a little room."""
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.05 * abs(low) or 0.5
    return Axis(low - room, high + room)


def paired(row: Row) -> dict[str, Any]:
    """What the template draws of one measure.

    Args:
        row: a compared measure with at least one pair.
    """
    pairs = list(row.subjects.values())
    values = axis([value for pair in pairs for value in pair])
    differences = [b - a for a, b in pairs]
    ends = [end for end in _interval(row) if end is not None]
    spread = axis([0.0, *differences, *ends])
    lines: dict[str, list[str]] = {}
    for a, b in pairs:
        line = f"M{A_AT} {values.at(a):.1f}L{B_AT} {values.at(b):.1f}"
        lines.setdefault(_way(row, a, b), []).append(line)
    dots = [f"M{x:.1f} {y:.1f}h0" for x, y in _swarm([spread.at(d) for d in differences])]
    return {
        "lines": [(way, "".join(lines[way]), len(lines[way])) for way in sorted(lines)],
        "dots": "".join(dots),
        "ticks": values.ticks(),
        "difference_ticks": spread.ticks(),
        "zero": round(spread.at(0.0), 1),
        "mean": round(spread.at(sum(differences) / len(differences)), 1),
        "interval": [round(spread.at(end), 1) for end in ends],
    }


def _interval(row: Row) -> tuple[float | None, float | None]:
    return (row.inference.low, row.inference.high) if row.inference else (None, None)


def _way(row: Row, a: float, b: float) -> str:
    if a == b or not row.key.measure:
        return "same" if a == b else "changed"
    improved = registry.improved(row.key.metric, b, a)
    return "changed" if improved is None else "better" if improved else "worse"


def _swarm(heights: Sequence[float]) -> list[tuple[float, float]]:
    """Dots beside each other where they would lie on each other; same input, same places."""
    rows: dict[int, list[float]] = {}
    for height in sorted(heights):
        rows.setdefault(round(height / APART), []).append(height)
    apart = min(APART, ROOM / max(map(len, rows.values())))
    return [
        (COLUMN + (rank + 1) // 2 * apart * (1 if rank % 2 else -1), height)
        for row in rows.values()
        for rank, height in enumerate(row)
    ]
