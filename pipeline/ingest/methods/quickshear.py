"""Defacing by a plane below the brain: everything in front of and under it is removed.

Schimke and Hale 2011, "Quickshear defacing for neuroimages", USENIX HealthSec. There, and in the
package of that name, the plane follows the first edge of the convex hull of the brain's profile.
On a mask of voxels that edge is a few millimetres long and may stand nearly upright, which leaves
the nose. Here the plane has the slope from the frontal pole to the lowest point of the brain, and
touches the hull from below, so that it can't cut the brain however the mask is shaped. It lies in
space and not on a lattice, so that it serves all contrasts of a session.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.ingest.deface import Defacer, Head, Removed

LEARNED = False
#: Degrees below the horizon between which the plane falls towards the back.
FLAT, STEEP = 20.0, 65.0


def create(params: Mapping[str, Any], model: Path | None) -> Defacer:
    """Ready for any number of sessions; the margin is ``deface.margin``, mm below the brain."""
    margin = float(params["deface"]["margin"])

    def removed(head: Head, image: sitk.Image, to_head: sitk.Transform) -> Removed:
        normal, offset = moved(*shear_plane(head.brain, margin), to_head)
        facts = {"DefacePlaneLPS": [round(float(value), 4) for value in (*normal, offset)]}
        return Removed(below(image, normal, offset), facts)

    return Defacer(params, removed)


def shear_plane(brain: sitk.Image, margin: float) -> tuple[NDArray[np.float64], float]:
    """The plane: points p in LPS mm with ``normal @ p < offset`` are removed.

    Args:
        brain: mask that is not empty.
        margin: distance from the brain, in mm, between plane and outermost voxel.

    Returns:
        unit normal (3,) that points into the brain, offset in mm.
    """
    points = _points(brain)
    forward, up = -points[:, 1], points[:, 2]
    pole, lowest = int(np.argmax(forward)), int(np.argmin(up))
    fall = math.degrees(math.atan2(up[pole] - up[lowest], forward[pole] - forward[lowest]))
    angle = math.radians(min(max(fall, FLAT), STEEP))
    normal = np.array([0.0, math.sin(angle), math.cos(angle)])
    # the corners of the voxels stand out from their centres
    corner = 0.5 * float(np.linalg.norm(brain.GetSpacing()))
    return normal, float((points @ normal).min()) - margin - corner


def _points(brain: sitk.Image) -> NDArray[np.float64]:
    """Centres of the voxels of a mask, (n, 3), LPS mm."""
    index = np.argwhere(images.bool_array(brain))[:, ::-1]
    direction = np.reshape(brain.GetDirection(), (3, 3))
    points: NDArray[np.float64] = (index * brain.GetSpacing()) @ direction.T + brain.GetOrigin()
    return points


def moved(
    normal: NDArray[np.float64], offset: float, to_head: sitk.Transform
) -> tuple[NDArray[np.float64], float]:
    """The plane in the space of another image, whose points ``to_head`` maps to the plane's."""
    zero = np.asarray(to_head.TransformPoint((0.0, 0.0, 0.0))) @ normal
    axes = [np.asarray(to_head.TransformPoint(tuple(axis))) @ normal - zero for axis in np.eye(3)]
    return np.asarray(axes), offset - float(zero)


def below(image: sitk.Image, normal: NDArray[np.float64], offset: float) -> NDArray[np.bool_]:
    """Voxels below a plane, (z, y, x); the side of a plane is linear in the index."""
    direction = np.reshape(image.GetDirection(), (3, 3))
    steps = (normal @ direction) * image.GetSpacing()
    start = float(np.asarray(image.GetOrigin()) @ normal) - offset
    x, y, z = (step * np.arange(size) for step, size in zip(steps, image.GetSize(), strict=True))
    side = start + z[:, None, None] + y[None, :, None] + x[None, None, :]
    found: NDArray[np.bool_] = side < 0
    return found
