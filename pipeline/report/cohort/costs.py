"""Time and memory of every stage over a cohort."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from pipeline import files, status
from pipeline.errors import VoxelwayError
from pipeline.paths import STAGES, Results, Unit, sidecar
from pipeline.report.cohort.gathered import Gathered

#: Sessions in the list of the slowest.
SLOWEST = 10


def by_stage(gathered: Gathered) -> list[dict[str, Any]]:
    """Median and largest seconds and MB of each stage, with the session of the largest.

    Sessions that a stage did not end well for do not count: how long it took them to fail tells
    nothing of its cost.
    """
    found = []
    for stage in STAGES:
        done = [
            (unit, states[stage])
            for unit, states in zip(gathered.units, gathered.statuses, strict=True)
            if stage in states and states[stage].status == "ok"
        ]
        if not done:
            continue
        seconds = [(one.seconds, unit) for unit, one in done]
        told = [(memory_mb(gathered.results, unit, one), unit) for unit, one in done]
        memory = [pair for pair in told if math.isfinite(pair[0])]
        found.append({"stage": stage, "sessions": len(done), "seconds": _spread(seconds),
                      "memory": _spread(memory)})  # fmt: skip
    return found


def _spread(values: Sequence[tuple[float, Unit]]) -> dict[str, Any] | None:
    if not values:
        return None
    largest, unit = max(values)
    middle = statistics.median(value for value, _ in values)
    return {"median": round(middle, 2), "largest": round(largest, 2), "name": unit.name}


def memory_mb(results: Results, unit: Unit, one: status.Status) -> float:
    """Peak memory of one job, MB; NaN when neither the benchmark nor a sidecar tells.

    The benchmark counts the whole job; a sidecar tells of the process up to its output.
    """
    told = _benchmark(results, unit, one.stage)
    if math.isfinite(told):
        return told
    peaks = [_peak(results, name) for name in list(one.outputs)[-1:]]
    return peaks[0] if peaks else math.nan


def _benchmark(results: Results, unit: Unit, stage: str) -> float:
    """``max_rss`` of the workflow's benchmark file: MB."""
    try:
        lines = results.benchmark(stage, unit).read_text(encoding="utf-8").splitlines()
        return float(lines[1].split("\t")[lines[0].split("\t").index("max_rss")])
    except (OSError, ValueError, IndexError):
        return math.nan


def _peak(results: Results, name: str) -> float:
    try:
        content = files.read_json(sidecar(results.root / name))
    except VoxelwayError:
        return math.nan
    found = content.get("PeakMemoryMB") if isinstance(content, dict) else None
    return float(found) if isinstance(found, int | float) else math.nan


def slowest(gathered: Gathered) -> list[dict[str, Any]]:
    """Sessions that took longest, with the stage that took most of it."""
    found: list[dict[str, Any]] = []
    for unit, states in zip(gathered.units, gathered.statuses, strict=True):
        total = sum(one.seconds for one in states.values())
        if total > 0:
            longest = max(states.values(), key=lambda one: one.seconds)
            found.append({"name": unit.name, "seconds": round(total, 1), "stage": longest.stage,
                          "of_it": round(longest.seconds, 1)})  # fmt: skip
    return sorted(found, key=lambda row: (-row["seconds"], row["name"]))[:SLOWEST]
