"""Where a deformable registration starts from: an affine, the brains' centres, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import images

#: Voxel size of the images that the affine is found on, mm: twelve parameters need no finer one.
SPACING = 2.0

Align = Callable[[sitk.Image, sitk.Image, sitk.Image, sitk.Image], sitk.AffineTransform]


def aligner(params: Mapping[str, Any], *, own_affine: bool = False) -> Align:
    """What finds the map from fixed to moving before the deformable part.

    Args:
        params: section ``affine`` (``ants``, ``centre``, ``none``, or ``auto``: ``centre`` for a
            network that predicts an affine itself, ``ants`` for all else), ``affine_iterations``
            and ``seed``.
        own_affine: whether the network predicts an affine itself.
    """
    kind = str(params["affine"])
    if kind == "auto":
        kind = "centre" if own_affine else "ants"
    if kind == "none":
        return lambda moving, fixed, moving_mask, fixed_mask: sitk.AffineTransform(3)
    if kind == "centre":
        return lambda moving, fixed, moving_mask, fixed_mask: centred(moving_mask, fixed_mask)
    return _ants(params)


def centred(moving_mask: sitk.Image, fixed_mask: sitk.Image) -> sitk.AffineTransform:
    """The shift from the fixed brain's centre of mass to the moving brain's."""
    shift = _centre(moving_mask) - _centre(fixed_mask)
    found = sitk.AffineTransform(3)
    found.SetTranslation(shift.tolist())
    return found


def _centre(mask: sitk.Image) -> np.ndarray[Any, np.dtype[np.float64]]:
    places = np.argwhere(images.bool_array(mask)).mean(axis=0)[::-1]
    return np.asarray(mask.TransformContinuousIndexToPhysicalPoint(places.tolist()))


def _ants(params: Mapping[str, Any]) -> Align:
    from pipeline.register.methods import affine

    method = affine.create(params, None)

    def align(
        moving: sitk.Image, fixed: sitk.Image, moving_mask: sitk.Image, fixed_mask: sitk.Image
    ) -> sitk.AffineTransform:
        sides = [_coarse(moving, moving_mask), _coarse(fixed, fixed_mask)]
        return method(sides[0][0], sides[1][0], sides[0][1], sides[1][1]).affine

    return align


def _coarse(image: sitk.Image, mask: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """Image and mask at :data:`SPACING` along the axes that are finer."""
    old = np.asarray(image.GetSpacing())
    new = np.maximum(old, SPACING)
    if np.allclose(old, new):
        return image, mask
    grid = images.spaced_grid(image, (float(new[0]), float(new[1]), float(new[2])))
    sigma = np.where(new > old, 0.35 * new, 0.0)
    smooth = sitk.DiscreteGaussian(sitk.Cast(image, sitk.sitkFloat32), (sigma**2).tolist())
    return images.resample(smooth, grid, order=1), images.resample(mask, grid, labels=True)
