"""Writes a comparison: compare.tsv, compare_cases.tsv and index.html."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from pipeline import files
from pipeline.compare import plot, runs, words
from pipeline.compare.changes import Change, by_session
from pipeline.compare.outcome import WORDS, Row
from pipeline.compare.training import Seen
from pipeline.compare.words import text
from pipeline.evaluate.inference import FEWEST, LEVEL
from pipeline.paths import Results, Unit
from pipeline.report import render

COLUMNS = (
    "stage", "metric", "label", "unit", "direction", "outcome", "n", "n_changed", "mean_a",
    "mean_b", "difference", "low", "high", "p", "p_holm", "dz", "rank_biserial", "sessions",
    "only_a", "only_b",
)  # fmt: skip
CASE_COLUMNS = (
    "subject", "session", "stage", "metric", "label", "unit", "a", "b", "difference",
    "standardised", "change",
)  # fmt: skip
#: Rows of compare_cases.tsv, sessions on the page, changes of each, plots that stand open.
MOST_CASES, MOST_SESSIONS, MOST_CHANGES, MOST_PLOTS = 1000, 20, 3, 8


@dataclass(frozen=True)
class Comparison:
    """Everything that the page tells."""

    a: Results
    b: Results
    rows: list[Row]
    changes: list[Change]
    differences: list[runs.Difference]
    unpaired: list[runs.Unpaired]
    other_inputs: list[Unit]
    seen: list[Seen]

    @property
    def units(self) -> list[Unit]:
        """Sessions with at least one pair, sorted."""
        return sorted({case.unit for row in self.rows for case in row.group.cases})


def write(comparison: Comparison, out: Path) -> words.Verdict:
    """Write the tables and the page.

    Raises:
        VoxelwayError: E-DIR-WRITE, E-DISK-FULL.
    """
    verdict = words.verdict(comparison.rows)
    table = [_fields(row) for row in comparison.rows]
    files.write_tsv(out / "compare.tsv", COLUMNS, table)
    cases = [_case(change) for change in comparison.changes[:MOST_CASES]]
    files.write_tsv(out / "compare_cases.tsv", CASE_COLUMNS, cases)
    context = _context(comparison, verdict, out)
    files.write_text(out / "index.html", render.render("compare.html", "compare.js", context))
    return verdict


def _fields(row: Row) -> dict[str, Any]:
    found = row.inference
    numbers = ("mean_a", "mean_b", "difference", "low", "high", "p", "dz", "rank_biserial")
    fields: dict[str, Any] = {
        **dict.fromkeys(numbers, ""),
        "stage": row.key.stage, "metric": row.key.metric, "label": row.key.label,
        "unit": row.key.unit, "direction": row.key.direction, "outcome": row.outcome,
        "n": len(row.subjects), "p_holm": text(row.holm), "sessions": len(row.group.cases),
        "only_a": len(row.group.only_a), "only_b": len(row.group.only_b),
    }  # fmt: skip
    if found:
        fields |= {name: text(getattr(found, name)) for name in numbers}
        fields["n_changed"] = found.changed
    return fields


def _case(change: Change) -> dict[str, Any]:
    return {
        "subject": change.unit.subject, "session": change.unit.session,
        "stage": change.row.key.stage, "metric": change.row.key.metric,
        "label": change.row.key.label, "unit": change.row.key.unit,
        "a": text(change.a), "b": text(change.b), "difference": text(change.difference),
        "standardised": text(change.standardised), "change": _way(change),
    }  # fmt: skip


def _way(change: Change) -> str:
    return "changed" if change.better is None else "better" if change.better else "worse"


def _context(comparison: Comparison, verdict: words.Verdict, out: Path) -> dict[str, Any]:
    rows, units = comparison.rows, comparison.units
    plots = _plots(rows)
    evaluated = [d for d in comparison.differences if d.stage == "evaluate"]
    return {
        "extra": Markup(render.asset("compare.css")),
        "names": _names(comparison.a, comparison.b),
        "links": [_link(r.cohort_page, out) for r in (comparison.a, comparison.b)],
        "verdict": verdict,
        "losses": words.losses(comparison.unpaired),
        "sessions": len(units),
        "subjects": len({unit.subject for unit in units}),
        "rows": [(row, _fields(row)) for row in rows],
        "hidden": sum(row.outcome in ("same", "none") for row in rows),
        "outcomes": WORDS,
        "plots": plots[:MOST_PLOTS],
        "more_plots": plots[MOST_PLOTS:],
        "at": plot,
        "cases": _sessions(comparison, out),
        "differences": comparison.differences,
        "evaluated": evaluated,
        "unpaired": comparison.unpaired,
        "other_inputs": [unit.name for unit in comparison.other_inputs],
        "seen": comparison.seen,
        "fewest": FEWEST,
        "level": f"{LEVEL:g}",
        "words": words,
    }


def _plots(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Paired plots of the headline measures, in the order of the table.

    A headline measure that has a mean over its labels is drawn by that mean.
    """
    wanted = {(stage, metric) for stage, known in render.stages().items()
              for metric in known["measures"]}  # fmt: skip
    means = {(row.key.stage, row.key.metric) for row in rows if row.key.label == "mean"}
    chosen = []
    for row in rows:
        name = (row.key.stage, row.key.metric)
        shown = name in wanted and (name not in means or row.key.label == "mean")
        if shown and len(row.subjects) > 1 and row.outcome != "same":
            chosen.append({"row": row, "plot": plot.paired(row)})
    return chosen


def _sessions(comparison: Comparison, out: Path) -> list[dict[str, Any]]:
    """Sessions that changed most, with links to their pages in both runs."""
    found = []
    for changes in by_session(comparison.changes, MOST_SESSIONS):
        unit = changes[0].unit
        found.append({
            "name": unit.name,
            "links": [_link(r.page(unit), out) for r in (comparison.a, comparison.b)],
            "changes": [(change, _way(change), _case(change)) for change in changes[:MOST_CHANGES]],
            "more": max(0, len(changes) - MOST_CHANGES),
        })  # fmt: skip
    return found


def _names(a: Results, b: Results) -> tuple[str, str]:
    """Names of the runs: their folders, with as much of the path as tells them apart."""
    left, right = a.root.resolve().parts, b.root.resolve().parts
    for count in range(1, max(len(left), len(right)) + 1):
        if left[-count:] != right[-count:]:
            return "/".join(left[-count:]), "/".join(right[-count:])
    return str(a.root), str(b.root)


def _link(page: Path, out: Path) -> str:
    """Address of a page from the comparison's folder; empty when there is no page."""
    if not page.is_file():
        return ""
    try:
        return quote(Path(os.path.relpath(page.resolve(), out.resolve())).as_posix())
    except ValueError:
        # another drive: no relative path leads there
        return page.resolve().as_uri()
