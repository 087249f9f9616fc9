"""Numbers of one unit as the pages show them: the table's text, titles, direction, cohort key."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.evaluate import registry

#: Families of measures that need a reference, and single ones of other families that do.
REFERENCE_FAMILIES = frozenset({"overlap", "surface", "detection", "similarity"})
REFERENCE_MEASURES = frozenset({"tre", "tre_p95", "rigid_error"})
#: Measures of those families that compare with the template or the acquisition instead.
WITHOUT_REFERENCE = frozenset({"ncc"})

ARROWS = {"higher": "higher is better", "lower": "lower is better",
          "zero": "closer to zero is better", "none": ""}  # fmt: skip


@dataclass(frozen=True)
class Number:
    """One row of a unit's table of numbers.

    ``value`` and ``baseline`` are the texts of the table, so that a page shows what it holds.
    """

    stage: str
    metric: str
    label: str
    value: str
    baseline: str
    unit: str

    @property
    def key(self) -> str:
        """Name of this number in the cohort's ranges."""
        return f"{self.stage}.{self.metric}.{self.label}"

    @property
    def measure(self) -> registry.Measure | None:
        """Entry of the registry, None for a measure of an older version."""
        return registry.MEASURES.get(self.metric)

    @property
    def title(self) -> str:
        """Name of the measure for people."""
        return self.measure.title if self.measure else self.metric.replace("_", " ")

    @property
    def definition(self) -> str:
        """What the measure is, with the way that is better."""
        if not self.measure:
            return ""
        better = ARROWS[self.measure.direction]
        return self.measure.definition + (f" ({better})" if better else "")

    @property
    def against_reference(self) -> bool:
        """Whether the number needs a reference, which routine data do not have."""
        family = self.measure.family if self.measure else ""
        known = family in REFERENCE_FAMILIES and self.metric not in WITHOUT_REFERENCE
        return known or self.metric in REFERENCE_MEASURES

    @property
    def amount(self) -> float:
        """The value as a number; NaN when the field is no number."""
        return _float(self.value)

    @property
    def change(self) -> str:
        """``better``, ``worse`` or nothing, beside the value before the stage."""
        before = _float(self.baseline)
        if not self.measure or math.isnan(before) or math.isnan(self.amount):
            return ""
        improved = registry.improved(self.metric, self.amount, before)
        return "" if improved is None else "better" if improved else "worse"


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def short(text: str) -> str:
    """A number with at most four significant digits; other text as it is."""
    value = _float(text)
    if math.isnan(value):
        return text
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    digits = max(0, 3 - math.floor(math.log10(abs(value)))) if abs(value) >= 1e-3 else None
    return f"{value:.2g}" if digits is None else f"{value:.{min(digits, 4)}f}"


def read(path: Path) -> list[Number]:
    """Numbers of one unit or of the cohort; none when the table does not stand yet.

    Raises:
        VoxelwayError: E-FILE-READ when a column is missing.
    """
    if not path.is_file():
        return []
    rows = files.read_tsv(path)
    try:
        return [
            Number(row["stage"], row["metric"], row["label"], row["value"], row["baseline"],
                   row["unit"])
            for row in rows
        ]  # fmt: skip
    except KeyError as error:
        raise VoxelwayError("E-FILE-READ", f"Lacks the column {error}", where=str(path)) from error


def thinned(ordered: Sequence[float], most: int) -> list[float]:
    """At most ``most`` evenly spaced values of an ascending list, with both ends."""
    if len(ordered) <= most:
        return list(ordered)
    last = len(ordered) - 1
    return [ordered[round(place * last / (most - 1))] for place in range(most)]


def values(numbers: Iterable[Number]) -> dict[str, float]:
    """Value of every number of a unit by its key."""
    return {number.key: number.amount for number in numbers}


def headline(numbers: Sequence[Number], stage: str, metrics: Sequence[str]) -> list[Number]:
    """Numbers of a stage that its section shows, in the order of ``metrics``."""
    rank: Mapping[str, int] = {name: place for place, name in enumerate(metrics)}
    chosen = [n for n in numbers if n.stage == stage and n.metric in rank]
    return sorted(chosen, key=lambda n: rank[n.metric])
