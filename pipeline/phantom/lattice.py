"""Sampling lattices in LPS millimetres and linear sampling on them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  (the name its documentation uses)
from numpy.typing import NDArray
from scipy import ndimage

#: float32 throughout, for memory and speed.
Floats = NDArray[np.floating[Any]]
#: Vectors and matrices of geometry, float64.
Matrix = NDArray[np.floating[Any]]

AXIAL: Matrix = np.eye(3)
#: Columns: direction of a row of pixels, of a column of pixels, from slice to slice.
SAGITTAL: Matrix = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
CORONAL: Matrix = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


def generator(*key: object) -> np.random.Generator:
    """Random numbers that depend on the parts of ``key`` only, such as seed, subject, purpose."""
    digest = hashlib.sha256("|".join(str(part) for part in key).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


@dataclass(frozen=True)
class Lattice:
    """Where the voxels of an image lie.

    Args:
        size: voxels along x, y, z.
        spacing: mm along x, y, z.
        origin: centre of the first voxel, LPS mm.
        direction: 3x3, columns are the unit vectors of the three voxel axes.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: Matrix

    @classmethod
    def centred(
        cls,
        size: tuple[int, int, int],
        spacing: tuple[float, float, float],
        centre: Matrix,
        direction: Matrix = AXIAL,
    ) -> Lattice:
        """Lattice whose middle lies at ``centre`` (LPS mm)."""
        half = direction @ ((np.asarray(size) - 1) * np.asarray(spacing) / 2.0)
        # DICOM keeps 16 characters a number; round here, so that truth and file agree
        x, y, z = np.round(np.asarray(centre) - half, 4).tolist()
        return cls(size, spacing, (x, y, z), np.round(direction, 9))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the array, (z, y, x)."""
        return self.size[2], self.size[1], self.size[0]

    @property
    def matrix(self) -> Matrix:
        """3x3 from voxel index (x, y, z) to millimetres, without the origin."""
        return np.asarray(self.direction * np.asarray(self.spacing))

    def points(self, start: int = 0, stop: int | None = None) -> Floats:
        """LPS points of the slices ``start`` to ``stop``: (3, z, y, x), mm."""
        z, y, x = np.meshgrid(
            np.arange(start, self.size[2] if stop is None else stop, dtype=np.float32),
            np.arange(self.size[1], dtype=np.float32),
            np.arange(self.size[0], dtype=np.float32),
            indexing="ij",
        )
        return affine(np.stack([x, y, z]), self.matrix, np.asarray(self.origin))

    def indices(self, points: Floats) -> Floats:
        """Voxel indices (x, y, z) of LPS points, not rounded."""
        inverse = np.linalg.inv(self.matrix)
        return affine(points, inverse, -inverse @ np.asarray(self.origin))

    def image(self, values: NDArray[np.generic]) -> sitk.Image:
        """Image of (z, y, x) values, or of vectors from (3, z, y, x)."""
        if values.ndim == 4:
            image = sitk.GetImageFromArray(np.moveaxis(values, 0, -1), isVector=True)
        else:
            image = sitk.GetImageFromArray(np.ascontiguousarray(values))
        image.SetOrigin(self.origin)
        image.SetSpacing(self.spacing)
        image.SetDirection(self.direction.ravel().tolist())
        return image

    def empty(self) -> sitk.Image:
        """Empty image on this lattice, a reference for resampling."""
        image = sitk.Image(list(self.size), sitk.sitkUInt8)
        image.SetOrigin(self.origin)
        image.SetSpacing(self.spacing)
        image.SetDirection(self.direction.ravel().tolist())
        return image


def affine(points: Floats, matrix: Matrix, offset: Matrix) -> Floats:
    """``matrix @ p + offset`` for points (3, ...)."""
    result = np.tensordot(matrix.astype(np.float32), points, axes=1)
    return np.asarray(result + offset.astype(np.float32).reshape(3, *[1] * (points.ndim - 1)))


def sample(values: Floats, lattice: Lattice, points: Floats, *, outside: str = "nearest") -> Floats:
    """Linear interpolation of (z, y, x) values at LPS points (3, ...).

    ``outside``: "nearest" repeats the edge, "constant" gives zero.
    """
    indices = lattice.indices(points)[::-1]
    return np.asarray(ndimage.map_coordinates(values, indices, order=1, mode=outside))


def smooth_noise(
    lattice: Lattice, sigma_mm: float, rng: np.random.Generator, components: int = 1
) -> Floats:
    """Gaussian random field of unit standard deviation: (components, z, y, x)."""
    white = rng.standard_normal((components, *lattice.shape), dtype=np.float32)
    sigma = [sigma_mm / s for s in lattice.spacing[::-1]]
    fields = [ndimage.gaussian_filter(part, sigma, mode="wrap") for part in white]
    return np.stack([field / field.std() for field in fields])
