"""The frame in which networks and the optimiser work, and the way back to ITK's fields.

A frame is an isotropic grid over the fixed brain, its axes those of the fixed image in the order of
the training's template. Images of any orientation, spacing and field of view are sampled on it, and
fields found on it are sampled on the fixed grid, in physical space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import images
from pipeline.networks.filters import coarser
from pipeline.networks.spatial import resize
from pipeline.register.engine import cropped, normalized

#: Order and sense of the axes of the template that networks are trained on.
ORIENTATION = "LPS"
#: Width of the rim of a frame over which fields fall to zero, voxels.
RIM = 4
#: Gaussian before sampling on a coarser grid, its sigma in new voxels.
ANTI_ALIAS = 0.35


@dataclass(frozen=True)
class Frame:
    """A pair of images in the frame.

    Attributes:
        grid: of the frame (no values).
        fixed: (1, 1, Z, Y, X), about 0 to 1, zero outside the brain.
        moving: the moving image after the affine, likewise.
    """

    grid: sitk.Image
    fixed: Tensor
    moving: Tensor

    @property
    def spacing(self) -> float:
        """Voxel size, mm."""
        return float(self.grid.GetSpacing()[0])

    def at(self, spacing: float) -> tuple[Tensor, Tensor]:
        """Moving and fixed image at about another, coarser voxel size in mm; corners in place."""
        factor = max(spacing / self.spacing, 1.0)
        if factor < 1.1:
            return self.moving, self.fixed
        return coarser(self.moving, factor), coarser(self.fixed, factor)


def make_frame(
    moving: sitk.Image,
    fixed: sitk.Image,
    masks: tuple[sitk.Image, sitk.Image],
    affine: sitk.Transform,
    spacing: float,
) -> Frame:
    """Sample a pair on the frame of the fixed brain.

    Args:
        moving: moving image.
        fixed: fixed image.
        masks: brains of both.
        affine: maps points of the fixed space to points of the moving space.
        spacing: voxel size of the frame, mm.

    Raises:
        VoxelwayError: E-SIGNAL when a brain has no positive values.
    """
    still = sitk.DICOMOrient(normalized(fixed, masks[1]), ORIENTATION)
    box = cropped(still, sitk.DICOMOrient(masks[1], ORIENTATION))
    grid = images.spaced_grid(box, (spacing, spacing, spacing))
    identity = sitk.Transform(3, sitk.sitkIdentity)
    return Frame(
        grid,
        _sampled(still, grid, identity),
        _sampled(normalized(moving, masks[0]), grid, affine),
    )


def _sampled(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform) -> Tensor:
    new, old = grid.GetSpacing()[0], np.asarray(image.GetSpacing())
    if (old < 0.75 * new).any():
        sigma = np.where(old < 0.75 * new, ANTI_ALIAS * new, 0.0)
        image = sitk.DiscreteGaussian(image, (sigma**2).tolist())
    values = images.array(images.resample(image, grid, transform, order=1))
    return torch.from_numpy(values)[None, None]


def to_itk(displacement: Tensor, frame: sitk.Image, fixed: sitk.Image) -> sitk.Image:
    """A frame's displacement as a field on the fixed grid, mm in LPS, zero outside the frame.

    Args:
        displacement: (1, 3, Z, Y, X) in voxels, on any grid whose corners are the frame's.
        frame: grid of the frame.
        fixed: gives the grid of the result.
    """
    size = frame.GetSize()[::-1]
    values = _tapered(resize(displacement.cpu(), size)[0].numpy())
    # components z, y, x in voxels become x, y, z in mm along the axes, then along LPS
    along = np.moveaxis(values[::-1], 0, -1) * np.asarray(frame.GetSpacing())
    direction = np.asarray(frame.GetDirection(), dtype=np.float32).reshape(3, 3)
    vectors = np.ascontiguousarray(along.astype(np.float32) @ direction.T)
    field = sitk.GetImageFromArray(vectors, isVector=True)
    field.CopyInformation(frame)
    identity = sitk.Transform(3, sitk.sitkIdentity)
    whole = sitk.Resample(field, fixed, identity, sitk.sitkLinear, 0.0)
    return sitk.Cast(whole, sitk.sitkVectorFloat64)


def _tapered(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fields end at the rim of the frame, as they do at the rim of an image."""
    for axis in (1, 2, 3):
        n = values.shape[axis]
        from_rim = np.minimum(np.arange(n), np.arange(n)[::-1])
        ramp = np.clip(from_rim / RIM, 0.0, 1.0).astype(np.float32)
        shape = [1, 1, 1, 1]
        shape[axis] = n
        values = values * ramp.reshape(shape)
    return values
