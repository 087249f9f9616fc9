"""The table: Dice of each label over cases with its 95 % interval, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tests.benchmarks.register.table import mean_of

Row = Mapping[str, object]


def table(rows: Sequence[Row], labels: Sequence[int]) -> str:
    """Markdown table, a line a method in the order of the rows."""
    titles = [
        "method", "cases", *(f"Dice of {label}" for label in labels), "mean Dice",
        "samples a step", "planning, s", "training, s", "training, MB", "a case, s",
        "segmenting, MB",
    ]  # fmt: skip
    lines = [_line(titles), _line(["---"] * len(titles))]
    for method in dict.fromkeys(str(row["method"]) for row in rows):
        mine = [row for row in rows if row["method"] == method and not row.get("error")]
        scores = [_cell(numbers(mine, f"dice_{label}"), ".3f") for label in labels]
        mean = _cell([mean_dice(row, labels) for row in mine], ".3f")
        costs = [
            _cell(numbers(mine, "batch")[:1], ".0f"),
            _cell(numbers(mine, "plan_s")[:1], ".0f"),
            _cell(numbers(mine, "train_s")[:1], ".0f"),
            _cell(numbers(mine, "train_peak_mb")[:1], ".0f"),
            _cell(numbers(mine, "seconds"), ".2f"),
            _cell(numbers(mine, "peak_mb")[:1], ".0f"),
        ]
        lines.append(_line([method, str(len(mine)), *scores, mean, *costs]))
    return "\n".join(lines)


def numbers(rows: Sequence[Row], key: str) -> list[float]:
    """Values of one column, those absent left out."""
    return [float(str(value)) for row in rows if (value := row.get(key)) is not None]


def mean_dice(row: Row, labels: Sequence[int]) -> float:
    """Mean over the labels of a case; NaN where neither side has any."""
    found = [value for label in labels for value in numbers([row], f"dice_{label}")]
    finite = [value for value in found if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _cell(values: Sequence[float], digits: str) -> str:
    found = mean_of(values)
    if not found.count:
        return ""
    text = format(found.mean, digits)
    return text if math.isnan(found.half) else f"{text} ± {format(found.half, digits)}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
