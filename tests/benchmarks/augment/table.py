"""The table: mean Dice of each arm with its interval, and what it gains over classical."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.training.bundle import Score
from tests.benchmarks.augment.bench import scores

Row = Mapping[str, str]
REFERENCE = "classical"
TITLES = ("labelled cases", "augmentation", "seeds", "mean Dice", "of each seed", "over classical")


def table(rows: Sequence[Row]) -> str:
    """Markdown table, a line a size and arm.

    The Dice of a test case is the mean over the seeds; intervals (95 %, Student's t) are over the
    test cases, those of the gain over the cases' own differences.
    """
    lines = [_line(TITLES), _line(["---"] * len(TITLES))]
    for size in sorted({int(row["size"]) for row in rows}):
        mine = [row for row in rows if int(row["size"]) == size]
        reference = of_cases([row for row in mine if row["arm"] == REFERENCE])
        for arm in dict.fromkeys(row["arm"] for row in mine):
            some = [row for row in mine if row["arm"] == arm]
            found = of_cases(some)
            each = ", ".join(f"{float(row['dice']):.3f}" for row in some)
            gain = "" if arm == REFERENCE else gained(found, reference)
            cells = [str(size), arm, str(len(some)), _cell(list(found.values())), each, gain]
            lines.append(_line(cells))
    return "\n".join(lines)


def of_cases(rows: Sequence[Row]) -> dict[str, float]:
    """Dice of each test case: the mean over the rows."""
    found = [scores(row) for row in rows]
    return {
        name: sum(one[name] for one in found) / len(found) for name in (found[0] if found else {})
    }


def gained(ours: Mapping[str, float], reference: Mapping[str, float]) -> str:
    """Mean difference of the cases that both have, with its interval; empty without any."""
    both = [ours[name] - reference[name] for name in ours if name in reference]
    return _cell(both, sign="+") if both else ""


def _cell(values: Sequence[float], sign: str = "") -> str:
    found = Score.of(values)
    text = format(found.mean, f"{sign}.3f")
    if found.low is None or found.high is None:
        return text
    return f"{text} ({found.low:{sign}.3f} to {found.high:{sign}.3f})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
