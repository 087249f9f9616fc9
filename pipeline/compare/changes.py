"""The sessions that changed most between two runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.compare.outcome import Row
from pipeline.evaluate import registry
from pipeline.paths import Unit

#: Standard deviation of a normal distribution over its median and mean absolute deviation.
MAD, MEAN_DEVIATION = 1.4826, 1.2533
#: Below so many numbers in a run their spread says nothing.
SPREAD_OF = 4
#: A change below this share of the spread between subjects is not worth a look.
NOTABLE = 0.5
#: Measures that tell about the machine and not about the case.
COST = frozenset({"seconds"})


@dataclass(frozen=True)
class Change:
    """One session's change in one measure.

    Attributes:
        row: the measure.
        unit: the session.
        a: number of run A, as in its table.
        b: number of run B.
        difference: of the compared quantity, B less A.
        standardised: difference in units of the measure's robust spread between sessions.
        better: whether B is better; None where no way is.
    """

    row: Row
    unit: Unit
    a: float
    b: float
    difference: float
    standardised: float
    better: bool | None


def changes(rows: Iterable[Row]) -> list[Change]:
    """Every change whose size can be told, the largest first."""
    found = [one for row in rows if row.key.metric not in COST for one in _of_row(row)]
    return sorted(found, key=lambda c: (-abs(c.standardised), c.unit, c.row.key.order))


def _of_row(row: Row) -> list[Change]:
    quantity = row.key.quantity
    pairs = [(case, quantity(case.a), quantity(case.b)) for case in row.group.cases]
    spread = _pooled([a for _, a, _ in pairs], [b for _, _, b in pairs])
    if not spread:
        return []
    return [
        Change(row, case.unit, case.a, case.b, b - a, (b - a) / spread, _better(row, a, b))
        for case, a, b in pairs
        if a != b
    ]


def _better(row: Row, a: float, b: float) -> bool | None:
    return registry.improved(row.key.metric, b, a) if row.key.measure else None


def _pooled(a: Sequence[float], b: Sequence[float]) -> float:
    """Mean of the robust spreads of both runs; 0 where it can't be told."""
    return 0.0 if len(a) < SPREAD_OF else (spread(a) + spread(b)) / 2


def spread(values: Sequence[float]) -> float:
    """Robust standard deviation: of the median absolute deviation, of the mean one if that is 0.

    Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers, ISBN 978-0-87389-247-6
    """
    middle = statistics.median(values)
    away = [abs(value - middle) for value in values]
    return MAD * statistics.median(away) or MEAN_DEVIATION * statistics.fmean(away)


def by_session(found: Sequence[Change], most: int) -> list[list[Change]]:
    """Notable changes grouped by session, the session with the largest change first."""
    groups: dict[Unit, list[Change]] = {}
    for change in found:
        if abs(change.standardised) >= NOTABLE:
            groups.setdefault(change.unit, []).append(change)
    return list(groups.values())[:most]
