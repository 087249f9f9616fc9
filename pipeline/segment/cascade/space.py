"""From one grid of a cascade to another, and from channels to labels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.segment.cascade.lattice import linear
from pipeline.segment.cascade.plan import Level
from pipeline.segment.cascade.volume import Floats

Places = NDArray[np.uint8]
Labels = NDArray[np.uint16]


def stacked(values: Iterable[Floats], own: sitk.Image, target: sitk.Image) -> Floats:
    """Channels (C, Z, Y, X) of a grid on another one."""
    return np.stack([linear(one, own, target) for one in values])


def nearest(mask: NDArray[np.bool_], own: sitk.Image, target: sitk.Image) -> NDArray[np.bool_]:
    """A mask (Z, Y, X) of a grid on another one."""
    return images.bool_array(images.resample(images.like(mask, own), target, labels=True))


def labelled(channels: NDArray[np.integer], level: Level, side: Places | None) -> Labels:
    """Labels of voxels whose channel is known.

    Args:
        channels: 0 for the background, else the number of the class from 1.
        level: with the classes.
        side: place of each voxel in classes of several labels.
    """
    if side is None:
        table = np.asarray([0, *(group[0] for group in level.classes)], np.uint16)
        return np.asarray(table[channels])
    count = max(len(group) for group in level.classes)
    rows = np.zeros((level.channels, count), np.uint16)
    for channel, group in enumerate(level.classes, start=1):
        # a class of one label has it in every place
        rows[channel] = [group[min(place, len(group) - 1)] for place in range(count)]
    return np.asarray(rows[channels, np.minimum(side, count - 1)])
