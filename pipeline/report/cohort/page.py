"""The cohort's tables and its page, with the files that its scripts load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipeline import config, files, status
from pipeline.evaluate.cohort import write_cohort_metrics
from pipeline.paths import STAGES, Results, Unit, sidecar
from pipeline.report import render
from pipeline.report.cohort import rows
from pipeline.report.cohort.data import Data, build, ranges

SCRIPTS = ("rating.js", "cohort.js", "cohort_plots.js", "cohort_tables.js", "cohort_live.js")
#: Rows that stand in the page itself, for readers without scripts.
PLAIN_ROWS = 50
#: Rows of the quarantine that stand on the page; the table has all.
REFUSED_ROWS = 500
#: Pictures of the latest sessions, for pages that are open already.
LATEST = 100


def write_cohort(
    results: Results, units: Sequence[Unit], params: Mapping[str, Any] | None = None
) -> None:
    """Write evaluate/metrics.tsv, status.tsv and the files of :func:`write_page`.

    Args:
        results: the results folder.
        units: units of the manifest.
        params: section ``report`` of the configuration, with ``seed``; its defaults without.
    """
    write_cohort_metrics(results)
    status.write_table(results, status.collect(results, units))
    write_page(results, units, params or {**config.section("report"), "seed": 0})


def write_page(results: Results, units: Sequence[Unit], params: Mapping[str, Any]) -> None:
    """Write qc/index.html, cohort.js for the subject pages, and what an open page reloads.

    Nothing but files of qc/ is written, so that a page can be made while the workflow runs.
    """
    data = build(results, units, params)
    _write_script(results, "cohort.js", "VOXELWAY_COHORT", ranges(data))
    files.write_text(results.cohort_page, html(data))
    live = {"data": data.script, "thumbnails": _latest(results, data)}
    _write_script(results, "cohort-live.js", "VOXELWAY_LIVE", live)
    # last, because it tells that the others stand
    stamp = {"stamp": data.script["stamp"]}
    _write_script(results, "cohort-stamp.js", "VOXELWAY_STAMP", stamp)


def _write_script(results: Results, name: str, variable: str, content: Any) -> None:
    text = f"window.{variable} = {render.script_json(content)};\n"
    files.write_text_if_changed(results.cohort_page.with_name(name), text)


def _latest(results: Results, data: Data) -> dict[str, str]:
    """Pictures of the sessions whose pages came last."""
    aged = []
    for row in data.rows:
        if row.thumbnail:
            try:
                aged.append((sidecar(results.page(row.unit)).stat().st_mtime, row))
            except OSError:  # its stage runs again at this moment
                continue
    aged.sort(key=lambda pair: (-pair[0], pair[1].name))
    return {row.name: row.thumbnail for _, row in aged[:LATEST]}


def html(data: Data) -> str:
    """The page, whole: data and pictures are in it, so that it can be taken elsewhere alone."""
    levels = Counter(row.level for row in data.rows)
    context = {
        "rows": [_shown(row, data) for row in data.rows[:PLAIN_ROWS]],
        "total": len(data.rows),
        "sessions": data.script["sessions"],
        "columns": data.script["columns"],
        "told": data.script["outliers"]["told"],
        "stages": STAGES,
        "counts": {level: levels[level] for level in rows.ORDER},
        "refused": data.refused[:REFUSED_ROWS],
        "refused_count": len(data.refused),
        "refused_codes": _by_code(data.refused),
        "omitted": data.omitted[:REFUSED_ROWS],
        "omitted_count": len(data.omitted),
        "data": data.script,
        "thumbnails": data.thumbnails,
        "own_style": Markup(render.asset("cohort.css")),
    }
    return render.render("cohort.html", SCRIPTS, context)


def _shown(row: rows.Row, data: Data) -> dict[str, Any]:
    """A row for the template."""
    cells = []
    for column in row.cells:
        number = data.columns[column].number if column >= 0 else None
        value = data.columns[column].values[row.place] if column >= 0 else None
        title = f"{number.title} {number.label}".strip() if number else ""
        cells.append({"value": "" if value is None else f"{value:.6g}", "title": title})
    cells += [{"value": "", "title": ""}] * (len(data.script["columns"]) - len(cells))
    return {"row": row, "cells": cells, "seconds": sum(row.seconds)}


def _by_code(refused: Sequence[Mapping[str, str]]) -> list[tuple[str, str, int]]:
    """Code, meaning and number of series, most frequent first."""
    found = Counter((row["code"], row["meaning"]) for row in refused)
    return [(code, meaning, count) for (code, meaning), count in found.most_common()]
