"""What the regression sees of an image: intensities at fixed offsets in mm around a point.

Offsets are in patient space, so that one model serves grids of any voxel size and direction.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from pipeline import images
from pipeline.errors import VoxelwayError

Floats = NDArray[np.float32]
Points = NDArray[np.float64]

#: The outer six points of a patch lie this many steps away.
FAR = 3.0


def offsets(step: float) -> Points:
    """Offsets of a patch in mm (LPS): a 3x3x3 block and six points further out; shape (33, 3)."""
    block = list(itertools.product((-1.0, 0.0, 1.0), repeat=3))
    far = [tuple(sign * FAR * (i == axis) for i in range(3)) for axis in range(3)
           for sign in (-1.0, 1.0)]  # fmt: skip
    return np.asarray(block + far) * step


def voxel_points(image: sitk.Image, inside: NDArray[np.bool_]) -> Points:
    """Physical points (LPS, mm) of the voxels in ``inside`` (z, y, x); shape (n, 3)."""
    index = np.argwhere(inside)[:, ::-1] * np.asarray(image.GetSpacing())
    direction = np.asarray(image.GetDirection()).reshape(3, 3)
    return np.asarray(np.asarray(image.GetOrigin()) + index @ direction.T)


def sample(image: sitk.Image, points: Points) -> Floats:
    """Linear interpolation at physical points; zero outside the image."""
    direction = np.asarray(image.GetDirection()).reshape(3, 3)
    index = (points - np.asarray(image.GetOrigin())) @ direction / np.asarray(image.GetSpacing())
    values = sitk.GetArrayViewFromImage(image)
    found: Floats = ndimage.map_coordinates(
        values, index[:, ::-1].T, order=1, mode="constant", output=np.float32
    )
    return found


def features(sources: Sequence[sitk.Image], points: Points, step: float) -> Floats:
    """Patches of all sources at points; shape (n, 33 * sources), source by source."""
    columns = [sample(image, points + offset) for image in sources for offset in offsets(step)]
    return np.stack(columns, axis=1)


def grown(mask: sitk.Image, margin: float) -> sitk.Image:
    """The mask and a rim of ``margin`` mm around it, uint8."""
    inside = images.bool_array(mask)
    distance = ndimage.distance_transform_edt(~inside, sampling=mask.GetSpacing()[::-1])
    return images.like(np.asarray(distance <= margin), mask)


def level(image: sitk.Image, mask: sitk.Image, where: str) -> float:
    """Median over the brain: the unit in which the regression counts intensities.

    The median lies between grey and white matter; unlike a high percentile it does not move with
    lesions or fluid.

    Raises:
        VoxelwayError: E-SIGNAL when it is not positive.
    """
    median = float(np.median(images.array(image)[images.bool_array(mask)]))
    if not median > 0:
        hint = "The image may be inverted, or the brain mask beside the brain"
        raise VoxelwayError("E-SIGNAL", f"The brain's median is {median:g}", where=where, hint=hint)
    return median


def ready(image: sitk.Image, mask: sitk.Image, rim: sitk.Image, where: str) -> sitk.Image:
    """A source in units of its brain's median, zero outside the rim."""
    values = images.array(image) / level(image, mask, where)
    return images.like(np.where(images.bool_array(rim), values, 0.0).astype(np.float32), image)
