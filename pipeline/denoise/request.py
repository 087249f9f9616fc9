"""What a denoising method is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from pipeline import images
from pipeline.denoise.noise import Noise, around


@dataclass(frozen=True)
class Request:
    """One image to denoise.

    Attributes:
        image: float32.
        mask: brain or foreground on the same lattice; outside, the result may be less careful.
        noise: its noise.
        strength: factor on the noise level, above 0.
        seed: for methods that draw random numbers.
        field: local level over the level of the whole, (z, y, x); None where the noise is even.
    """

    image: sitk.Image
    mask: sitk.Image
    noise: Noise
    strength: float
    seed: int = 0
    field: NDArray[np.float32] | None = None


Box = tuple[slice, ...]
Method = Callable[[Request], sitk.Image]
#: Voxels around what an image holds that are worked on, too.
RIM = 8


def in_content(
    request: Request, work: Callable[[NDArray[np.float32], Box], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """The image with what is made of the box of its content, (z, y, x).

    Args:
        request: of the image.
        work: values in the box and the box → what takes their place.
    """
    values = images.array(request.image)
    box = around(values != 0, RIM)
    result = values.copy()
    result[box] = work(values[box], box)
    # an emptied background is no measurement: it stays empty
    result[ndimage.binary_opening(values == 0, np.ones((3, 3, 3), dtype=bool))] = 0.0
    return result


def voxel_units(image: sitk.Image) -> sitk.Image:
    """Copy whose finest spacing is 1, so that a method's lengths are in voxels.

    Thick slices keep their larger spacing and are smoothed less across.
    """
    copy = sitk.Image(image)
    finest = min(image.GetSpacing())
    copy.SetSpacing([spacing / finest for spacing in image.GetSpacing()])
    return copy


def restore_geometry(image: sitk.Image, reference: sitk.Image) -> sitk.Image:
    """Give an image the lattice of ``reference`` back."""
    image.CopyInformation(reference)
    return sitk.Cast(image, sitk.sitkFloat32)
