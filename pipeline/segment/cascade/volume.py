"""Images on a level's grid, scaled: the same for training and for inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.errors import VoxelwayError
from pipeline.segment.cascade import lattice
from pipeline.segment.cascade.plan import Intensity, Level

ORIENTATION = "LPS"
Floats = NDArray[np.float32]
#: Voxels that mean and deviation are taken of, at least.
ENOUGH = 64


@dataclass(frozen=True)
class Scale:
    """``(value - offset) / width``, then clipped to ``limits``."""

    offset: float
    width: float
    limits: tuple[float, float]

    def __call__(self, values: Floats) -> Floats:
        """Scaled values, float32."""
        scaled = (values - np.float32(self.offset)) / np.float32(self.width)
        return np.asarray(np.clip(scaled, *self.limits), dtype=np.float32)


def canonical(image: sitk.Image) -> sitk.Image:
    """The image with its axes turned and flipped to be nearest to LPS; nothing is interpolated."""
    return sitk.DICOMOrient(image, ORIENTATION)


def grid(image: sitk.Image, level: Level) -> sitk.Image:
    """A level's grid over the field of view of an image."""
    return images.spaced_grid(image, level.spacing)


def onto(image: sitk.Image, target: sitk.Image) -> sitk.Image:
    """Linear resampling, after a low-pass filter along the axes that become coarser."""
    old, new = np.asarray(image.GetSpacing()), np.asarray(target.GetSpacing())
    width = np.sqrt(np.maximum(new**2 - old**2, 0.0)) / 2.355
    deviations = np.where(width > 0.3 * old, width / old, 0.0)[::-1]
    values = lattice.linear(images.array(image), image, target, deviations=deviations.tolist())
    return images.like(values, target)


def first_scale(values: Floats, intensity: Intensity, where: str = "") -> Scale:
    """Scale of one channel for the first level.

    Raises:
        VoxelwayError: E-SIGNAL when the intensities do not differ.
    """
    low, high = float(intensity.low), float(intensity.high)
    if intensity.kind == "window":
        return Scale(low, high - low, (0.0, 1.0))
    if intensity.kind == "zscore":
        low, high = float(values.mean()), float(values.mean() + values.std())
        limits = (-5.0, 5.0)
    else:
        inside = values[values > values.min()]
        low, high = (
            (float(v) for v in np.percentile(inside, [low, high])) if inside.size else (0, 0)
        )
        limits = (-0.5, 2.0)
    return _scale(low, high, limits, where)


def next_scale(values: Floats, found: NDArray[np.bool_], first: Scale, kind: str) -> Scale:
    """Scale of one channel for a later level: mean 0, deviation 1 inside what was found before.

    Args:
        values: on the grid of the level before, not scaled.
        found: what that level found, same shape.
        first: kept where too little was found, and with a window.
        kind: of the plan's intensity.
    """
    if kind == "window" or np.count_nonzero(found) < ENOUGH:
        return first
    inside = values[found]
    width = float(inside.std())
    return Scale(float(inside.mean()), width, (-5.0, 5.0)) if width > 0 else first


def _scale(low: float, high: float, limits: tuple[float, float], where: str) -> Scale:
    if not low < high:
        what = f"The intensities run from {low:g} to {high:g}"
        raise VoxelwayError("E-SIGNAL", what, where=where)
    return Scale(low, high - low, limits)


def context(posterior: Floats, before: Level, level: Level) -> Floats:
    """Channels of the input that a level gets from the one before, (K, Z, Y, X)."""
    return posterior[1:] if before.regions else merged(posterior, before, level)


def merged(posterior: Floats, before: Level, level: Level) -> Floats:
    """Posteriors of one level in the classes of the next.

    Args:
        posterior: (C, Z, Y, X), channel 0 the background, of the level ``before``.
        before: the level that gave it.
        level: the level whose classes are asked.

    Returns:
        (K, Z, Y, X), one channel a class of ``level``, without the background's. A class of the
        level before that holds several labels counts for the first class that shares one.
    """
    place = {label: number for number, group in enumerate(before.classes) for label in group}
    result = np.zeros((len(level.classes), *posterior.shape[1:]), np.float32)
    for number, group in enumerate(level.classes):
        for channel in sorted({place[label] for label in group if label in place}):
            result[number] += posterior[channel + 1]
    return result


def sides(
    posterior: Floats, before: Level, level: Level, side: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Which place in the groups each voxel belongs to, (Z, Y, X), by the level before."""
    return np.asarray(places(posterior, before, level, side).argmax(axis=0), dtype=np.uint8)


def places(
    posterior: Floats, before: Level, level: Level, side: NDArray[np.uint8] | None = None
) -> Floats:
    """Posterior of the level before for each place in the groups of a level.

    Args:
        posterior: (C, Z, Y, X), channel 0 the background, of the level ``before``.
        before: the level that gave it.
        level: the level whose groups are split.
        side: (Z, Y, X), which place in its own groups each voxel of the level before belongs to;
            where it has groups of several labels.

    Returns:
        (P, Z, Y, X): P labels has the largest group.
    """
    number = max(len(group) for group in level.classes)
    sums = np.zeros((number, *posterior.shape[1:]), np.float32)
    for channel, own in enumerate(before.classes, start=1):
        for group in level.classes:
            hits = [place for place, label in enumerate(group) if len(group) > 1 and label in own]
            for place in hits:
                part = posterior[channel]
                if len(own) > 1 and side is not None:
                    part = part * (side == own.index(group[place]))
                sums[place] += part
    return sums


def table(classes: Sequence[Sequence[int]], highest: int) -> NDArray[np.int64]:
    """Look-up table from a label to its channel; labels of no class go to the background."""
    result = np.zeros(highest + 1, np.int64)
    for channel, group in enumerate(classes, start=1):
        for label in group:
            if label <= highest:
                result[label] = channel
    return result
