"""Diffeomorphic demons after an affine, coarse to fine, on matched histograms.

Vercauteren et al. 2009, doi:10.1016/j.neuroimage.2008.10.040; SimpleITK's filter. The force is the
difference of the intensities: moving and fixed must be of the same contrast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.register.fields import Registration
from pipeline.register.protocol import Method

LEARNED = False

#: Iterations and tolerances (share of a voxel) for the inversion of the field.
INVERSION = (30, 0.005, 0.1)


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Make the method.

    Args:
        params: section ``demons``, ``affine_iterations`` and ``seed``.
        model: none is needed.
    """
    from pipeline.register.methods import affine

    align = affine.create(params, None)
    demons = params["demons"]

    def register(
        moving: sitk.Image, fixed: sitk.Image, moving_mask: sitk.Image, fixed_mask: sitk.Image
    ) -> Registration:
        found = align(moving, fixed, moving_mask, fixed_mask)
        return deform(found, moving, fixed, (moving_mask, fixed_mask), demons)

    return register


def deform(
    found: Registration,
    moving: sitk.Image,
    fixed: sitk.Image,
    masks: tuple[sitk.Image, sitk.Image],
    demons: Mapping[str, Any],
) -> Registration:
    """Add the warp of the demons to an affine.

    Args:
        found: the affine; its warps are not looked at.
        moving: skull-stripped.
        fixed: skull-stripped, same contrast.
        masks: brain of the moving image, brain of the fixed one.
        demons: section ``demons``.
    """
    from pipeline.register.engine import cropped, normalized, pasted

    still = cropped(normalized(fixed, masks[1]), masks[1])
    aligned = images.resample(normalized(moving, masks[0]), still, found.affine, order=1)
    aligned = sitk.HistogramMatching(aligned, still, 128, 12, True)
    field = pyramid(aligned, still, demons["iterations"], float(demons["smoothing"]))
    inverse = sitk.InvertDisplacementField(
        field,
        maximumNumberOfIterations=INVERSION[0],
        meanErrorToleranceThreshold=INVERSION[1],
        maxErrorToleranceThreshold=INVERSION[2],
        enforceBoundaryCondition=True,
    )
    return Registration(found.affine, pasted(field, fixed), pasted(inverse, fixed))


def pyramid(
    moving: sitk.Image, fixed: sitk.Image, iterations: Sequence[int], smoothing: float
) -> sitk.Image:
    """Displacement field on the fixed grid from demons at halving voxel sizes.

    Args:
        moving: on the fixed grid, intensities like those of ``fixed``.
        fixed: gives the grid.
        iterations: per level, coarse to fine; the last is the full grid.
        smoothing: standard deviation of the field's Gaussian, voxels of the level.
    """
    field: sitk.Image | None = None
    for level, count in zip(reversed(range(len(iterations))), iterations, strict=True):
        still, moved = (_coarser(image, 2**level) for image in (fixed, moving))
        step = sitk.DiffeomorphicDemonsRegistrationFilter()
        step.SetNumberOfIterations(int(count))
        step.SetStandardDeviations(smoothing)
        step.SetUseGradientType(step.Symmetric)
        if field is None:
            field = step.Execute(still, moved)
        else:
            identity = sitk.Transform(3, sitk.sitkIdentity)
            start = sitk.Resample(field, still, identity, sitk.sitkLinear, 0.0)
            field = step.Execute(still, moved, start)
    if field is None:
        raise ValueError("no level of the pyramid has iterations")
    return sitk.Cast(field, sitk.sitkVectorFloat64)


def _coarser(image: sitk.Image, factor: int) -> sitk.Image:
    if factor == 1:
        return image
    spacing = tuple(step * factor for step in image.GetSpacing())
    sigma = [0.35 * step for step in spacing]
    smooth = sitk.SmoothingRecursiveGaussian(image, sigma)
    grid = images.spaced_grid(image, (spacing[0], spacing[1], spacing[2]))
    return images.resample(smooth, grid, order=1)
