"""Means over a cohort with confidence intervals, beside the baseline on the same cases.

``python -m pipeline.evaluate.summary RESULTS`` prints a Markdown table of every measure in
evaluate/metrics.tsv that has a baseline.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from pipeline import files
from pipeline.paths import Results

HEADER = "| stage | measure | label | cases | value | baseline | difference (95 % interval) |"


@dataclass(frozen=True)
class Line:
    """One measure over the cases that have both a value and a baseline."""

    stage: str
    metric: str
    label: str
    cases: int
    value: float
    baseline: float
    difference: float
    half_width: float


def summarise(rows: Iterable[Mapping[str, str]]) -> list[Line]:
    """Paired means per stage, measure and label, in the order of the table."""
    pairs: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if row["value"] and row["baseline"]:
            key = (row["stage"], row["metric"], row["label"])
            pairs[key].append((float(row["value"]), float(row["baseline"])))
    return [_line(key, values) for key, values in pairs.items()]


def _line(key: tuple[str, str, str], pairs: Sequence[tuple[float, float]]) -> Line:
    values, baselines = np.asarray(pairs).T
    difference = values - baselines
    count = len(pairs)
    half = float("nan")
    if count > 1:
        error = float(difference.std(ddof=1)) / np.sqrt(count)
        half = float(stats.t.ppf(0.975, count - 1)) * error
    mean = float(difference.mean())
    return Line(*key, count, float(values.mean()), float(baselines.mean()), mean, half)


def table(lines: Iterable[Line]) -> str:
    """Markdown table; the interval is Student's t on the paired differences."""
    rows = [HEADER, "| --- | --- | --- | --- | --- | --- | --- |"]
    for line in lines:
        low, high = line.difference - line.half_width, line.difference + line.half_width
        interval = f"{line.difference:+.3g} ({low:+.3g} to {high:+.3g})"
        rows.append(
            f"| {line.stage} | {line.metric} | {line.label} | {line.cases} | {line.value:.3g} "
            f"| {line.baseline:.3g} | {interval} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    print(table(summarise(files.read_tsv(Results(Path(sys.argv[1])).metrics))))
