"""Numbers of two runs, row beside row, and what stays without a partner."""

from __future__ import annotations

import csv
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.evaluate import registry
from pipeline.evaluate.table import COLUMNS
from pipeline.paths import STAGES, Results, Unit

#: Labels of BIDS; anything else could name a file outside the results folder.
LABEL = re.compile(r"\A[0-9A-Za-z]+\Z")


@dataclass(frozen=True)
class Key:
    """What a number is of. Numbers in different units are of different things."""

    stage: str
    metric: str
    label: str
    unit: str

    @property
    def order(self) -> tuple[int, str, str, str, str]:
        """Place in the order of the workflow; a stage that is not known comes last."""
        place = STAGES.index(self.stage) if self.stage in STAGES else len(STAGES)
        return (place, self.stage, self.metric, self.label, self.unit)

    @property
    def measure(self) -> registry.Measure | None:
        """Entry of the registry; None for a measure of another version."""
        return registry.MEASURES.get(self.metric)

    @property
    def direction(self) -> registry.Direction:
        """Which way is better."""
        return self.measure.direction if self.measure else "none"

    def quantity(self, value: float) -> float:
        """What is compared: the value, or its size where closer to zero is better."""
        return abs(value) if self.direction == "zero" else value


@dataclass(frozen=True)
class Case:
    """One session's number in both runs."""

    unit: Unit
    a: float
    b: float


@dataclass
class Group:
    """All numbers of one kind.

    Attributes:
        key: the kind.
        cases: sessions that both runs have, sorted.
        only_a: sessions that only run A has a finite number for, sorted.
        only_b: the same of run B.
    """

    key: Key
    cases: list[Case] = field(default_factory=list)
    only_a: list[Unit] = field(default_factory=list)
    only_b: list[Unit] = field(default_factory=list)

    def subjects(self) -> dict[str, tuple[float, float]]:
        """Subject → means over the sessions of the compared quantity in A and in B.

        Sessions of one subject are alike, so that only subjects count as cases.
        """
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for case in self.cases:
            pair = (self.key.quantity(case.a), self.key.quantity(case.b))
            found[case.unit.subject].append(pair)
        return {
            name: (_mean([a for a, _ in pairs]), _mean([b for _, b in pairs]))
            for name, pairs in sorted(found.items())
        }


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


Numbers = Mapping[Key, Mapping[Unit, float]]


def read(results: Results) -> Numbers:
    """Finite numbers of a run.

    Raises:
        VoxelwayError: E-COMPARE-METRICS when there is no table of numbers; E-FILE-READ when it
            lacks a column, has a short line or a row twice, or can't be read.
    """
    path = results.metrics
    if not path.is_file():
        what = "The results folder has no evaluate/metrics.tsv"
        hint = "Let the run end, or run `voxelway report --cohort` on it"
        raise VoxelwayError("E-COMPARE-METRICS", what, where=str(results.root), hint=hint)
    try:
        rows = files.read_tsv(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise VoxelwayError("E-FILE-READ", "It is no table of text", where=str(path)) from error
    found: dict[Key, dict[Unit, float]] = defaultdict(dict)
    for line, row in enumerate(rows, 2):
        where = f"{path}, line {line}"
        lacking = [name for name in COLUMNS if not isinstance(row.get(name), str)]
        if lacking:
            raise VoxelwayError("E-FILE-READ", f"Lacks {', '.join(lacking)}", where=where)
        key = Key(row["stage"], row["metric"], row["label"], row["unit"])
        unit = Unit(row["subject"], row["session"])
        if not LABEL.match(unit.subject) or not LABEL.match(unit.session):
            raise VoxelwayError("E-FILE-READ", "Subject or session is no BIDS label", where=where)
        if unit in found[key]:
            what = f"{row['stage']} {row['metric']} of {unit.name} stands there twice"
            raise VoxelwayError("E-FILE-READ", what, where=where)
        found[key][unit] = _number(row["value"])
    return {
        key: {unit: value for unit, value in values.items() if math.isfinite(value)}
        for key, values in found.items()
    }


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def pair(a: Numbers, b: Numbers) -> list[Group]:
    """Groups in the order of the workflow, also those where nothing pairs."""
    groups = []
    for key in sorted({*a, *b}, key=lambda key: key.order):
        left, right = a.get(key, {}), b.get(key, {})
        both = sorted(left.keys() & right.keys())
        groups.append(
            Group(
                key,
                [Case(unit, left[unit], right[unit]) for unit in both],
                sorted(left.keys() - right.keys()),
                sorted(right.keys() - left.keys()),
            )
        )
    return groups
