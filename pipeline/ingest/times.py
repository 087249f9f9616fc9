"""The volumes of a 4D series: slices at the same places, told apart by what their headers say."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from pipeline.ingest.volume import Plane, Volume

#: Slices that lie closer are at the same place (mm).
SAME_PLACE = 0.01
#: Volumes whose corners differ by more were not acquired on one grid (mm).
SAME_CORNER = 0.1


def places(volume: Volume) -> list[list[Plane]]:
    """Slices at the same place together, in the order of the slices; needs a volume's stack."""
    stack = volume.stack
    if stack is None:
        return [[plane] for plane in volume.planes]
    ends = np.flatnonzero(stack.gaps >= SAME_PLACE) + 1
    edges = [0, *ends.tolist(), len(volume.planes)]
    return [list(volume.planes[start:stop]) for start, stop in pairwise(edges)]


def split(volume: Volume) -> list[Volume]:
    """One volume a time point, in the order of time; only the volume itself when it is 3D.

    A series is 4D when every place holds equally many slices and each of them is another object,
    with another instance number or another moment. What was sent twice is not: the numbers and
    moments repeat.
    """
    found = [sorted(group, key=_order) for group in places(volume)]
    count = len(found[0]) if found else 0
    if count < 2 or any(len(group) != count or not distinct(group) for group in found):
        return [volume]
    times = zip(*found, strict=True)
    return [replace(volume, planes=tuple(planes)) for planes in times]


def distinct(planes: list[Plane]) -> bool:
    """Whether slices at one place belong to different volumes, by what their headers tell."""
    objects = {(plane.header.sop_uid, plane.frame.index) for plane in planes}
    numbers = {(plane.header.instance_number, plane.frame.index) for plane in planes}
    moments = {(plane.header.moment, plane.frame.moment) for plane in planes}
    spread = np.ptp([plane.frame.position or (0.0,) * 3 for plane in planes], axis=0).max()
    told = len(objects) == len(planes) == max(len(numbers), len(moments))
    return told and float(spread) < SAME_CORNER


def _order(plane: Plane) -> tuple[int, int, int, str]:
    header, frame = plane.header, plane.frame
    return header.instance_number or 0, frame.moment, frame.index, header.path
