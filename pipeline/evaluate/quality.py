"""Quality of an image without a reference, with MRIQC's definitions (Esteban et al. 2017).

Where ours differ from MRIQC's run on the same image: tissues come from label images instead of
posterior probabilities, the head from a threshold instead of ANTs or SynthStrip, and the air is
everything outside the head but padding (see :func:`air_mask`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from pipeline import images

Volume = NDArray[np.floating]
Mask = NDArray[np.bool_]

#: Median absolute deviation of a normal distribution of standard deviation 1.
MAD_OF_NORMAL = 0.6744897501960817
#: Fewest voxels (or wavelet coefficients) that a statistic is taken over.
MIN_VOXELS = 30
#: The head is looked for on a grid no finer than this, in mm: its outline needs no more.
HEAD_GRID_MM = 2.0


@dataclass(frozen=True)
class Tissue:
    """Statistics of the intensities in one region; ``mad`` is scaled to a standard deviation."""

    n: int
    median: float
    stdv: float
    mad: float


def tissue(image: Volume, mask: Mask) -> Tissue:
    """Statistics of ``image`` in ``mask``; NaN with fewer than :data:`MIN_VOXELS` voxels."""
    values = image[mask].astype(np.float64)
    if values.size < MIN_VOXELS:
        return Tissue(int(values.size), math.nan, math.nan, math.nan)
    median = float(np.median(values))
    mad = float(np.median(np.abs(values - median))) / MAD_OF_NORMAL
    return Tissue(int(values.size), median, float(values.std()), mad)


def snr(region: Tissue) -> float:
    """Signal-to-noise ratio: median / (stdv * sqrt(n / (n - 1))) in one tissue."""
    if not region.stdv > 0:
        return math.nan
    return region.median / (region.stdv * math.sqrt(region.n / (region.n - 1)))


def cnr(white: Tissue, grey: Tissue, air: Tissue) -> float:
    """Contrast-to-noise ratio of white and grey matter (Magnotta & Friedman 2006)."""
    noise = math.sqrt(air.stdv**2 + white.stdv**2 + grey.stdv**2)
    return abs(white.median - grey.median) / noise if noise > 0 else math.nan


def cjv(white: Tissue, grey: Tissue) -> float:
    """Coefficient of joint variation (Ganzetti et al. 2016), with MRIQC's robust spread."""
    difference = abs(white.median - grey.median)
    return (white.mad + grey.mad) / difference if difference > 0 else math.nan


def efc(image: Volume) -> float:
    """Entropy focus criterion over the whole image (Atkinson et al. 1997), 0 to 1.

    Negative values, which interpolation can leave, count by their magnitude.
    """
    values = np.abs(image.astype(np.float64)).ravel()
    energy = math.sqrt(float(values @ values))
    if energy == 0:
        return math.nan
    largest = math.sqrt(values.size) * math.log(math.sqrt(values.size))
    shares = values[values > 0]
    shares /= energy
    entropy = -float(shares @ np.log(shares))
    return entropy / largest if largest > 0 else math.nan


def fber(image: Volume, head: Mask, air: Mask) -> float:
    """Foreground-background energy ratio (Shehzad et al. 2015), with MRIQC's medians.

    NaN where there is no head, no air, or the air's median is zero (a masked image, MRIQC's -1).
    """
    if not head.any() or not air.any():
        return math.nan
    background = float(np.median(image[air].astype(np.float64) ** 2))
    foreground = float(np.median(image[head].astype(np.float64) ** 2))
    return foreground / background if background > 0 else math.nan


def noise_sigma(image: Volume, mask: Mask) -> float:
    """Standard deviation of white noise, from the diagonal Haar coefficients within the mask.

    Blocks of 2x2x2 voxels that lie wholly in the mask. The difference along all three axes hides
    smooth anatomy, and the half of the blocks with the larger gradient of the block means, where
    the edges are, is left out (Donoho & Johnstone 1994, Coupe et al. 2010). Noise that
    interpolation has smoothed is underestimated; thick slices, whose neighbours differ, and fine
    structure raise the estimate.

    Returns:
        In the image's unit; NaN with fewer than :data:`MIN_VOXELS` blocks.
    """
    even = tuple(slice(0, size - size % 2) for size in image.shape)
    inside = mask[even]
    details = means = image[even].astype(np.float64)
    for axis in range(3):
        first, second = _pairs(axis, 0), _pairs(axis, 1)
        details = (details[first] - details[second]) / math.sqrt(2)
        means = (means[first] + means[second]) / 2
        inside = inside[first] & inside[second]
    if np.count_nonzero(inside) < MIN_VOXELS or min(inside.shape) < 2:
        return math.nan
    gradient = np.sqrt(sum(step**2 for step in np.gradient(means)))
    calm = inside & (gradient <= np.median(gradient[inside]))
    return float(np.median(np.abs(details[calm]))) / MAD_OF_NORMAL


def _pairs(axis: int, start: int) -> tuple[slice, ...]:
    return tuple(slice(start, None, 2) if n == axis else slice(None) for n in range(3))


def noise_level(image: Volume, brain: Mask) -> float:
    """Noise in per cent of the span of the brain's intensities (1st to 99th percentile)."""
    if np.count_nonzero(brain) < MIN_VOXELS:
        return math.nan
    low, high = np.percentile(image[brain], (1, 99))
    return 100 * noise_sigma(image, brain) / float(high - low) if high > low else math.nan


def head_mask(image: sitk.Image) -> Mask:
    """The head with everything inside it: Otsu's threshold, the largest part, holes filled.

    Args:
        image: scalar 3D image whose background is darker than the head.

    Returns:
        (z, y, x) on the image's grid.
    """
    factors = [
        max(1, int(HEAD_GRID_MM / spacing))
        for spacing in image.GetSpacing()
    ]  # fmt: skip
    small = sitk.BinShrink(image, factors) if max(factors) > 1 else image
    bright = sitk.OtsuThreshold(small, 0, 1)
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(bright), sortByObjectSize=True)
    closed = sitk.BinaryMorphologicalClosing(parts == 1, [3, 3, 3])
    filled = images.like(ndimage.binary_fill_holes(images.bool_array(closed)), small)
    if small is not image:
        filled = sitk.Resample(filled, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    return images.bool_array(filled)


def air_mask(image: Volume, head: Mask) -> Mask:
    """Voxels outside the head, a margin of two voxels left out, and no padding.

    Voxels that are exactly zero where most of the outside is not were never measured (the corners
    of a rotated or gradient-unwarped image), so they are no air.
    """
    outside = ~ndimage.binary_dilation(head, iterations=2)
    measured = outside & (image != 0)
    mostly_zero = np.count_nonzero(measured) < 0.5 * np.count_nonzero(outside)
    air: Mask = outside if mostly_zero else measured
    return air
