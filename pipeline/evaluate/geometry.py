"""Bring a reference onto the grid of the image that is judged, without blurring either.

The judged image is never resampled. A reference on the same lattice in another order of axes is
only flipped and permuted; any other reference, which is free of noise, is interpolated.
"""

from __future__ import annotations

import SimpleITK as sitk  # noqa: N813

from pipeline import images


def identity() -> sitk.Transform:
    """The transform that changes nothing."""
    return sitk.Transform(3, sitk.sitkIdentity)


def reordered(image: sitk.Image, grid: sitk.Image) -> sitk.Image | None:
    """``image`` with its axes in the order and sense of ``grid``; None if the lattices differ."""
    if images.same_grid(image, grid):
        return image
    orientation = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(
        grid.GetDirection()
    )
    turned = sitk.DICOMOrient(image, orientation)
    return turned if images.same_grid(turned, grid) else None


def onto(
    image: sitk.Image,
    grid: sitk.Image,
    transform: sitk.Transform | None = None,
    *,
    labels: bool = False,
) -> sitk.Image:
    """``image`` on the grid of ``grid``.

    Args:
        image: reference image or labels.
        grid: image whose grid is wanted.
        transform: maps points of ``grid`` to points of ``image``; None when they share a space.
        labels: nearest neighbour instead of a cubic B-spline.
    """
    if transform is None:
        turned = reordered(image, grid)
        if turned is not None:
            return turned
    return images.resample(image, grid, transform, labels=labels)


def nearest(
    image: sitk.Image, grid: sitk.Image, transform: sitk.Transform | None = None
) -> sitk.Image:
    """``image`` on the grid of ``grid`` by nearest neighbour: what a viewer shows of it."""
    return images.resample(image, grid, transform, labels=True)
