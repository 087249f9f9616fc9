"""From one grid of a cascade to another, and from channels to labels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images, threads
from pipeline.segment.cascade.plan import Level
from pipeline.segment.cascade.volume import Floats

Places = NDArray[np.uint8]
Labels = NDArray[np.uint16]


def linear(values: Floats, own: sitk.Image, target: sitk.Image, outside: float = 0.0) -> Floats:
    """One channel (Z, Y, X) of a grid on another grid of the same space.

    Values go on for one voxel beyond the faces of their grid; further away is ``outside``. On the
    same grid they are what they are, to be changed at will.
    """
    if images.same_grid(own, target):
        return np.array(values, np.float32)
    padded = sitk.ZeroFluxNeumannPad(images.like(values, own), [1, 1, 1], [1, 1, 1])
    resample = sitk.ResampleImageFilter()
    # each voxel by itself: any number of threads gives the same
    resample.SetNumberOfThreads(threads.count())
    resample.SetReferenceImage(target)
    resample.SetInterpolator(sitk.sitkLinear)
    resample.SetDefaultPixelValue(float(outside))
    found: Floats = sitk.GetArrayFromImage(resample.Execute(padded))
    return found


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
