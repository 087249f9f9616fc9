"""The grid that networks work on: isotropic, axes nearest to LPS, around the brain and its rim."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.synthesize import patches

Floats = NDArray[np.float32]
#: A grid coarser than this many voxels of an image is reached through a low pass.
COARSER = 1.2
#: Deviation of the low pass, share of the coarser voxel.
BLUR = 0.35


def around(rim: sitk.Image, spacing: float) -> sitk.Image:
    """Empty grid of ``spacing`` mm over the box of a region, axes nearest to LPS.

    Args:
        rim: brain and margin, not empty.
        spacing: edge of the voxels, mm.
    """
    upright = sitk.DICOMOrient(sitk.Cast(rim != 0, sitk.sitkUInt8), "LPS")
    found = np.argwhere(images.bool_array(upright))
    low, high = found.min(axis=0)[::-1], found.max(axis=0)[::-1] + 1
    cropped = sitk.RegionOfInterest(upright, (high - low).tolist(), low.tolist())
    extent = np.asarray(cropped.GetSize()) * np.asarray(cropped.GetSpacing())
    size = np.maximum(np.ceil(extent / spacing - 1e-6).astype(int), images.MIN_SLICES)
    return images.grid((int(size[0]), int(size[1]), int(size[2])), (spacing,) * 3, cropped)


def onto(image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """An image on another grid, linear, through a low pass where that is coarser; zero outside."""
    result = sitk.Cast(image, sitk.sitkFloat32)
    coarse = max(grid.GetSpacing())
    widths = [BLUR * coarse if coarse > COARSER * own else 0.0 for own in image.GetSpacing()]
    for axis, width in enumerate(widths):
        if width and image.GetSize()[axis] >= 4:
            result = _smooth(result, axis, width)
    return images.resample(result, grid, order=1)


def _smooth(image: sitk.Image, axis: int, width: float) -> sitk.Image:
    smoother = sitk.RecursiveGaussianImageFilter()
    smoother.SetSigma(width)
    smoother.SetDirection(axis)
    return smoother.Execute(image)


def inside(region: sitk.Image, grid: sitk.Image) -> NDArray[np.bool_]:
    """A mask on a grid, (z, y, x)."""
    half = images.resample(sitk.Cast(region != 0, sitk.sitkFloat32), grid, order=1)
    return np.asarray(images.array(half) >= 0.5)


def covered(image: sitk.Image, grid: sitk.Image) -> NDArray[np.bool_]:
    """Voxels of a grid that lie in the field of view of an image, (z, y, x)."""
    ones = images.like(np.ones(image.GetSize()[::-1], np.uint8), image)
    return images.bool_array(images.resample(ones, grid, labels=True))


def level(image: sitk.Image, mask: sitk.Image, where: str) -> float:
    """Median over the brain, of what the field of view holds of it.

    Raises:
        VoxelwayError: E-SIGNAL when it is not positive.
    """
    there = images.bool_array(mask) & (images.array(image) != 0)
    return patches.level(image, images.like(there if there.any() else images.bool_array(mask),
                                            mask), where)  # fmt: skip
