"""Report: the QC page of one unit, made whatever became of the earlier stages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.report import subject, viewer
from pipeline.report.record import Record
from pipeline.task import UnitTask

NAME = "report"
REQUIRES: tuple[str, ...] = ()


def prepare(params: Mapping[str, Any], model: Path | None) -> Mapping[str, Any]:
    """Nothing to load; the parameters are enough."""
    return params


def run_unit(task: UnitTask, prepared: Mapping[str, Any]) -> None:
    """Write the page, and the viewer's program where it does not stand.

    The page's sidecar holds the verdict and the thumbnail for the cohort page.
    """
    viewer.write_program(task.results)
    page = subject.build(Record(task), prepared)
    path = task.results.page(task.unit)
    files.write_text(path, page.html)
    task.describe(path, **page.summary)
