"""Brain mask by the MNI brain: affine by mutual information, then its mask carried over.

Takes any contrast, because mutual information asks only that tissues differ. The template is
the skull-stripped MNI152 2009a at 2 mm that nilearn carries (Fonov et al. 2011, NeuroImage 54).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.errors import VoxelwayError

LEARNED = False
#: Voxel size in mm that the affine is estimated at.
WORKING_SPACING = 4.0
#: Share of the template's voxels that are sampled, and histogram bins.
SAMPLING, BINS = 0.0625, 32


def create(params: Mapping[str, Any], model: Path | None) -> Callable[[sitk.Image], sitk.Image]:
    """Load the template once.

    Returns:
        function of a whole-head image that gives its brain mask, uint8 on the same lattice.
    """
    brain, brain_mask = load_template()
    seed = int(params.get("seed", 0))

    def mask(image: sitk.Image) -> sitk.Image:
        start = _start(image, brain_mask)
        try:
            found = _affine(image, brain, brain_mask, start, seed)
        except RuntimeError as error:
            what = "The template's brain can't be brought onto the image"
            raise VoxelwayError("E-MASK-EMPTY", what) from error
        return sitk.Resample(
            brain_mask, image, found.GetInverse(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8
        )

    return mask


def load_template() -> tuple[sitk.Image, sitk.Image]:
    """The MNI152 T1 brain and its mask at 2 mm, in LPS."""
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

    return _from_nifti(load_mni152_template(2)), _from_nifti(load_mni152_brain_mask(2))


def _from_nifti(nifti: Any) -> sitk.Image:
    """nilearn's image as an ITK image: RAS becomes LPS."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(nifti.affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    values = np.asarray(nifti.get_fdata(dtype=np.float32))
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0)))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def _start(image: sitk.Image, brain_mask: sitk.Image) -> sitk.AffineTransform:
    """Brain to head: middle on middle, top of the brain below the top of the head.

    The centre of a whole head lies in its neck; the top of the scalp is a surer landmark.
    """
    head = sitk.OtsuThreshold(image, 0, 1, 128)
    head = sitk.BinaryMorphologicalOpening(head, [2, 2, 1])
    of_head, of_brain = _bounds(head), _bounds(brain_mask)
    target = of_head.mean(axis=0)
    # 8 mm of scalp and skull at the top; axis 2 points to the head's top in LPS
    target[2] = of_head[1, 2] - 8.0 - (of_brain[1, 2] - of_brain[0, 2]) / 2.0
    centre = of_brain.mean(axis=0)
    start = sitk.AffineTransform(3)
    start.SetCenter(centre.tolist())
    start.SetTranslation((target - centre).tolist())
    return start


def _bounds(mask: sitk.Image) -> NDArray[np.float64]:
    """Robust lower and upper corner of a mask in LPS mm, shape (2, 3)."""
    points = np.argwhere(images.bool_array(mask))[:, ::-1][::7]
    if len(points) == 0:
        raise VoxelwayError("E-MASK-EMPTY", "No head stands out of the background")
    matrix = np.asarray(mask.GetDirection()).reshape(3, 3) * np.asarray(mask.GetSpacing())
    places = points @ matrix.T + np.asarray(mask.GetOrigin())
    corners: NDArray[np.float64] = np.percentile(places, [1, 99], axis=0)
    return corners


def _affine(
    image: sitk.Image,
    brain: sitk.Image,
    brain_mask: sitk.Image,
    start: sitk.AffineTransform,
    seed: int,
) -> sitk.Transform:
    """Transform from template points to image points that maximises the mutual information."""
    coarse = images.spaced_grid(image, (WORKING_SPACING,) * 3)
    moving = images.resample(sitk.DiscreteGaussian(image, 4.0), coarse, order=1)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    # inside the brain only: the template is empty outside, and a rim of it would seek dark skull
    method.SetMetricFixedMask(sitk.Cast(brain_mask, sitk.sitkUInt8))
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(SAMPLING, seed + 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=1e-3, numberOfIterations=200, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([4.0, 2.0])
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(True)
    rigid = sitk.Euler3DTransform()
    rigid.SetCenter(start.GetCenter())
    rigid.SetTranslation(start.GetTranslation())
    method.SetInitialTransform(rigid, inPlace=True)
    method.Execute(sitk.Cast(brain, sitk.sitkFloat32), moving)
    affine = sitk.AffineTransform(3)
    affine.SetCenter(rigid.GetCenter())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    method.SetInitialTransform(affine, inPlace=True)
    method.Execute(sitk.Cast(brain, sitk.sitkFloat32), moving)
    return affine
