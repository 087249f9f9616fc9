"""Registrations as transforms and displacement fields, in physical space (LPS, mm).

Convention (ITK's and ANTs'): the map of points from fixed to moving is ``p ↦ A(p + w(p))`` with the
warp ``w`` on the fixed grid; from moving to fixed ``p ↦ y + v(y)``, ``y = A⁻¹ p``, with the
inverse warp ``v`` on the fixed grid. The first is what resamples moving images onto fixed ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images


@dataclass(frozen=True)
class Registration:
    """What a method finds.

    Attributes:
        affine: maps points of the fixed space to points of the moving space.
        warp: displacement on the fixed grid, three float64 components in mm, fixed → fixed.
        inverse_warp: displacement on the fixed grid, fixed → fixed.
    """

    affine: sitk.AffineTransform
    warp: sitk.Image
    inverse_warp: sitk.Image


def forward_transform(found: Registration) -> sitk.Transform:
    """Point map fixed → moving; resamples moving images onto the fixed grid."""
    # SimpleITK applies the transform that was added last first
    return sitk.CompositeTransform([found.affine, displacement(found.warp)])


def backward_transform(found: Registration) -> sitk.Transform:
    """Point map moving → fixed; resamples fixed images onto the moving grid."""
    return sitk.CompositeTransform([displacement(found.inverse_warp), found.affine.GetInverse()])


def displacement(field: sitk.Image) -> sitk.DisplacementFieldTransform:
    """A field as a transform; outside its grid points stay where they are."""
    # the constructor takes the pixels away from the image it is given: give it a copy
    copy = sitk.Image(sitk.Cast(field, sitk.sitkVectorFloat64))
    return sitk.DisplacementFieldTransform(copy)


def zero_field(grid: sitk.Image) -> sitk.Image:
    """The field of no displacement on a grid."""
    field = sitk.Image(list(grid.GetSize()), sitk.sitkVectorFloat64, 3)
    field.CopyInformation(grid)
    return field


def to_field(transform: sitk.Transform, grid: sitk.Image) -> sitk.Image:
    """Sample any point map as a displacement field on a grid."""
    return sitk.TransformToDisplacementField(
        transform,
        sitk.sitkVectorFloat64,
        grid.GetSize(),
        grid.GetOrigin(),
        grid.GetSpacing(),
        grid.GetDirection(),
    )


def vectors(field: sitk.Image) -> NDArray[np.float64]:
    """Components of a field in mm, shape (z, y, x, 3), a copy."""
    return np.asarray(sitk.GetArrayFromImage(field), dtype=np.float64)


def field_like(values: NDArray[np.floating], reference: sitk.Image) -> sitk.Image:
    """Field of (z, y, x, 3) ``values`` in mm on the grid of ``reference``, float64."""
    field = sitk.GetImageFromArray(np.ascontiguousarray(values, dtype=np.float64), isVector=True)
    field.CopyInformation(reference)
    return field


def compose(first: sitk.Image, second: sitk.Image) -> sitk.Image:
    """Field of ``p ↦ q + second(q)``, ``q = p + first(p)``, on the grid of ``first``."""
    moved = sitk.Resample(
        sitk.Cast(second, sitk.sitkVectorFloat64), first, displacement(first), sitk.sitkLinear, 0.0
    )
    return field_like(vectors(first) + vectors(moved), first)


def jacobian(field: sitk.Image) -> sitk.Image:
    """Determinant of the Jacobian of ``p ↦ p + u(p)``: below 1 shrinks, at or below 0 folds.

    ITK's own filter takes derivatives along the axes of the grid but leaves the vectors in
    physical axes, which is wrong unless the direction is the identity. Here the vectors are turned
    into the grid's axes first; the determinant does not depend on the choice of axes.

    Args:
        field: displacement in mm on a grid of any direction.

    Returns:
        float32 image on the same grid; differences are central, one-sided at the border.
    """
    direction = np.asarray(field.GetDirection()).reshape(3, 3)
    spacing = field.GetSpacing()
    along = vectors(field) @ direction  # components along the axes x, y, z of the grid
    rows = []
    for i in range(3):
        by_z, by_y, by_x = np.gradient(along[..., i], spacing[2], spacing[1], spacing[0])
        row = [by_x, by_y, by_z]
        row[i] = row[i] + 1.0
        rows.append(row)
    (a, b, c), (d, e, f), (g, h, i_) = rows
    determinant = a * (e * i_ - f * h) - b * (d * i_ - f * g) + c * (d * h - e * g)
    return images.like(determinant.astype(np.float32), field)
