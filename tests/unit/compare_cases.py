"""Results folders with nothing but numbers, for the tests of compare."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipeline import files
from pipeline.evaluate.table import COLUMNS
from pipeline.paths import Results

#: subject, session, stage, metric, label, value
Number = tuple[str, str, str, str, str, float | str]


def write(root: Path, numbers: Iterable[Number], unit: str = "") -> Results:
    """A results folder with these numbers."""
    rows = [dict(zip(COLUMNS, (*number, None, unit), strict=True)) for number in numbers]
    results = Results(root)
    files.write_tsv(results.metrics, COLUMNS, rows)
    return results


def dice(values: Iterable[float], label: str = "GM", session: str = "01") -> list[Number]:
    """Dice of one label, a subject a value."""
    return [(f"s{n:03d}", session, "segment", "dice", label, v) for n, v in enumerate(values)]


def sidecar(results: Results, subject: str, stage: str, **content: object) -> None:
    """A sidecar of one image of a stage."""
    folder = results.derivatives(stage) / f"sub-{subject}" / "ses-01" / "anat"
    whole = {"GeneratedBy": {"Version": "1"}, "Parameters": {}, **content}
    files.write_json(folder / f"sub-{subject}_ses-01_x.json", whole)
