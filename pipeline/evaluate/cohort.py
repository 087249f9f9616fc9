"""The cohort's table: every unit's numbers, one under the other."""

from __future__ import annotations

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.evaluate.table import COLUMNS, order
from pipeline.paths import Results


def write_cohort_metrics(results: Results) -> int:
    """Write evaluate/metrics.tsv from the tables of all units.

    Returns:
        The number of rows.

    Raises:
        VoxelwayError: E-FILE-READ when a unit's table lacks a column.
    """
    folder = results.derivatives("evaluate")
    rows: list[dict[str, str]] = []
    for path in sorted(folder.glob("sub-*/ses-*/*_metrics.tsv")):
        table = files.read_tsv(path)
        if table and set(COLUMNS) - set(table[0]):
            lacking = ", ".join(sorted(set(COLUMNS) - set(table[0])))
            hint = "Run evaluate of this session again"
            raise VoxelwayError("E-FILE-READ", f"Lacks {lacking}", where=str(path), hint=hint)
        rows.extend(table)
    files.write_tsv(results.metrics, COLUMNS, sorted(rows, key=order))
    return len(rows)
