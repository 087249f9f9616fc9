"""Artefacts in the air around the head: QI1 and QI2 of Mortamet et al. 2009, as MRIQC takes them.

MRIQC's steps (version 24.0.2; Esteban et al. 2017) on our air mask: everything outside the head,
where MRIQC looks above the plane from nose to nape only. That release sets its distances to zero
where they are needed, so that its QI1 is 0; the distances here are those of its earlier releases.
"""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage, stats

Volume = NDArray[np.floating]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Times the median absolute deviation of the air above which a voxel may be an artefact.
Z_SCORE = 10.0
#: Share of the largest distance from the head that is left out, for it holds the head's own blur.
NEAR = 0.10
#: Positive voxels that the spread is taken over, at least.
MIN_POSITIVE = 10
MAD_OF_NORMAL = 0.6744897501960817

#: Positive voxels that a distribution is fitted to, at least; all voxels, at most.
MIN_VOXELS, MAX_VOXELS = 1000, 300_000
#: MRIQC's seed, so that it is the same sample.
SEED = 1191935
#: First guess of the degrees of freedom: MRIQC's number of coil elements.
COILS = 32
#: The intensities, whose 99th percentile is 100, where densities are compared, and their smoothing.
GRID = np.linspace(0.0, 110.0, 1000)
BANDWIDTH = 4.0
#: Before they are smoothed, intensities are shared out between points this far apart: it changes
#: the density by 1e-4 of its largest at most.
STEP = 0.05


def artefact_mask(image: Volume, head: Mask, air: Mask) -> Mask:
    """Voxels of the air that are too bright and stick together.

    Args:
        image: (z, y, x); the air is near zero.
        head: the head, which the distance is taken from, in voxels; without one nothing is found.
        air: where to look.
    """
    found = np.zeros(image.shape, dtype=np.bool_)
    values = image[air].astype(np.float64)
    positive = values[values > 0]
    if positive.size < MIN_POSITIVE or not head.any():
        return found
    spread = float(np.median(np.abs(positive - np.median(positive)))) / MAD_OF_NORMAL
    distance = _distance(head)[air]
    found[air] = (values > Z_SCORE * spread) & (distance >= NEAR * distance.max())
    opened: Mask = ndimage.binary_opening(found)
    return opened


def _distance(head: Mask) -> NDArray[np.float32]:
    """Distance of each voxel outside the head to it, in voxels; inside, no more than 0."""
    image = sitk.GetImageFromArray(head.astype(np.uint8))
    found = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=False)
    distance: NDArray[np.float32] = sitk.GetArrayFromImage(found)
    return distance


def qi1(artefacts: Mask, air: Mask) -> float:
    """Share of the air's voxels that are artefacts, 0 to 1; NaN without air."""
    size = int(np.count_nonzero(air))
    return float(np.count_nonzero(artefacts & air)) / size if size else math.nan


def qi2(image: Volume, air: Mask) -> float:
    """How far the air's intensities are from the chi-square distribution fitted to them.

    The mean difference of two densities, of the intensities scaled to a 99th percentile of 100,
    where they are above the last one of half the largest density.

    Args:
        image: (z, y, x).
        air: air without artefacts.

    Returns:
        NaN with fewer than :data:`MIN_VOXELS` positive voxels (MRIQC's 0), or without a fit.
    """
    values = np.maximum(image[air].astype(np.float64), 0.0)
    if np.count_nonzero(values) < MIN_VOXELS:
        return math.nan
    top = float(np.percentile(values, 99))
    if top == 0:
        return math.nan
    values *= 100.0 / top
    if values.size >= MAX_VOXELS:
        values = np.random.RandomState(SEED).choice(values, size=MAX_VOXELS)
    try:
        fitted = stats.chi2.pdf(GRID, *stats.chi2.fit(values, COILS))
    except stats.FitError:
        return math.nan
    density = smoothed(values)
    high = np.flatnonzero(density > 0.5 * density.max())
    # where the last point is high itself, the whole is compared
    start = int(high[-1]) + 1 if high[-1] + 1 < GRID.size else 0
    value = float(np.abs(density - fitted)[start:].mean())
    return value if math.isfinite(value) else math.nan


def smoothed(values: Floats) -> Floats:
    """Density of the values at :data:`GRID`, smoothed by a Gaussian of :data:`BANDWIDTH`."""
    points = np.arange(0.0, float(GRID[-1]) + 10 * BANDWIDTH, STEP)
    places = values[values < points[-2]] / STEP
    left = places.astype(np.intp)
    right_share = places - left
    counts = np.bincount(left, 1 - right_share, points.size)
    counts += np.bincount(left + 1, right_share, points.size)
    used = counts > 0
    kernel = stats.norm.pdf(GRID[:, None], points[used], BANDWIDTH)
    result: Floats = kernel @ counts[used] / values.size
    return result
