"""Evaluate: every number of a unit, against a reference where there is one.

It runs for every unit, whatever became of the earlier stages, and judges what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import status
from pipeline.errors import Exit, VoxelwayError
from pipeline.evaluate import of_images, of_labels, of_quality, of_registration, pair
from pipeline.evaluate.case import Case
from pipeline.evaluate.registry import measure
from pipeline.evaluate.table import Table
from pipeline.evaluate.truth import Participant, find_truth, read_participants
from pipeline.task import Task, UnitTask

NAME = "evaluate"
REQUIRES: tuple[str, ...] = ()

#: What judges which stage; its parts run when it ended well.
PARTS: dict[str, tuple[Callable[[Case], None], ...]] = {
    "ingest": (of_quality.ingest,),
    "preprocess": (of_quality.preprocess, of_labels.brain, of_registration.alignment),
    "denoise": (of_quality.denoise, of_images.denoise),
    "superres": (of_images.superres,),
    "register": (of_registration.register,),
    "synthesize": (of_images.synthesize,),
    "segment": (of_labels.segment,),
}


@dataclass(frozen=True)
class Prepared:
    """Parameters, and the participants of the truth folder (none without one)."""

    params: Mapping[str, Any]
    participants: tuple[Participant, ...]


def prepare(params: Mapping[str, Any], model: Path | None) -> Prepared:
    """Read the list of participants of the truth folder.

    Raises:
        VoxelwayError: E-CONFIG-PATH or E-TRUTH when ``truth`` is set and can't be used.
    """
    root = params["truth"]
    return Prepared(params, tuple(read_participants(Path(root))) if root else ())


def run_unit(task: UnitTask, prepared: Prepared) -> None:
    """Judge every stage of one unit, write its table.

    A part whose files can't be used leaves the others alone: the table holds what could be judged,
    and then the unit fails with the first refusal.
    """
    table = Table(task.unit)
    _add_seconds(task, table)
    refusals: list[VoxelwayError] = []
    case = Case(task, None, table)
    try:
        case.truth = find_truth(prepared.participants, task.results, task.unit.subject)
    except VoxelwayError as error:
        _keep(error, refusals)
    for stage in PARTS:
        if case.ok(stage):
            _judge(case, stage, refusals)
    path = task.results.unit_metrics(task.unit)
    table.write(path)
    names = sorted({row["metric"] for row in table.rows})
    units = {name: measure(name).unit for name in names}
    task.describe(path, Truth=case.truth is not None, Units=units, **case.notes)
    if refusals:
        raise refusals[0]


def _judge(case: Case, stage: str, refusals: list[VoxelwayError]) -> None:
    for part in PARTS[stage]:
        try:
            part(case)
        except VoxelwayError as error:
            _keep(error, refusals)
    case.forget()


def _keep(error: VoxelwayError, refusals: list[VoxelwayError]) -> None:
    """Go on after a refused input; a failure of the outside ends the call."""
    if error.exit == Exit.OUTSIDE:
        raise error
    refusals.append(error)


def _add_seconds(task: UnitTask, table: Table) -> None:
    for stage in measure("seconds").stages:
        found = status.read(task.results, task.unit, stage)
        if found is not None and found.status == "ok":
            table.add(stage, "seconds", "", found.seconds)


def run_file(task: Task, prepared: Prepared, row: Mapping[str, Any]) -> None:
    """One pair: PREDICTED REFERENCE OUT.json [--labels dseg.tsv]."""
    pair.evaluate_pair(task, row, prepared.params)
