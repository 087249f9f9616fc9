"""The cohort's tables, its data for the subject pages, and its page.

Everything comes from small files: statuses, tables of numbers and the sidecars of the subject
pages, so that the page can be made while a run goes on and without any image.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import files, status
from pipeline.errors import CODES, VoxelwayError
from pipeline.evaluate.cohort import write_cohort_metrics
from pipeline.paths import STAGES, Results, Unit, sidecar
from pipeline.report import measures, render
from pipeline.report.record import left_out

#: Columns of numbers: heading, stage, metric, label; an empty label takes the largest.
COLUMNS: tuple[tuple[str, str, str, str], ...] = (
    ("Brain, ml", "preprocess", "volume", "brain"),
    ("Noise, %", "preprocess", "noise_level", ""),
    ("Template NCC", "register", "ncc", ""),
    ("Folds, %", "register", "folding", ""),
    ("GM, ml", "segment", "volume", "GM"),
    ("WM, ml", "segment", "volume", "WM"),
    ("Lesion, ml", "segment", "volume", "lesion"),
)
#: Columns that only a cohort with a reference has.
REFERENCE_COLUMNS: tuple[tuple[str, str, str, str], ...] = (
    ("TRE, mm", "register", "tre", ""),
    ("Dice", "segment", "dice", "mean"),
)
ORDER = {"fail": 0, "look": 1, "absent": 2, "pass": 3}


def write_cohort(results: Results, units: Sequence[Unit]) -> None:
    """Write evaluate/metrics.tsv, status.tsv, qc/cohort.js and qc/index.html.

    Args:
        results: the results folder.
        units: units of the manifest.
    """
    write_cohort_metrics(results)
    statuses = status.collect(results, units)
    status.write_table(results, statuses)
    numbers = measures.read_with_unit(results.metrics)
    known = {(unit.subject, unit.session) for unit in units}
    numbers = [(owner, number) for owner, number in numbers if owner in known]
    rows = rows_of(results, units, statuses, numbers)
    write_data(results, [number for _, number in numbers], rows)
    refused, omitted = _quarantine(results)
    rows = [*_without_image(refused, units), *rows]
    context = {
        "rows": rows,
        "sessions": len(units),
        "columns": [column[0] for column in _columns(numbers)],
        "stages": STAGES,
        "counts": {level: sum(row["level"] == level for row in rows) for level in ORDER},
        "refused": refused,
        "omitted": omitted,
        "times": _times(statuses),
        "data": {"strips": _strips(numbers)},
    }
    files.write_text(results.cohort_page, render.render("cohort.html", "cohort.js", context))


def write_data(
    results: Results, numbers: Sequence[measures.Number], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Write qc/cohort.js, which subject pages load to show where a number lies in the cohort."""
    content = {
        "metrics": measures.ranges(numbers),
        "units": [
            {"name": row["name"], "page": row["page"], "level": row["level"]} for row in rows
        ],
    }
    text = f"window.VOXELWAY_COHORT = {render.script_json(content)};\n"
    files.write_text_if_changed(results.cohort_page.with_name("cohort.js"), text)


Owned = tuple[tuple[str, str], measures.Number]


def rows_of(
    results: Results,
    units: Sequence[Unit],
    statuses: Sequence[status.Status],
    numbers: Sequence[Owned],
) -> list[dict[str, Any]]:
    """One row a unit, those that failed first."""
    columns = _columns(numbers)
    by_unit: dict[tuple[str, str], list[measures.Number]] = {}
    for owner, number in numbers:
        by_unit.setdefault(owner, []).append(number)
    rows = []
    for unit in units:
        mine = (unit.subject, unit.session)
        states = {s.stage: s for s in statuses if (s.subject, s.session) == mine}
        row = _row(results, unit, states)
        row["cells"] = [_cell(by_unit.get(mine, []), column) for column in columns]
        rows.append(row)
    return sorted(rows, key=lambda row: (ORDER[row["level"]], row["name"]))


def _row(results: Results, unit: Unit, states: Mapping[str, status.Status]) -> dict[str, Any]:
    page = results.page(unit)
    told = _summary(results, unit)
    return {
        "name": unit.name,
        "subject": unit.subject,
        "session": unit.session,
        "page": page.name if page.is_file() else "",
        "level": told.get("Verdict", "absent"),
        "reasons": told.get("Reasons", []),
        "thumbnail": told.get("Thumbnail", ""),
        "acquired": told.get("Acquired", []),
        "synthetic": told.get("Synthetic", []),
        "states": [_state(stage, states.get(stage)) for stage in STAGES],
        "seconds": sum(one.seconds for one in states.values()),
        "cells": [],
    }


