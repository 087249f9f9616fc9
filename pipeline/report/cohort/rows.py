"""Rows of the cohort page: one a session, and one a subject with nothing but refused series."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import files, status
from pipeline.errors import CODES
from pipeline.paths import STAGES, Results, Unit
from pipeline.report import outliers
from pipeline.report.cohort.gathered import Column, Gathered
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
#: State of a stage in one letter, as the page's data holds it.
LETTERS = {"ok": "o", "failed": "f", "skipped": "s", "absent": "."}


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        unit: subject and session; the session is empty when there was nothing to convert.
        place: of the session among those gathered; -1 without one.
        page: file name of its page, empty before there is one.
        level: verdict, ``absent`` before there is a page.
        reasons: of the verdict: level, text, anchor.
        states: a letter of :data:`LETTERS` a stage.
        codes: stage → code of those that did not end well.
        seconds: of each stage.
        cells: measure of each column of numbers; -1 without a value.
    """

    unit: Unit
    place: int
    page: str
    level: str
    reasons: tuple[tuple[str, str, str], ...]
    thumbnail: str = ""
    acquired: tuple[str, ...] = ()
    synthetic: tuple[str, ...] = ()
    states: str = LETTERS["absent"] * len(STAGES)
    codes: Mapping[str, str] | None = None
    seconds: tuple[float, ...] = ()
    cells: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """How the page names it."""
        return self.unit.name if self.unit.session else f"sub-{self.unit.subject}"

    @property
    def stages(self) -> list[dict[str, str]]:
        """State and words of every stage."""
        words = {letter: state for state, letter in LETTERS.items()}
        found = []
        for n, stage in enumerate(STAGES):
            state = words[self.states[n]]
            said = {"ok": f"done in {self.seconds[n]:.1f} s" if self.seconds else "done",
                    "absent": "not yet"}.get(state, state)  # fmt: skip
            code = (self.codes or {}).get(stage, "")
            text = f"{stage}: {said}" + (f" ({code})" if code else "")
            found.append({"stage": stage, "state": state, "text": text})
        return found


def headings(columns: Sequence[Column]) -> list[tuple[str, str, str, str]]:
    """Columns of numbers that this cohort has."""
    present = {(column.number.stage, column.number.metric) for column in columns}
    return [*COLUMNS, *(c for c in REFERENCE_COLUMNS if (c[1], c[2]) in present)]


def rows_of(gathered: Gathered, columns: Sequence[Column]) -> list[Row]:
    """One row a session, those that failed first."""
    wanted = [_candidates(heading, columns) for heading in headings(columns)]
    rows = []
    for place, unit in enumerate(gathered.units):
        cells = tuple(_largest(candidates, columns, place) for candidates in wanted)
        rows.append(_row(gathered, unit, place, cells))
    return sorted(rows, key=lambda row: (ORDER[row.level], row.name))


def _candidates(heading: tuple[str, str, str, str], columns: Sequence[Column]) -> list[int]:
    _, stage, metric, label = heading
    return [
        n
        for n, column in enumerate(columns)
        if (column.number.stage, column.number.metric) == (stage, metric)
        and label in ("", column.number.label)
    ]


def _largest(candidates: Sequence[int], columns: Sequence[Column], place: int) -> int:
    """The measure with the largest value over the contrasts."""
    told = [n for n in candidates if math.isfinite(columns[n].values[place])]
    return max(told, key=lambda n: float(columns[n].values[place]), default=-1)


def _row(gathered: Gathered, unit: Unit, place: int, cells: tuple[int, ...]) -> Row:
    page = gathered.results.page(unit)
    told = gathered.summaries[place] if page.is_file() else {}
    states = gathered.statuses[place]
    reasons = [(str(r.get("level")), str(r.get("text")), str(r.get("anchor")))
               for r in told.get("Reasons", []) if isinstance(r, dict)]  # fmt: skip
    level = told.get("Verdict", "absent")
    return Row(
        unit, place, page.name if told else "", level if level in ORDER else "absent",
        tuple(reasons), str(told.get("Thumbnail", "")),
        tuple(map(str, told.get("Acquired", []))), tuple(map(str, told.get("Synthetic", []))),
        "".join(_letter(states.get(stage)) for stage in STAGES),
        {s.stage: s.code for s in states.values() if s.code},
        tuple(states[stage].seconds if stage in states else 0.0 for stage in STAGES), cells,
    )  # fmt: skip


def _letter(found: status.Status | None) -> str:
    return LETTERS.get(found.status if found else "absent", LETTERS["failed"])


def quarantine(results: Results) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Rows that were refused, and rows that were left out as not wanted, with plain words."""
    if not results.quarantine.is_file():
        return [], []
    rows = [
        {**row, "meaning": CODES[row["code"]].meaning if row["code"] in CODES else ""}
        for row in files.read_tsv(results.quarantine)
    ]
    refused = [row for row in rows if not left_out(row["code"])]
    return refused, [row for row in rows if left_out(row["code"])]


def without_image(refused: Sequence[Mapping[str, str]], units: Sequence[Unit]) -> list[Row]:
    """Rows of subjects that have nothing but refused series."""
    known = {unit.subject for unit in units}
    lost: dict[str, list[str]] = {}
    for row in refused:
        if row.get("subject") and row["subject"] not in known:
            text = f"{row['meaning']} ({row['code']})"
            lost.setdefault(row["subject"], []).append(text)
    return [
        Row(Unit(subject, ""), -1, "", "fail",
            tuple(("fail", text, "") for text in dict.fromkeys(texts)))
        for subject, texts in sorted(lost.items())
    ]  # fmt: skip


def unusual(
    gathered: Gathered, columns: Sequence[Column], limits: Mapping[str, Any], seed: int
) -> list[outliers.Finding]:
    """Outliers of a cohort; none below ``limits["fewest"]`` subjects."""
    import numpy as np

    if gathered.subjects < int(limits["fewest"]) or not columns:
        return []
    entries = [column.number.measure for column in columns]
    ways = [entry.direction if entry else "none" for entry in entries]
    table = np.column_stack([column.values for column in columns])
    return outliers.find(table, ways, limits, seed)
