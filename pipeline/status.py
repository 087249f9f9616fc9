"""The one writer and reader of statuses: what became of each subject in each stage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Literal

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.paths import STAGES, Results, Unit

State = Literal["ok", "failed", "skipped"]
COLUMNS = ("subject", "session", "stage", "status", "code", "message", "seconds")


@dataclass(frozen=True)
class Status:
    """Outcome of one stage for one unit.

    ``outputs`` maps paths relative to the results folder to their SHA-256.
    """

    subject: str
    session: str
    stage: str
    status: State
    code: str = ""
    message: str = ""
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)


def write(results: Results, unit: Unit, status: Status) -> None:
    """Write the status of one unit in one stage."""
    files.write_json(results.status(status.stage, unit), asdict(status))


def read(results: Results, unit: Unit, stage: str) -> Status | None:
    """Read a status; None when the stage has not run for this unit."""
    path = results.status(stage, unit)
    return Status(**files.read_json(path)) if path.is_file() else None


def collect(results: Results, units: Iterable[Unit]) -> list[Status]:
    """Statuses of all units in the order of the stages."""
    found = (read(results, unit, stage) for unit in sorted(units) for stage in STAGES)
    return [status for status in found if status is not None]


def blocked_by(results: Results, unit: Unit, stages: Iterable[str]) -> Status | None:
    """The first of the given stages that did not end well for this unit."""
    for stage in stages:
        status = read(results, unit, stage)
        if status is None:
            what = f"The stage {stage} has not run"
            raise VoxelwayError("E-UPSTREAM", what, where=unit.name, hint=f"Run {stage} first")
        if status.status != "ok":
            return status
    return None


def write_table(results: Results, statuses: Iterable[Status]) -> None:
    """Write status.tsv."""
    files.write_tsv(results.status_table, COLUMNS, [asdict(status) for status in statuses])
