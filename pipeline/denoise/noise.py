"""Noise level of an image, from the brain alone, so that skull-stripped images work too.

A product of second differences along the fine axes leaves little of the anatomy; the median
absolute deviation of what remains is robust against the rest (Donoho & Johnstone 1994, Biometrika
81; Immerkaer 1996, CVIU 64; for MRI with the Rician correction: Coupe et al. 2010, Medical Image
Analysis 14; Koay & Basser 2006).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from pipeline import images
from pipeline.denoise import rician
from pipeline.errors import VoxelwayError

#: An axis counts as fine below this multiple of the finest spacing.
FINE = 1.6
#: Fewest voxels for a sound estimate.
FEWEST = 500
#: Median absolute deviation of a standard normal variable.
MAD = 0.6744897501960817
#: Share of emptied voxels above which what is left is the object.
EMPTIED = 0.15
#: Share of the brightest intensities up to which a voxel is faint, and share of faint voxels above
#: which they are no part of the object: the surroundings of a simulated or filtered one.
FAINT, HALO = 0.02, 0.2
SECOND_DIFFERENCE = np.array([1.0, -2.0, 1.0]) / np.sqrt(6.0)


@dataclass(frozen=True)
class Noise:
    """Noise of an image.

    Attributes:
        sigma: standard deviation (of the complex signal's parts for `rician`), image intensity.
        percent: sigma in percent of the brain's robust range (0.5th to 99.5th percentile).
        model: ``rician`` or ``gaussian``.
        background: sigma from the Rayleigh background; None where there is none.
    """

    sigma: float
    percent: float
    model: str
    background: float | None

    @property
    def width(self) -> float:
        """The robust range, image intensity; 1 for an image without noise."""
        return 100.0 * self.sigma / self.percent if self.percent > 0 else 1.0

    def facts(self) -> dict[str, Any]:
        """Entries of the sidecar."""
        return {
            "NoiseSigma": float(f"{self.sigma:.5g}"),
            "NoisePercent": float(f"{self.percent:.4g}"),
            "NoiseModel": self.model,
            "NoiseSigmaBackground": self.background and float(f"{self.background:.5g}"),
        }


def estimate(image: sitk.Image, mask: sitk.Image, model: str = "auto") -> Noise:
    """Estimate the noise level inside a mask.

    Args:
        image: float32; anisotropic voxels are measured in the plane only.
        mask: brain (or foreground), same lattice.
        model: ``auto``, ``rician`` or ``gaussian``.

    Raises:
        VoxelwayError: E-SIGNAL when the mask holds too few voxels or a constant.
    """
    values, inside = images.array(image), images.bool_array(mask)
    if model == "auto":
        model = "gaussian" if values.min() < -1e-6 * values.max() else "rician"
    background = rayleigh_sigma(values, inside) if model == "rician" else None
    box = around(inside)
    sigma = _inside_sigma(values[box], inside[box], fine_axes(image), model)
    low, high = np.percentile(values[box][inside[box]], [0.5, 99.5])
    if not high > low:
        raise VoxelwayError("E-SIGNAL", "The image is constant inside the mask")
    return Noise(sigma, 100.0 * sigma / float(high - low), model, background)


def around(inside: NDArray[np.bool_], rim: int = 3) -> tuple[slice, ...]:
    """Smallest box with the mask and a rim of voxels; the whole array for an empty mask."""
    found = ndimage.find_objects(inside.astype(np.int8))
    if not found:
        return tuple(slice(0, n) for n in inside.shape)
    return tuple(
        slice(max(0, part.start - rim), min(n, part.stop + rim))
        for part, n in zip(found[0], inside.shape, strict=True)
    )


def _inside_sigma(
    values: NDArray[np.float32], inside: NDArray[np.bool_], axes: tuple[int, ...], model: str
) -> float:
    """Sigma from the second differences in the flatter half of a mask."""
    sample = homogeneous(values, inside, axes)
    if int(sample.sum()) < FEWEST:
        what = f"{int(sample.sum())} voxels are left for the noise estimate, {FEWEST} are needed"
        raise VoxelwayError("E-SIGNAL", what, hint="The mask is too small, or misses the head")
    rest = values
    for axis in axes:
        rest = ndimage.convolve1d(rest, SECOND_DIFFERENCE, axis=axis, mode="nearest")
    sigma = float(np.median(np.abs(rest[sample]))) / MAD
    if model == "rician" and sigma > 0:
        sigma = rician.sigma_from_spread(sigma, float(np.median(values[sample])))
    return sigma


def fine_axes(image: sitk.Image) -> tuple[int, ...]:
    """Array axes (z, y, x) along which voxels are fine, without the thick axis."""
    spacing = np.asarray(image.GetSpacing())[::-1]
    size = np.asarray(image.GetSize())[::-1]
    fine = (spacing <= FINE * spacing.min()) & (size >= 3)
    return tuple(int(axis) for axis in np.flatnonzero(fine))


def homogeneous(
    values: NDArray[np.float32], inside: NDArray[np.bool_], axes: tuple[int, ...]
) -> NDArray[np.bool_]:
    """The flatter half of a mask, away from its edge.

    The gradient is that of the smoothed image, which is nearly independent of the second
    differences, so that the choice does not bias the noise.
    """
    reach = np.ones([3 if axis in axes else 1 for axis in range(3)], dtype=bool)
    core = np.asarray(ndimage.binary_erosion(inside, reach))
    if not core.any():
        return core
    smooth = values
    for axis in axes:
        smooth = ndimage.convolve1d(smooth, [0.25, 0.5, 0.25], axis=axis, mode="nearest")
    steepness = np.zeros_like(smooth)
    for axis in axes:
        steepness += np.square(np.gradient(smooth, axis=axis))
    return np.asarray(core & (steepness <= np.median(steepness[core])))


def rayleigh_sigma(values: NDArray[np.float32], inside: NDArray[np.bool_]) -> float | None:
    """Sigma from air: the mode of the background is that of a Rayleigh distribution.

    Only voxels beside the image's faces and far from the brain count; None where they are
    emptied (exact zeros) or too few.
    """
    rim = np.ones(values.shape, dtype=bool)
    edge = [max(1, n // 12) for n in values.shape]
    rim[edge[0] : -edge[0], edge[1] : -edge[1], edge[2] : -edge[2]] = False
    air = values[rim & ~inside & (values > 0)]
    if air.size < 0.5 * int((rim & ~inside).sum()) or air.size < FEWEST:
        return None
    # tissue may reach the faces: the lower half of the values is air, and its quantiles are known
    quantile = 0.25
    return float(np.quantile(air, quantile) / np.sqrt(-2.0 * np.log(1.0 - quantile)))


def foreground(image: sitk.Image) -> sitk.Image:
    """Mask for an image that comes without one: what is not empty, or what Otsu finds.

    Only zeros that fill blocks were emptied: air that was acquired has many single ones. Where
    many of the voxels that are left are faint, those are not the object either.
    """
    values = images.array(image)
    block = np.ones([3 if length > 3 else 1 for length in values.shape], dtype=bool)
    empty = ndimage.binary_opening(values == 0, block)
    if float(empty.mean()) <= EMPTIED:
        return sitk.Cast(sitk.OtsuThreshold(image, 0, 1, 128), sitk.sitkUInt8)
    size = np.abs(values)
    left = size[size > 0]
    bar = FAINT * float(np.percentile(left, 99.5)) if left.size else 0.0
    if left.size and float((left <= bar).mean()) <= HALO:
        bar = 0.0
    return images.like((size > bar).astype(np.uint8), image)
