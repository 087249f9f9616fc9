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
from pipeline.denoise import noise
from pipeline.errors import VoxelwayError

Volume = NDArray[np.floating]
Mask = NDArray[np.bool_]

#: Median absolute deviation of a normal distribution of standard deviation 1.
MAD_OF_NORMAL = 0.6744897501960817
#: Fewest voxels that a statistic is taken over.
MIN_VOXELS = 30
#: The head is looked for on a grid no finer than this, in mm: its outline needs no more.
HEAD_GRID_MM = 2.0
#: Smallest share of the bright voxels that a part of the head has; less is noise or a ghost.
HEAD_PART = 0.02


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


def noise_level(image: sitk.Image, brain: sitk.Image, model: str = "auto") -> float:
    """Noise in per cent of the range of the brain's intensities, as denoise estimates it.

    Args:
        image: float32.
        brain: mask on the same grid.
        model: ``rician``, ``gaussian``, or ``auto`` to choose by the sign of the values.

    Returns:
        NaN where the mask is too small or the image constant in it.
    """
    box = _around(brain)
    if box is None:
        return math.nan
    try:
        return noise.estimate(image[box], brain[box], model).percent
    except VoxelwayError:
        return math.nan


def _around(mask: sitk.Image) -> tuple[slice, ...] | None:
    """The mask's box with room for the differences: the rest only costs memory. x, y, z."""
    found = ndimage.find_objects(images.bool_array(mask).astype(np.uint8))
    if not found:
        return None
    sizes = mask.GetSize()[::-1]
    return tuple(
        slice(max(0, part.start - 4), min(size, part.stop + 4))
        for part, size in zip(found[0], sizes, strict=True)
    )[::-1]


def noise_model(image: sitk.Image) -> str:
    """The distribution that the noise of an image has: magnitude images are Rician."""
    return "gaussian" if float(sitk.GetArrayViewFromImage(image).min()) < 0 else "rician"


def head_and_air(image: sitk.Image) -> tuple[Mask, Mask]:
    """The masks of :func:`head_mask` and :func:`air_mask`."""
    head = head_mask(image)
    return head, air_mask(sitk.GetArrayViewFromImage(image), head)


def head_mask(image: sitk.Image) -> Mask:
    """The head with everything inside it: Otsu's threshold, the large parts, holes filled.

    A dark skull can part the scalp from the brain, so every part of a fair size is of the head.

    Args:
        image: scalar 3D image whose background is darker than the head.

    Returns:
        (z, y, x) on the image's grid.
    """
    sides = zip(image.GetSpacing(), image.GetSize(), strict=True)
    factors = [min(size, max(1, int(HEAD_GRID_MM / spacing))) for spacing, size in sides]
    small = sitk.BinShrink(image, factors) if max(factors) > 1 else image
    bright = sitk.OtsuThreshold(small, 0, 1)
    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(bright))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    large = images.like((sizes >= HEAD_PART * sizes.sum())[parts] & (parts > 0), small)
    closed = sitk.BinaryMorphologicalClosing(large, [3, 3, 3])
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
