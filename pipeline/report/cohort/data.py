"""The cohort as the page's script reads it: compact, every number as its table holds it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.paths import STAGES, Results, Unit
from pipeline.report import measures, outliers, render
from pipeline.report.cohort import batch, costs, rows
from pipeline.report.cohort.gathered import Column, Gathered, columns, gather

#: Most values of one measure that the subject pages load: enough to place a number within 1 %.
THINNED = 101


@dataclass(frozen=True)
class Data:
    """What the page and its scripts hold.

    Attributes:
        gathered: what it was made from.
        rows: in the order of the page before anybody sorts it.
        refused: rows of the quarantine with what is wrong.
        omitted: rows of the quarantine that were not wanted.
        script: the data of the page's script; see :func:`build`.
        columns: every measure.
    """

    gathered: Gathered
    rows: list[rows.Row]
    refused: list[dict[str, str]]
    omitted: list[dict[str, str]]
    columns: list[Column]
    script: dict[str, Any]

    @property
    def thumbnails(self) -> dict[str, str]:
        """Name of a row → its picture."""
        return {row.name: row.thumbnail for row in self.rows if row.thumbnail}


def build(results: Results, units: Sequence[Unit], params: Mapping[str, Any]) -> Data:
    """Read and judge a cohort.

    Args:
        results: the results folder.
        units: its sessions.
        params: section ``report`` of the configuration, with ``seed``.
    """
    gathered = gather(results, units)
    found = columns(gathered)
    refused, omitted = rows.quarantine(results)
    lines = [*rows.without_image(refused, units), *rows.rows_of(gathered, found)]
    limits = params["outliers"]
    judged = rows.unusual(gathered, found, limits, int(params.get("seed", 0)))
    script = {
        "stages": list(STAGES),
        "columns": [heading[0] for heading in rows.headings(found)],
        "rows": [_row(line, judged) for line in lines],
        "measures": [_measure(column, lines) for column in found],
        "outliers": {**limits, "told": bool(judged), "subjects": gathered.subjects},
        "batch": batch.summary(gathered, found),
        "factors": [_factors(line, gathered) for line in lines],
        "costs": costs.by_stage(gathered),
        "slowest": costs.slowest(gathered),
        "running": any("report" not in states for states in gathered.statuses),
        "sessions": len(units),
    }
    script["stamp"] = hashlib.sha256(render.script_json(script).encode()).hexdigest()[:12]
    return Data(gathered, lines, refused, omitted, found, script)


def _row(line: rows.Row, judged: Sequence[outliers.Finding]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": line.name, "subject": line.unit.subject, "session": line.unit.session,
        "page": line.page, "level": line.level, "reasons": line.reasons,
        "acquired": line.acquired, "synthetic": line.synthetic, "states": line.states,
        "seconds": line.seconds, "cells": line.cells,
    }  # fmt: skip
    if line.codes:
        found["codes"] = line.codes
    if judged and line.place >= 0:
        one = judged[line.place]
        found["score"] = round(one.score, 3)
        if one.unusual:
            found["odd"] = {"forest": one.forest, "far": _pairs(one.far), "why": _pairs(one.causes)}
    return {key: value for key, value in found.items() if value not in ("", (), [])}


def _pairs(pairs: Sequence[tuple[int, float]]) -> list[list[float]]:
    return [[column, float(f"{value:.3g}")] for column, value in pairs]


def _measure(column: Column, lines: Sequence[rows.Row]) -> dict[str, Any]:
    number = column.number
    values = [column.values[line.place] if line.place >= 0 else math.nan for line in lines]
    return {
        "stage": number.stage, "metric": number.metric, "title": number.title,
        "label": number.label, "unit": number.unit, "definition": number.definition,
        "reference": number.against_reference,
        "headline": number.metric in render.stages().get(number.stage, {}).get("measures", ()),
        "values": [_plain(value) for value in values],
    }  # fmt: skip


def _plain(value: float) -> float | int | None:
    """A number in the fewest signs that read back as the same."""
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) and abs(value) < 1e15 else float(value)


def _factors(line: rows.Row, gathered: Gathered) -> list[str]:
    """Scanner, site and date of a row, where the headers tell them."""
    if line.place < 0:
        return ["", "", ""]
    known = gathered.factors[line.place]
    return [known.scanner, known.site, known.date]


def ranges(data: Data) -> dict[str, Any]:
    """What subject pages load: the distribution of each measure, and their neighbours.

    Long distributions are thinned to evenly spaced order statistics with both ends; ``counts``
    tells how many values there were.
    """
    values = {c.number.key: sorted(v for v in c.values.tolist() if math.isfinite(v))
              for c in data.columns}  # fmt: skip
    units = [line for line in data.rows if line.place >= 0]
    return {
        "metrics": {key: [_plain(v) for v in measures.thinned(one, THINNED)]
                    for key, one in values.items()},
        "counts": {key: len(one) for key, one in values.items() if len(one) > THINNED},
        "units": [{"name": u.name, "page": u.page, "level": u.level} for u in units],
    }  # fmt: skip