def _summary(results: Results, unit: Unit) -> dict[str, Any]:
    """What the sidecar of a subject page tells; nothing when there is none."""
    try:
        content = files.read_json(sidecar(results.page(unit)))
    except VoxelwayError:
        return {}
    return content if isinstance(content, dict) else {}


def _state(stage: str, found: status.Status | None) -> dict[str, str]:
    if found is None:
        return {"stage": stage, "state": "absent", "text": f"{stage}: not yet"}
    words = {"ok": f"{stage}: done in {found.seconds:.1f} s"}
    text = words.get(found.status, f"{stage}: {found.status} ({found.code})")
    return {"stage": stage, "state": found.status, "text": text}


def _columns(numbers: Sequence[Owned]) -> list[tuple[str, str, str, str]]:
    present = {(number.stage, number.metric) for _, number in numbers}
    return [*COLUMNS, *(c for c in REFERENCE_COLUMNS if (c[1], c[2]) in present)]


def _cell(numbers: Sequence[measures.Number], column: tuple[str, str, str, str]) -> dict[str, str]:
    """Value of one column: the number of its label, or the largest over the contrasts."""
    _, stage, metric, label = column
    found = [n for n in numbers if (n.stage, n.metric) == (stage, metric)]
    if label:
        found = [n for n in found if n.label == label]
    if not found:
        return {"value": "", "title": ""}
    worst = max(found, key=lambda n: n.amount)
    title = f"{worst.title} {worst.label}".strip()
    return {"value": worst.value, "title": title}


def _quarantine(results: Results) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Rows that were refused, and rows that were left out as not wanted, with plain words."""
    if not results.quarantine.is_file():
        return [], []
    rows = [
        {**row, "meaning": CODES[row["code"]].meaning if row["code"] in CODES else ""}
        for row in files.read_tsv(results.quarantine)
    ]
    refused = [row for row in rows if not left_out(row["code"])]
    return refused, [row for row in rows if left_out(row["code"])]


def _without_image(
    refused: Sequence[Mapping[str, str]], units: Sequence[Unit]
) -> list[dict[str, Any]]:
    """Rows of subjects that have nothing but refused series."""
    known = {unit.subject for unit in units}
    lost: dict[str, list[Mapping[str, str]]] = {}
    for row in refused:
        if row.get("subject") and row["subject"] not in known:
            lost.setdefault(row["subject"], []).append(row)
    rows = []
    for subject, series in sorted(lost.items()):
        texts = [f"{row['meaning']} ({row['code']})" for row in series]
        reasons = [{"level": "fail", "text": text, "anchor": ""} for text in dict.fromkeys(texts)]
        states = [_state(stage, None) for stage in STAGES]
        rows.append({
            "name": f"sub-{subject}", "subject": subject, "session": "", "page": "",
            "level": "fail", "reasons": reasons, "thumbnail": "", "acquired": [], "synthetic": [],
            "states": states, "seconds": 0.0, "cells": [],
        })  # fmt: skip
    return rows


def _times(statuses: Sequence[status.Status]) -> list[tuple[str, str, str, int]]:
    """Stage, median and largest seconds, number of units."""
    found = []
    for stage in STAGES:
        seconds = [s.seconds for s in statuses if s.stage == stage and s.status == "ok"]
        if seconds:
            middle, top = statistics.median(seconds), max(seconds)
            found.append((stage, f"{middle:.1f}", f"{top:.1f}", len(seconds)))
    return found


def _strips(numbers: Sequence[Owned]) -> list[dict[str, Any]]:
    """Values of each headline measure over the cohort, for the strip plots."""
    words = render.stages()
    strips: dict[str, dict[str, Any]] = {}
    for (subject, session), number in numbers:
        if number.metric not in words.get(number.stage, {}).get("measures", ()):
            continue
        strip = strips.setdefault(number.key, {
            "key": number.key, "stage": number.stage, "title": number.title,
            "label": number.label, "unit": number.unit,
            "reference": number.against_reference, "points": [],
        })  # fmt: skip
        strip["points"].append([Unit(subject, session).name, number.value])
    return [strip for strip in strips.values() if len(strip["points"]) > 1]
