"""Everything that small files tell of a cohort, in memory: no image is read.

Damaged files of one session cost that session's numbers only, so that the page comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import files, status
from pipeline.errors import VoxelwayError
from pipeline.evaluate import factors
from pipeline.paths import STAGES, Results, Unit, sidecar
from pipeline.report import measures

#: Cost is told by stage on its own; a slow machine makes no subject unusual.
COST = frozenset({"seconds"})


@dataclass(frozen=True)
class Gathered:
    """What is known of the sessions, each sequence in the order of ``units``.

    Attributes:
        statuses: stage → status of each session.
        numbers: rows of each session's table.
        summaries: sidecar of each session's page; empty before there is one.
        factors: scanner, site and date of each session.
    """

    results: Results
    units: tuple[Unit, ...]
    statuses: tuple[dict[str, status.Status], ...]
    numbers: tuple[list[measures.Number], ...]
    summaries: tuple[dict[str, Any], ...]
    factors: tuple[factors.Factors, ...]

    @property
    def subjects(self) -> int:
        """Number of subjects."""
        return len({unit.subject for unit in self.units})


@dataclass(frozen=True)
class Column:
    """One measure over the cohort.

    Attributes:
        number: one of its rows, which tells its names and its direction.
        values: one a session, NaN where missing.
    """

    number: measures.Number
    values: npt.NDArray[np.float64]


def gather(results: Results, units: Sequence[Unit]) -> Gathered:
    """Read statuses, numbers, summaries of pages and factors of sessions."""
    known = factors.read(results, units)
    return Gathered(
        results,
        tuple(units),
        tuple(_statuses(results, unit) for unit in units),
        tuple(_numbers(results, unit) for unit in units),
        tuple(_summary(results, unit) for unit in units),
        tuple(known[unit] for unit in units),
    )


def _statuses(results: Results, unit: Unit) -> dict[str, status.Status]:
    found = {}
    for stage in STAGES:
        try:
            one = status.read(results, unit, stage)
        except (VoxelwayError, TypeError):
            what = "The status can't be read."
            one = status.Status(unit.subject, unit.session, stage, "failed", "E-FILE-READ", what)
        if one is not None:
            found[stage] = one
    return found


def _numbers(results: Results, unit: Unit) -> list[measures.Number]:
    try:
        return measures.read(results.unit_metrics(unit))
    except VoxelwayError:
        return []


def _summary(results: Results, unit: Unit) -> dict[str, Any]:
    try:
        content = files.read_json(sidecar(results.page(unit)))
    except VoxelwayError:
        return {}
    return content if isinstance(content, dict) else {}


def columns(gathered: Gathered) -> list[Column]:
    """Every measure that has a number in any session, in the order of the stages."""
    found: dict[str, Column] = {}
    for place, numbers in enumerate(gathered.numbers):
        for number in numbers:
            if number.metric in COST or not np.isfinite(number.amount):
                continue
            if number.key not in found:
                found[number.key] = Column(number, np.full(len(gathered.units), np.nan))
            found[number.key].values[place] = number.amount
    rank = {stage: place for place, stage in enumerate(STAGES)}
    return sorted(found.values(), key=lambda c: rank.get(c.number.stage, len(rank)))
