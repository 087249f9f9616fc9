"""Filters of bounded reach over an image slab by slab, one a thread."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline import threads

#: Voxels that a thread filters at a time, however many threads there are: roundings do not depend
#: on their number.
SLAB = 500_000
Volume = NDArray[np.float32]


def filtered(values: Volume, work: Callable[[Volume], Volume], reach: int) -> Volume:
    """What ``work`` makes of the whole, with the memory that a few slabs need.

    Args:
        values: (Z, Y, X), or several images along a first axis.
        work: those → one result, or several along a first axis, on the same grid.
        reach: planes on either side that a plane of the result depends on.
    """
    # what the overlap costs has a limit, too
    count, least = values.shape[-3], 5 * reach
    slabs = threads.portions(count, SLAB // max(1, values[..., 0, :, :].size), least)

    def one(slab: slice) -> Volume:
        low, high = max(0, slab.start - reach), min(count, slab.stop + reach)
        inner = slice(slab.start - low, slab.stop - low)
        return work(values[..., low:high, :, :])[..., inner, :, :]

    return np.concatenate(list(threads.map_torch(one, slabs)), axis=-3)
