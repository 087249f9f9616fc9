"""Segment: tissues and lesions by classical methods, or structures by a learned cascade."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import files, labels
from pipeline.methods import create
from pipeline.segment import heads, tissues
from pipeline.segment.case import HeadMethod, Method, Output
from pipeline.task import Task, UnitTask

NAME = "segment"
REQUIRES = ("superres", "register")
OVERLAP = True
UNITS = "share of the maximum"


@dataclass(frozen=True)
class Prepared:
    """Parameters and the method."""

    params: Mapping[str, Any]
    method: Method | HeadMethod


def prepare(params: Mapping[str, Any], model: Path | None) -> Prepared:
    """Make the method ready, once for all units."""
    return Prepared(params, create(NAME, str(params["method"]), params, model))


def run_unit(task: UnitTask, prepared: Prepared) -> None:
    """Segment one unit on its common grid."""
    anchor, method = task.anchor(), prepared.method
    if isinstance(method, HeadMethod):
        output = heads.of_unit(task, anchor, method, prepared.params)
    else:
        output = tissues.of_unit(task, anchor, method, prepared.params)
    _write(task, anchor, output)
    for text in output.warnings:
        task.warn(text)


def _write(task: UnitTask, anchor: str, output: Output) -> None:
    place, unit, facts = task.results, task.unit, output.facts

    def path(suffix: str, desc: str = "", extension: str = ".nii.gz") -> Path:
        return place.image(NAME, unit, suffix, desc=desc, space=anchor, extension=extension)

    table = path("dseg", extension=".tsv")
    labels.write_table(output.table, table)
    # it shares its sidecar's name with the labels, so that it is counted here
    task.count(table)
    task.write(output.coarse, path("dseg", "coarse"), **facts, Level="coarse")
    task.write(output.labels, path("dseg"), **facts, Level="fine")
    task.write(output.entropy, path("entropy", "entropy"), **facts, Units=UNITS)
    numbers = path("volumes", extension=".tsv")
    files.write_tsv(numbers, output.columns, output.volumes)
    task.describe(numbers, **facts)


def run_file(task: Task, prepared: Prepared, row: Mapping[str, Any]) -> None:
    """One image: IN OUT [--uncertainty OUT] [--volumes OUT.tsv]; labels are on the grid of IN.

    The names of the labels stand beside OUT, in a dseg.tsv.
    """
    source, target, method = Path(row["input"]), Path(row["output"]), prepared.method
    if isinstance(method, HeadMethod):
        output = heads.of_file(task, source, method)
    else:
        output = tissues.of_file(task, source, method, prepared.params)
    task.write(output.labels, target, **output.facts)
    name = target.name.removesuffix(".gz").removesuffix(".nii")
    names = target.with_name(f"{name}.tsv")
    labels.write_table(output.table, names)
    task.count(names)
    if row.get("uncertainty"):
        task.write(output.entropy, Path(row["uncertainty"]), **output.facts, Units=UNITS)
    if row.get("volumes"):
        numbers = Path(row["volumes"])
        files.write_tsv(numbers, output.columns, output.volumes)
        task.describe(numbers, **output.facts)
    for text in output.warnings:
        task.warn(text)
