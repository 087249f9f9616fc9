"""The table: means over pairs, their intervals, and paired differences to one method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Column:
    """One measure: its key in the rows, its title with the unit, and how it is written."""

    key: str
    title: str
    digits: str


COLUMNS = (
    Column("dice", "Dice", ".3f"),
    Column("hd95_mm", "HD95, mm", ".2f"),
    Column("tre_mm", "TRE, mm", ".2f"),
    Column("folded_share", "share J ≤ 0", ".1e"),
    Column("log_jacobian_sd", "SD log J", ".3f"),
    Column("inverse_consistency_mm", "inverse consistency, mm", ".3f"),
    Column("seconds", "seconds", ".1f"),
    Column("peak_mb", "peak memory, MB", ".0f"),
)

Row = Mapping[str, object]


@dataclass(frozen=True)
class Mean:
    """Mean and half the width of its 95 % interval; NaN where one number can't tell."""

    mean: float
    half: float
    count: int


def mean_of(values: Sequence[float]) -> Mean:
    """Mean of the finite values with Student's interval."""
    finite = np.asarray([value for value in values if math.isfinite(value)])
    if finite.size == 0:
        return Mean(math.nan, math.nan, 0)
    half = math.nan
    if finite.size > 1:
        error = float(finite.std(ddof=1)) / math.sqrt(finite.size)
        half = float(stats.t.ppf(0.975, finite.size - 1)) * error
    return Mean(float(finite.mean()), half, int(finite.size))


def values_of(rows: Sequence[Row], method: str, key: str) -> dict[str, float]:
    """Pair → value of one method; a value that is absent is left out."""
    found = {}
    for row in rows:
        value = row.get(key)
        if row["method"] == method and value not in (None, "") and math.isfinite(float(str(value))):
            found[str(row["pair"])] = float(str(value))
    return found


def difference(rows: Sequence[Row], method: str, baseline: str, key: str) -> Mean:
    """Mean of the differences to the baseline on the pairs that both have."""
    ours, theirs = (values_of(rows, name, key) for name in (method, baseline))
    return mean_of([ours[pair] - theirs[pair] for pair in ours if pair in theirs])


def table(rows: Sequence[Row], baseline: str) -> str:
    """Markdown table, one line a method in the order of the rows."""
    columns = [c for c in COLUMNS if any(row.get(c.key) not in (None, "") for row in rows)]
    lines = [_line(["method", "pairs", *(column.title for column in columns)])]
    lines.append(_line(["---"] * (len(columns) + 2)))
    for method in dict.fromkeys(str(row["method"]) for row in rows):
        done = [row for row in rows if row["method"] == method and not row.get("error")]
        cells = [_cell(rows, method, baseline, column) for column in columns]
        lines.append(_line([method, str(len(done)), *cells]))
    return "\n".join(lines)


def _cell(rows: Sequence[Row], method: str, baseline: str, column: Column) -> str:
    found = mean_of(list(values_of(rows, method, column.key).values()))
    if not found.count:
        return ""
    text = _number(found, column.digits)
    if method == baseline:
        return text
    apart = difference(rows, method, baseline, column.key)
    return f"{text} ({_number(apart, '+' + column.digits)})" if apart.count else text


def _number(found: Mean, digits: str) -> str:
    text = format(found.mean, digits)
    return text if math.isnan(found.half) else f"{text} ± {format(found.half, digits.lstrip('+'))}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
