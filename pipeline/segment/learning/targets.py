"""Labels of a case as the output channels of a level, on the level's grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from pipeline import images
from pipeline.segment.cascade import volume
from pipeline.segment.cascade.plan import Level

Labels = NDArray[np.int64]
#: Edge of a voxel above which it takes the class that has most of it, mm.
LARGE = 2.5


def channels(
    level: Level,
    learned: NDArray[np.int64],
    highest: int,
    labels: Callable[[sitk.Image], Labels],
    grid: sitk.Image,
) -> Labels:
    """Output channels of a level on a grid, (Z, Y, X).

    A voxel that is much larger than those of the maps takes the class that has most of it: the one
    at its centre is a matter of chance where structures are thin. Regions share all that is
    learned: what no class names, as fluid in sulci, belongs to the nearest.

    Args:
        level: whose classes are asked.
        learned: labels of the plan.
        highest: largest label.
        labels: gives those of a grid, (Z, Y, X).
        grid: of the level, or a part of it.
    """
    table = volume.table(level.classes, highest)
    if level.regions:
        table[np.setdiff1d(learned, level.labels)] = level.channels
    if min(grid.GetSpacing()) <= LARGE:
        found = np.asarray(table[labels(grid)])
    else:
        half = [value / 2 for value in grid.GetSpacing()]
        fine = table[labels(images.spaced_grid(grid, (half[0], half[1], half[2])))]
        found = most_of(fine, level.channels + 1)
    return shared(found, level.channels, grid.GetSpacing()) if level.regions else found


def most_of(found: Labels, count: int) -> Labels:
    """The channel that most of each 2 x 2 x 2 block has; of equal ones the first."""
    counts = []
    for channel in range(count):
        own = (found == channel).view(np.uint8)
        for axis in range(3):
            even, odd = ([slice(None)] * 3 for _ in range(2))
            even[axis], odd[axis] = slice(0, None, 2), slice(1, None, 2)
            own = own[tuple(even)] + own[tuple(odd)]
        counts.append(own)
    return np.asarray(np.argmax(counts, axis=0), dtype=np.int64)


def shared(found: Labels, rest: int, spacing: Sequence[float]) -> Labels:
    """Voxels of the channel ``rest`` as of the nearest class; background where there is none.

    Args:
        found: (Z, Y, X).
        rest: channel of what no class names.
        spacing: mm, x first.
    """
    named = (found > 0) & (found < rest)
    if not named.any():
        return np.where(found == rest, 0, found)
    where = ndimage.distance_transform_edt(
        ~named, sampling=tuple(spacing)[::-1], return_distances=False, return_indices=True
    )
    return np.asarray(np.where(found == rest, found[tuple(where)], found))
