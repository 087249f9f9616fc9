"""The long table of numbers: rows of one unit, checked against the registry."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.evaluate.registry import measure
from pipeline.paths import STAGES, Unit

COLUMNS = ("subject", "session", "stage", "metric", "label", "value", "baseline", "unit")


@dataclass
class Table:
    """Rows of one unit.

    An undefined or infinite value gets no row (a distance to a surface that does not exist is no
    number); an undefined baseline stays empty.
    """

    unit: Unit
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, stage: str, metric: str, label: str, value: float, baseline: float | None = None
    ) -> None:
        """Add one number.

        Args:
            stage: stage that the number judges.
            metric: name in the registry.
            label: contrast suffix, structure, or empty.
            value: the number in the registry's unit.
            baseline: the same measure of the stage's input.
        """
        entry = measure(metric)
        if stage not in STAGES:
            raise KeyError(f"no stage {stage!r}")
        if not math.isfinite(value):
            return
        if baseline is not None and not math.isfinite(baseline):
            baseline = None
        self.rows.append(
            {
                "subject": self.unit.subject,
                "session": self.unit.session,
                "stage": stage,
                "metric": metric,
                "label": label,
                "value": float(value),
                "baseline": None if baseline is None else float(baseline),
                "unit": entry.unit,
            }
        )

    def add_all(
        self,
        stage: str,
        label: str,
        values: Mapping[str, float],
        baselines: Mapping[str, float] | None = None,
        *,
        only: tuple[str, ...] = (),
    ) -> None:
        """Add several measures of one thing, or ``only`` some of them."""
        for metric in only or tuple(values):
            baseline = None if baselines is None else baselines.get(metric)
            self.add(stage, metric, label, values[metric], baseline)

    def write(self, path: Path) -> None:
        """Write the rows, in the order of the stages."""
        files.write_tsv(path, COLUMNS, sorted(self.rows, key=order))


def order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sort key of rows: subject, session, stage of the workflow, metric, label."""
    stage = STAGES.index(row["stage"])
    return (row["subject"], row["session"], stage, row["metric"], row["label"])
