"""What a network is told of the acquisition, for each voxel along the slices' normal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Largest factor: lengths are told as shares of it.
LARGEST = 6.0


def describe(
    count: int, first: float, spacings: tuple[float, float, float], thickness: float
) -> NDArray[np.float32]:
    """(6, count): where each voxel lies between the slices, and how coarse the acquisition was.

    Args:
        count: voxels along the normal.
        first: middle of the first slice, in voxels.
        spacings: distance of the acquired samples along the normal and along the two other axes,
            in voxels.
        thickness: of the slices, in voxels.
    """
    phase = 2.0 * np.pi * (np.arange(count) - first) / spacings[0]
    # without coarser slices there is nothing between them
    rows = [np.cos(phase), np.sin(phase)] if spacings[0] > 1 else [np.ones(count), np.zeros(count)]
    for length in (spacings[0], thickness, spacings[1], spacings[2]):
        rows.append(np.full(count, length / LARGEST))
    return np.stack(rows).astype(np.float32)
