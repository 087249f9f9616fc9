"""The slice profile: how a scanner averages the object along the normal of its slices.

``acquire`` is the forward operator D of an isotropic image: the acquisition of one voxel is the
weighted mean of the object over the slice's thickness. A method whose result x gives D x = y has
invented nothing that the acquired image y contradicts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images

#: Half-widths of the Gaussian's support, in standard deviations.
SUPPORT = 2.0
FWHM = 2.0 * float(np.sqrt(2.0 * np.log(2.0)))
#: Product of time and bandwidth of the pulse, and half of the profile's support in thicknesses.
RF_BANDWIDTH = 4.0
RF_SUPPORT = 1.25


@dataclass(frozen=True)
class Profile:
    """How one slice averages.

    Attributes:
        axis: of the lattice (x, y, z = 0, 1, 2), the slices' normal.
        offsets: along it from a slice's middle, mm.
        weights: of the offsets; they sum to 1.
        width: thickness of a slice, mm.
    """

    axis: int
    offsets: NDArray[np.float64]
    weights: NDArray[np.float64]
    width: float


def make_profile(image: sitk.Image, thickness: float | None, shape: str, step: float) -> Profile:
    """Profile of an image's thickest axis.

    Args:
        image: the acquired image; its coarsest axis is the slices'.
        thickness: slice thickness in mm (full width at half maximum); None takes the spacing.
        shape: ``gaussian``, ``box`` or ``rf``.
        step: the grid's spacing in mm; the profile is sampled at half of it or finer.
    """
    spacing = np.asarray(image.GetSpacing())
    axis = int(np.argmax(spacing))
    width = float(thickness) if thickness else float(spacing[axis])
    return Profile(axis, *weights(width, shape, step), width)


def weights(
    width: float, shape: str, step: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Offsets from a slice's middle and their weights, which sum to 1; a point when it is thin.

    ``rf`` is what a sinc pulse under a Hann window excites at small flip angles, the Fourier
    transform of the pulse (Pauly et al. 1989, doi:10.1016/0022-2364(89)90265-5): slopes instead of
    a box's edges, and a little of the neighbours.

    Args:
        width: full width at half maximum, in any unit of length.
        shape: ``gaussian``, ``box`` or ``rf``.
        step: the grid's spacing in the same unit.
    """
    if width <= 1.05 * step:
        return np.zeros(1), np.ones(1)
    half = {"box": 0.5, "gaussian": SUPPORT / FWHM, "rf": RF_SUPPORT}[shape] * width
    count = 2 * int(np.ceil(half / (step / 2.0))) + 1
    # midpoints of equal parts, so that a box's ends do not count double
    offsets = (np.arange(count) + 0.5) / count * 2.0 * half - half
    values = np.ones(count)
    if shape == "gaussian":
        values = np.exp(-0.5 * (offsets * FWHM / width) ** 2)
    elif shape == "rf":
        values = _excited(offsets / width)
    return offsets, values / values.sum()


def _excited(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the pulse excites at places in slice thicknesses from the middle."""
    time = (np.arange(256) + 0.5) / 256 - 0.5
    pulse = np.sinc(RF_BANDWIDTH * time) * (0.5 + 0.5 * np.cos(2.0 * np.pi * time))
    phase = 2.0 * np.pi * RF_BANDWIDTH * np.multiply.outer(places, time)
    return np.asarray(np.cos(phase) @ pulse)


def acquire(
    image: sitk.Image, lattice: sitk.Image, transform: sitk.Transform, profile: Profile
) -> sitk.Image:
    """What a scanner would have acquired of ``image`` on ``lattice``.

    Args:
        image: isotropic image on the common grid.
        lattice: geometry of the acquired image.
        transform: maps points of the common grid's space to points of the lattice's space.
        profile: of the acquisition.
    """
    back = transform.GetInverse()
    direction = np.asarray(lattice.GetDirection()).reshape(3, 3)
    normal = direction[:, profile.axis]
    total = np.zeros(lattice.GetSize()[::-1], np.float64)
    for offset, weight in zip(profile.offsets, profile.weights, strict=True):
        shifted = sitk.Image(lattice.GetSize(), sitk.sitkUInt8)
        shifted.CopyInformation(lattice)
        shifted.SetOrigin((np.asarray(lattice.GetOrigin()) + offset * normal).tolist())
        sampled = images.resample(image, shifted, back, order=1)
        total += weight * sitk.GetArrayViewFromImage(sampled)
    return images.like(total.astype(np.float32), lattice)


def covered(grid: sitk.Image, lattice: sitk.Image, transform: sitk.Transform) -> NDArray[np.bool_]:
    """Voxels of ``lattice`` that lie inside ``grid``, (z, y, x)."""
    ones = images.like(np.ones(grid.GetSize()[::-1], np.float32), grid)
    inside = images.resample(ones, lattice, transform.GetInverse(), order=1)
    return np.asarray(sitk.GetArrayViewFromImage(inside) > 0.999)


def consistency(
    image: sitk.Image, acquired: sitk.Image, transform: sitk.Transform, profile: Profile
) -> float:
    """Root mean square of D x - y over the acquired voxels, as a share of y's 1..99 % range."""
    values = images.array(acquired)
    error = images.array(acquire(image, acquired, transform, profile)) - values
    low, high = np.percentile(values, [1, 99])
    inside = covered(image, acquired, transform)
    if not inside.any() or high <= low:
        return float("nan")
    return float(np.sqrt(np.mean(error[inside] ** 2)) / (high - low))
