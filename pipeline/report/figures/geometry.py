"""Cuts through a volume: where they lie, and the voxels on them.

A cut is itself a SimpleITK image of one slice, so that any image of any lattice, oblique or not,
is brought onto it by one resampling, with a transform where there is one. Pictures are shown in the
radiological convention: the patient's right is at the left of axial and coronal cuts, anterior is
at the left of sagittal cuts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")

#: Plane → axes of an LPS lattice that run rightwards, downwards and through the picture, with sign.
AXES: dict[Plane, tuple[tuple[int, int], tuple[int, int], tuple[int, int]]] = {
    "axial": ((0, 1), (1, 1), (2, 1)),
    "coronal": ((0, 1), (2, -1), (1, 1)),
    "sagittal": ((1, 1), (2, -1), (0, -1)),
}

#: Letters at the left, right, top and bottom edge of a picture of each plane.
LETTERS: dict[Plane, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}


@dataclass(frozen=True)
class Box:
    """A block of space along the axes of an LPS lattice, in mm from its first voxel's centre."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def extent(self, axis: int) -> float:
        """Length along one axis in mm."""
        return self.high[axis] - self.low[axis]


@dataclass(frozen=True)
class Cut:
    """One plane through a volume: the grid of the picture's pixels and the letters at its edges."""

    plane: Plane
    grid: sitk.Image

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height, _ = self.grid.GetSize()
        return int(width), int(height)


def upright(image: sitk.Image) -> sitk.Image:
    """The image with its axes flipped and permuted closest to left, posterior, superior."""
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
    return image if code == "LPS" else sitk.DICOMOrient(image, "LPS")


def as_type(image: sitk.Image, pixel: int) -> sitk.Image:
    """The image with another type of pixel; itself where it has that type, not a copy."""
    return image if image.GetPixelID() == pixel else sitk.Cast(image, pixel)


def whole_box(image: sitk.Image) -> Box:
    """The field of view, to the outer faces of the voxels."""
    spacing = np.asarray(image.GetSpacing())
    high = (np.asarray(image.GetSize()) - 0.5) * spacing
    return Box(_triple(-0.5 * spacing), _triple(high))


def mask_box(mask: sitk.Image, margin: float) -> Box:
    """Box around a mask with ``margin`` mm on every side; the whole image when it is empty."""
    filled = np.argwhere(sitk.GetArrayViewFromImage(mask) != 0)
    if not len(filled):
        return whole_box(mask)
    spacing = np.asarray(mask.GetSpacing())
    low = (filled.min(axis=0)[::-1] - 0.5) * spacing - margin
    high = (filled.max(axis=0)[::-1] + 0.5) * spacing + margin
    return Box(_triple(low), _triple(high))


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def place_of(chosen: NDArray[np.bool_], image: sitk.Image) -> tuple[float, float, float] | None:
    """Voxel of a region that is nearest to its centre, mm from the first voxel's centre.

    Args:
        chosen: region, (z, y, x).
        image: gives the spacing.
    """
    found = np.argwhere(chosen)[:, ::-1] * np.asarray(image.GetSpacing())
    if not len(found):
        return None
    return _triple(found[np.argmin(np.linalg.norm(found - found.mean(axis=0), axis=1))])


def positions(
    box: Box, plane: Plane, count: int, spacing: Sequence[float], trim: float = 0.18
) -> list[float]:
    """``count`` places along the normal of a plane, on slices of the lattice, in mm.

    Args:
        box: what is looked through.
        plane: orientation of the cuts.
        count: number of cuts.
        spacing: of the lattice, mm.
        trim: share of the box left out at each end, where there is little to see.
    """
    axis = AXES[plane][2][0]
    low = box.low[axis] + trim * box.extent(axis)
    high = box.high[axis] - trim * box.extent(axis)
    places = [(low + high) / 2] if count == 1 else np.linspace(low, high, count).tolist()
    return [round(place / spacing[axis]) * spacing[axis] for place in places]


def cut(image: sitk.Image, plane: Plane, place: float, box: Box, pixel: float) -> Cut:
    """Lay a cut through an upright image.

    Args:
        image: gives the axes and the origin.
        plane: orientation.
        place: along the normal, mm from the first voxel's centre.
        box: what the picture shows.
        pixel: size of a pixel, mm.
    """
    right, down, normal = AXES[plane]
    axes = np.asarray(image.GetDirection()).reshape(3, 3)
    grid = sitk.Image(
        [
            max(1, round(box.extent(right[0]) / pixel)),
            max(1, round(box.extent(down[0]) / pixel)),
            1,
        ],
        sitk.sitkUInt8,
    )
    start = np.asarray(image.GetOrigin()) + axes[:, normal[0]] * place
    for axis, sign in (right, down):
        edge = box.low[axis] + pixel / 2 if sign > 0 else box.high[axis] - pixel / 2
        start = start + axes[:, axis] * edge
    columns = [axes[:, axis] * sign for axis, sign in (right, down, normal)]
    grid.SetDirection(np.stack(columns, axis=1).ravel().tolist())
    grid.SetOrigin(start.tolist())
    grid.SetSpacing([pixel, pixel, 1.0])
    return Cut(plane, grid)


def sample(
    image: sitk.Image,
    where: Cut,
    transform: sitk.Transform | None = None,
    *,
    nearest: bool = False,
) -> NDArray[np.float32]:
    """Values of an image on a cut, shape (height, width).

    Args:
        image: scalar image on any lattice.
        where: the cut.
        transform: maps points of the cut's space to points of the image's space.
        nearest: show the voxels as they are instead of interpolating linearly.
    """
    transform = transform or sitk.Transform(3, sitk.sitkIdentity)
    interpolator = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
    found = sitk.Resample(image, where.grid, transform, interpolator, 0.0, sitk.sitkFloat32)
    values: NDArray[np.float32] = sitk.GetArrayFromImage(found)[0]
    return values
