"""Memory and time that a job asks for, from the size of its images and the attempt.

The factors are peak resident memory a voxel of the common grid, measured on the embedded cohort
(`benchmarks/` of a run), with a margin; a profile's `set-resources` overrides them for a site. The
base holds Snakemake itself as well, which runs twice in a job of a cluster, 140 MB each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Need:
    """Memory in MB = base + bytes_per_voxel * voxels; minutes = base + per million voxels."""

    base_mb: int
    bytes_per_voxel: int
    minutes: float
    minutes_per_megavoxel: float


NEEDS = {
    "ingest": Need(700, 60, 5, 0.5),
    "preprocess": Need(1800, 200, 5, 3),
    "denoise": Need(800, 150, 5, 3),
    "superres": Need(800, 250, 5, 3),
    "register": Need(1200, 400, 10, 10),
    "synthesize": Need(1200, 400, 5, 3),
    "segment": Need(1200, 500, 5, 5),
    "evaluate": Need(800, 200, 5, 2),
    "report": Need(800, 200, 5, 1),
    "export": Need(800, 150, 5, 0.5),
}


def memory_mb(stage: str, voxels: int, attempt: int) -> int:
    """Megabytes for one unit; every further attempt asks for as much again."""
    need = NEEDS[stage]
    return attempt * (need.base_mb + need.bytes_per_voxel * voxels // 1_000_000)


def minutes(stage: str, voxels: Sequence[int], attempt: int) -> int:
    """Minutes for the units of one job; every further attempt asks for as much again."""
    need = NEEDS[stage]
    work = sum(need.minutes_per_megavoxel * one / 1e6 for one in voxels)
    # what is fixed is the start of the process and a slow disk, not work on a unit
    fixed: float = need.minutes * max(1, len(voxels)) ** 0.5
    return attempt * max(1, round(fixed + work))
