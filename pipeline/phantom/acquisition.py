"""From the object to what the scanner stores: sampling, k-space, bias field, noise.

Arrays are (z, y, x) on a :class:`~pipeline.phantom.lattice.Lattice`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.polynomial import legendre
from scipy import fft, special

from pipeline.phantom.lattice import Floats, Lattice, Matrix

#: Voxels of the object per acquired voxel, along an axis that k-space encodes.
OVERSAMPLING = 1.5
#: Coarsest voxel of the object, mm.
FINEST = 1.4
#: Share of k-space, from its edge inwards, over which the filter of the scanner falls to zero.
TAPER = 0.25
#: Sub-slices a thick slice is made of, and the blur of its profile as a share of its thickness.
SUBSLICES = 4
PROFILE_BLUR = 0.1


@dataclass(frozen=True)
class Series:
    """How one series is acquired.

    Attributes:
        lattice: the acquired voxels.
        volumetric: True, k-space encodes all axes; False, slices are excited one by one.
    """

    lattice: Lattice
    volumetric: bool


def fine_lattice(lattice: Lattice, *, volumetric: bool) -> Lattice:
    """Lattice of the object that ``acquire`` samples, over the same field of view.

    Its first voxel lies on the first acquired one, as the Fourier transform wants it. Thick
    slices are cut into sub-slices, with one thickness more at either end.
    """
    size, spacing = list(lattice.size), list(lattice.spacing)
    for axis in range(3 if volumetric else 2):
        extent = size[axis] * spacing[axis]
        step = min(spacing[axis] / OVERSAMPLING, FINEST)
        size[axis] = fft.next_fast_len(int(np.ceil(extent / step)), real=True)
        spacing[axis] = extent / size[axis]
    origin = np.asarray(lattice.origin)
    if not volumetric:
        thickness = lattice.spacing[2]
        size[2] = (lattice.size[2] + 2) * SUBSLICES
        spacing[2] = thickness / SUBSLICES
        first = -1.5 * thickness + spacing[2] / 2.0
        origin = origin + lattice.direction[:, 2] * first
    x, y, z = origin.tolist()
    return Lattice(
        (size[0], size[1], size[2]), (spacing[0], spacing[1], spacing[2]), (x, y, z),
        lattice.direction,
    )  # fmt: skip


def acquire(values: Floats, series: Series) -> Floats:
    """Sample an object given on ``fine_lattice(...)``: noise-free, without bias, (z, y, x)."""
    size = series.lattice.size
    if not series.volumetric:
        values = _slices(values)
    for axis, count in ((2, size[0]), (1, size[1]), (0, size[2])):
        if values.shape[axis] != count:
            values = truncate(values, axis, count)
    return np.asarray(values, dtype=np.float32)


def truncate(values: Floats, axis: int, count: int) -> Floats:
    """Keep the middle of k-space along one axis, tapered, so that ``count`` samples remain."""
    spectrum = fft.rfft(values, axis=axis)
    kept = count // 2 + 1
    frequency = np.arange(kept) / (count / 2.0)
    ramp = np.clip((frequency - (1.0 - TAPER)) / TAPER, 0.0, 1.0)
    window = (np.cos(np.pi * ramp) + 1.0) / 2.0 * (count / values.shape[axis])
    shape = [1] * values.ndim
    shape[axis] = kept
    index = [slice(None)] * values.ndim
    index[axis] = slice(0, kept)
    cropped = spectrum[tuple(index)] * window.reshape(shape).astype(np.float32)
    return np.asarray(fft.irfft(cropped, n=count, axis=axis), dtype=np.float32)


def slice_profile() -> Floats:
    """Weights of the sub-slices of three thicknesses around a slice's middle; they add up to 1.

    A rectangle as wide as the slice, blurred by a Gaussian of PROFILE_BLUR thicknesses.
    """
    count = 3 * SUBSLICES
    edges = (np.arange(count + 1) / SUBSLICES - 1.5) / (np.sqrt(2.0) * PROFILE_BLUR)
    half = 0.5 / (np.sqrt(2.0) * PROFILE_BLUR)

    def integral(t: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Floats:
        return np.asarray(t * special.erf(t) + np.exp(-(t**2)) / np.sqrt(np.pi))

    weights = np.diff(integral(edges + half) - integral(edges - half))
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def _slices(values: Floats) -> Floats:
    """Sub-slices to slices, weighted by the profile."""
    weights = slice_profile()
    count = values.shape[0] // SUBSLICES - 2
    return sum(
        np.float32(weight) * values[first : first + count * SUBSLICES : SUBSLICES]
        for first, weight in enumerate(weights)
    )  # type: ignore[return-value]


def motion(degrees: Matrix, shift: Matrix, centre: Matrix) -> sitk.Euler3DTransform:
    """Rigid motion about a centre, in LPS mm and degrees."""
    transform = sitk.Euler3DTransform()
    transform.SetCenter(centre.tolist())
    x, y, z = np.deg2rad(degrees).tolist()
    transform.SetRotation(x, y, z)
    transform.SetTranslation(shift.tolist())
    return transform


def bias_field(lattice: Lattice, strength: float, rng: np.random.Generator) -> Floats:
    """Smooth gain 1 +- ``strength`` over the field of view, a cubic polynomial, (z, y, x)."""
    coefficients = np.zeros((4, 4, 4))
    for i, j, k in np.ndindex(4, 4, 4):
        if 0 < i + j + k <= 3:
            coefficients[i, j, k] = rng.normal() / (i + j + k)
    x, y, z = (legendre.legvander(np.linspace(-1.0, 1.0, n), 3) for n in lattice.size)
    field = np.einsum("ijk,zk,yj,xi->zyx", coefficients, z, y, x, optimize=True)
    middle = field[tuple(slice(n // 6, n - n // 6) for n in lattice.shape)]
    low, high = float(middle.min()), float(middle.max())
    unit = np.clip(2.0 * (field - low) / (high - low) - 1.0, -1.5, 1.5)
    return np.asarray(1.0 + strength * unit, dtype=np.float32)


def rician(values: Floats, sigma: float, rng: np.random.Generator) -> Floats:
    """Magnitude of a complex signal with Gaussian noise in both channels.

    Gudbjartsson and Patz 1995, Magn Reson Med 34:910-914.
    """
    real = values + np.float32(sigma) * rng.standard_normal(values.shape, dtype=np.float32)
    imaginary = np.float32(sigma) * rng.standard_normal(values.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, imaginary))
