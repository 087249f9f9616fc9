"""`voxelway status RESULTS --efficiency`: what jobs asked for against what they used, by stage."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import VoxelwayError
from pipeline.paths import STAGES, Results, Unit
from pipeline.watch import used
from workflow.lib import cohort, resources

COLUMNS = ("stage", "jobs", "MB asked", "MB used", "MB most", "of asked", "min asked", "min used",
           "min most", "of asked")  # fmt: skip


@dataclass(frozen=True)
class Job:
    """Memory in MB and time in minutes of one job: asked for at the first attempt, and used."""

    asked_mb: float
    used_mb: float
    asked_minutes: float
    used_minutes: float


def jobs(results: Results, known: cohort.Cohort, stage: str) -> list[Job]:
    """The jobs of a stage that were measured, and whose units the manifest still has."""
    found = []
    for name, (seconds, peak) in sorted(used(results, stage).items()):
        voxels = [known.isotropic_voxels(unit) for unit in _members(known, name)]
        if voxels:
            asked = resources.memory_mb(stage, max(voxels), 1)
            minutes = resources.minutes(stage, voxels, 1)
            found.append(Job(asked, peak, minutes, seconds / 60))
    return found


def _members(known: cohort.Cohort, name: str) -> Sequence[Unit]:
    if name.startswith("sub-"):
        unit = Unit.parse(name)
        return [unit] if unit in known.rows else []
    return known.members(name, int(name.rpartition("of")[2]))


def print_table(root: Path) -> int:
    """Print one line a stage: medians, and the job that came closest to its limit.

    Raises:
        VoxelwayError: E-MANIFEST without an index.
    """
    results = Results(root)
    if not results.manifest.is_file():
        hint = "Run the workflow, or `voxelway index` first"
        raise VoxelwayError("E-MANIFEST", "There is no manifest.tsv", where=str(root), hint=hint)
    known = cohort.load(results.manifest)
    print("\t".join(COLUMNS))
    for stage in STAGES:
        measured = jobs(results, known, stage)
        if measured:
            print("\t".join(_cells(stage, measured)))
    print("used: median; most: the largest; of asked: the job that came closest to what it asked")
    return 0


def _cells(stage: str, measured: Sequence[Job]) -> list[str]:
    cells = [stage, str(len(measured))]
    for form, asked, taken in (
        ("{:.0f}", [job.asked_mb for job in measured], [job.used_mb for job in measured]),
        ("{:.1f}", [job.asked_minutes for job in measured], [job.used_minutes for job in measured]),
    ):
        share = max(one / limit for one, limit in zip(taken, asked, strict=True))
        numbers = (statistics.median(asked), statistics.median(taken), max(taken))
        cells += [form.format(number) for number in numbers] + [f"{share:.0%}"]
    return cells
