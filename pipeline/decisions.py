"""What people decided at the QC pages: subjects to leave out, stages to run again.

The rating form exports a table (columns :data:`COLUMNS`); ``qc_decisions`` in the configuration
names it, or a folder of such tables from several raters. The workflow keeps the rows that count in
the results folder, where every stage reads them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.paths import STAGES, Results, Unit

COLUMNS = ("subject", "session", "stage", "rating", "comment", "rater", "date")
RATINGS = ("pass", "fail", "exclude", "rerun")
#: Where a decision on the whole subject begins: its images stay converted.
FIRST = "preprocess"
#: A subject that fails as a whole is left out.
OUT = ("", "fail")

_LABEL = re.compile(r"[0-9A-Za-z]+")
_HINT = f"Columns: {', '.join(COLUMNS)}; rating is one of {', '.join(RATINGS)}"


@dataclass(frozen=True)
class Decision:
    """One row.

    Attributes:
        subject: pseudonym, without ``sub-``.
        session: without ``ses-``.
        stage: the stage judged; empty for the subject as a whole.
        rating: ``pass``; ``fail``: what the stage made is not used, nor what rests on it;
            ``exclude``: the whole subject is left out; ``rerun``: the stage runs once more.
        comment: for people; may hold anything.
        rater: who decided.
        date: when, ISO 8601; of two rows on one thing the later counts.
    """

    subject: str
    session: str
    stage: str
    rating: str
    comment: str
    rater: str
    date: str

    @property
    def unit(self) -> Unit:
        """The session judged."""
        return Unit(self.subject, self.session)


class Decisions:
    """The decisions that count, by session and stage."""

    def __init__(self, rows: Iterable[Decision] = ()) -> None:
        self.rows: dict[tuple[Unit, str], Decision] = {}
        for row in rows:
            known = self.rows.get((row.unit, row.stage))
            if known is None or row.date >= known.date:
                self.rows[row.unit, row.stage] = row

    def against(self, unit: Unit, stage: str) -> Decision | None:
        """The decision that stops a stage of a session at this very stage, if any."""
        own = self.rows.get((unit, stage))
        if own is not None and own.rating == "fail":
            return own
        if stage != FIRST:
            return None
        whole = [row for name in ("", *STAGES) if (row := self.rows.get((unit, name))) is not None]
        out = [row for row in whole if row.rating == "exclude" or (row.stage, row.rating) == OUT]
        return out[0] if out else None

    def mark(self, unit: Unit, stage: str) -> str:
        """Changes when this stage has to run again because of a decision; else empty."""
        acting = [self.against(unit, stage)]
        named = self.rows.get((unit, stage))
        if stage == FIRST and named is None:
            named = self.rows.get((unit, ""))
        if named is not None and named.rating == "rerun":
            acting.append(named)
        text = " ".join(f"{row.rating} {row.date}" for row in acting if row is not None)
        return hashlib.sha256(text.encode()).hexdigest()[:12] if text else ""


def read(path: Path) -> list[Decision]:
    """Rows of a table, or of all ``*.tsv`` of a folder.

    Raises:
        VoxelwayError: E-CONFIG-PATH without a table, E-QC-DECISIONS for one that can't be used.
    """
    tables = sorted(path.glob("*.tsv")) if path.is_dir() else [path]
    if not tables or not all(table.is_file() for table in tables):
        hint = "The rating form of a QC page exports it"
        raise VoxelwayError("E-CONFIG-PATH", f"qc_decisions: no table {path}", hint=hint)
    return [row for table in tables for row in _rows(table)]


def _rows(table: Path) -> list[Decision]:
    found = []
    for number, row in enumerate(files.read_tsv(table), start=2):
        missing = set(COLUMNS) - set(row)
        if missing:
            what = f"The table lacks {', '.join(sorted(missing))}"
            raise VoxelwayError("E-QC-DECISIONS", what, where=str(table), hint=_HINT)
        found.append(_checked(row, f"{table}, line {number}"))
    return found


def _checked(row: Mapping[str, str], where: str) -> Decision:
    values = {name: (row[name] or "").strip() for name in COLUMNS}
    values["subject"] = values["subject"].removeprefix("sub-")
    values["session"] = values["session"].removeprefix("ses-")
    wrong = [name for name in ("subject", "session") if not _LABEL.fullmatch(values[name])]
    if values["stage"] not in ("", *STAGES):
        wrong.append("stage")
    if values["rating"] not in RATINGS:
        wrong.append("rating")
    if wrong:
        told = ", ".join(f"{name} {values[name]!r}" for name in dict.fromkeys(wrong))
        raise VoxelwayError("E-QC-DECISIONS", f"Not known: {told}", where=where, hint=_HINT)
    return Decision(**values)


def adopt(path: str, results: Results) -> None:
    """Keep in the results folder what a table or a folder decides; an empty path takes all back."""
    rows: Sequence[Decision] = read(Path(path)) if path else ()
    kept = Decisions(rows).rows
    if not kept:
        results.decisions.unlink(missing_ok=True)
        return
    ordered = [asdict(kept[key]) for key in sorted(kept)]
    before = files.read_tsv(results.decisions) if results.decisions.is_file() else None
    if before != ordered:
        files.write_tsv(results.decisions, COLUMNS, ordered)


def of(results: Results) -> Decisions:
    """The decisions that the results folder keeps."""
    if not results.decisions.is_file():
        return Decisions()
    return Decisions(read(results.decisions))
