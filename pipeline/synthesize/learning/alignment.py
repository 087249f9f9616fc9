"""Whether two contrasts of a case lie on each other: what is grossly misaligned is not learned."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import VoxelwayError

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

#: Shifts that must not make the contrasts fit better, mm.
SHIFT = 12.0
#: How much more mutual information a shift may give, share.
TOLERANCE = 1.05
#: Least share of the brain that a contrast's field of view must cover.
COVERED = 0.3
BINS = 24


def check(first: Floats, second: Floats, mask: Bools, spacing: float, where: str) -> None:
    """Refuse a pair whose mutual information grows when one of the two is moved by 12 mm.

    Args:
        first, second: (Z, Y, X), zero where nothing was acquired.
        mask: brain.
        spacing: mm.
        where: the case and its contrasts.

    Raises:
        VoxelwayError: E-OVERLAP.
    """
    both = mask & (first != 0) & (second != 0)
    share = both.sum() / max(int(mask.sum()), 1)
    hint = "Align the contrasts of a case (voxelway preprocess does), or hold the case out"
    if share < COVERED:
        what = f"Both contrasts cover {100 * share:.0f} % of the brain"
        raise VoxelwayError("E-OVERLAP", what, where=where, hint=hint)
    here = information(first[both], second[both])
    step = max(1, round(SHIFT / spacing))
    for axis, sign in itertools.product(range(3), (-1, 1)):
        moved = np.roll(second, sign * step, axis)
        there = mask & (first != 0) & (moved != 0)
        if there.sum() < 0.5 * both.sum():
            continue
        found = information(first[there], moved[there])
        if found > TOLERANCE * here + 0.005:
            what = f"The contrasts fit better {SHIFT:g} mm apart ({found:.3f} to {here:.3f} nats)"
            raise VoxelwayError("E-OVERLAP", what, where=where, hint=hint)


def information(a: Floats, b: Floats) -> float:
    """Mutual information of two samples in nats, by a histogram of equally filled bins."""
    counts, _, _ = np.histogram2d(_ranks(a), _ranks(b), bins=BINS)
    joint = counts / counts.sum()
    apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    filled = joint > 0
    return float((joint[filled] * np.log(joint[filled] / apart[filled])).sum())


def _ranks(values: Floats) -> Floats:
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.searchsorted(edges, values).astype(np.float32)
