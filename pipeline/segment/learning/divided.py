"""Which plane divides two labels of the training cases, as ``levels[].planes`` asks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline.errors import VoxelwayError
from pipeline.segment.cascade import volume
from pipeline.segment.cascade.plan import Plane
from pipeline.segment.learning.cases import Case

Line = NDArray[np.float64]
AXES = "xyz"
#: Share of both labels' voxels in slices that show both, up to which a plane divides them.
MIXED = 0.01
#: Share of the cases that have the labels in the same order, at least.
AGREED = 0.95


def plane(pair: Sequence[int], cases: Sequence[Case]) -> Plane:
    """The axis across which a plane divides two labels, and which one comes first.

    Args:
        pair: two labels.
        cases: of the training.

    Raises:
        VoxelwayError: E-TRAIN-DATA when no plane across an axis of the images divides them, their
            order differs, or no case has both.
    """
    first, second = (int(label) for label in pair)
    told = [_slices(case.labels, first, second) for case in cases]
    found = [one for one in told if one is not None]
    if not found:
        raise _refused(first, second, "no case has both")
    mixed, order = (np.stack([one[n] for one in found]) for n in (0, 1))
    axis = int(mixed.mean(axis=0).argmin())
    share, before = float(mixed[:, axis].mean()), float((order[:, axis] > 0).mean())
    if share > MIXED:
        why = f"{100 * share:.1f} % of their voxels are in slices across {AXES[axis]} with both"
        raise _refused(first, second, why)
    if max(before, 1 - before) < AGREED:
        why = f"in {100 * before:.0f} % of the cases {first} comes first along {AXES[axis]}"
        raise _refused(first, second, why)
    lower, upper = (first, second) if before > 0.5 else (second, first)
    return Plane(lower, upper, axis)


def _slices(labels: sitk.Image, first: int, second: int) -> tuple[Line, Line] | None:
    """Along x, y and z: the share of voxels in slices with both, and how far apart they are."""
    values = sitk.GetArrayFromImage(volume.canonical(labels))
    mixed, apart = np.zeros(3), np.zeros(3)
    for axis in range(3):
        others = tuple(other for other in range(3) if other != 2 - axis)
        one, two = ((values == label).sum(axis=others) for label in (first, second))
        if not one.any() or not two.any():
            return None
        mixed[axis] = 2.0 * np.minimum(one, two).sum() / (one.sum() + two.sum())
        places = np.arange(len(one))
        apart[axis] = places @ two / two.sum() - places @ one / one.sum()
    return mixed, apart


def _refused(first: int, second: int, why: str) -> VoxelwayError:
    what = f"No plane divides the labels {first} and {second}: {why}"
    hint = "Take them out of segment.learning.levels[].planes"
    return VoxelwayError("E-TRAIN-DATA", what, hint=hint)
