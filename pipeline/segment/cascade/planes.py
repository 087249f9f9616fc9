"""Structures that a plane divides: its place is found, not the side of each voxel.

Where raters part two structures at a landmark, as all before one coronal slice is the anterior
hippocampus, a network that judges voxels draws a curved border through several slices. The plane
that agrees best with all of its voxels is closer to what was drawn.
"""

from __future__ import annotations

import numpy as np

from pipeline.segment.cascade.plan import Level
from pipeline.segment.cascade.volume import Floats


def divided(posterior: Floats, level: Level) -> Floats:
    """A posterior with both structures of each plane on their own side of it.

    The larger share of a voxel goes to the structure of its side, the smaller one to the other:
    what is structure at all, and how sure that is, stays.

    Args:
        posterior: (C, Z, Y, X), channel 0 the background; axes nearest to LPS.
        level: whose classes they are.

    Returns:
        A copy; the posterior itself where the level has no planes.
    """
    if not level.planes:
        return posterior
    result = posterior.copy()
    channels = {group[0]: number for number, group in enumerate(level.classes, start=1)}
    for plane in level.planes:
        axis = 2 - plane.axis
        lower, upper = (
            np.moveaxis(result[channels[label]], axis, 0) for label in (plane.lower, plane.upper)
        )
        cut = _cut(lower, upper)
        most, least = np.maximum(lower, upper), np.minimum(lower, upper)
        lower[:cut], upper[:cut] = most[:cut], least[:cut]
        lower[cut:], upper[cut:] = least[cut:], most[cut:]
    return result


def _cut(lower: Floats, upper: Floats) -> int:
    """First index along the first axis of the upper one: where the shares agree best."""
    gain = (lower - upper).sum(axis=(1, 2), dtype=np.float64)
    return int(np.concatenate([[0.0], np.cumsum(gain)]).argmax())
