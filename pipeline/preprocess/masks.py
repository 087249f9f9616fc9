"""Which voxels are brain, and which are head: what surrounds the mask methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from pipeline import images
from pipeline.errors import VoxelwayError

#: An image with this share of exact zeros may be skull-stripped.
ZERO_SHARE = 0.15
#: Dice of the non-zero region with the method's mask that shows that there is no scalp.
STRIPPED_DICE = 0.85

MaskMethod = Callable[[sitk.Image], sitk.Image]


@dataclass(frozen=True)
class Brain:
    """A brain mask and how it came about."""

    mask: sitk.Image
    method: str
    stripped: bool

    @property
    def millilitres(self) -> float:
        """Volume of the mask."""
        voxels = np.count_nonzero(sitk.GetArrayViewFromImage(self.mask))
        return float(voxels * np.prod(self.mask.GetSpacing()) / 1000.0)


def find_brain(image: sitk.Image, name: str, method: MaskMethod) -> Brain:
    """Brain mask of an image, whole head or skull-stripped.

    An image is taken as skull-stripped when its background is exactly zero and the method, which
    looks for the brain inside, finds nearly all of what is not zero. A whole head with an emptied
    background is more than twice as large as its brain.

    Args:
        image: float32.
        name: name of the method, for the sidecar.
        method: gives the mask of a whole head.
    """
    found = images.bool_array(method(image))
    region = nonzero_region(image)
    if region is not None and dice(found, region) >= STRIPPED_DICE:
        return Brain(images.like(region, image), "non-zero region", stripped=True)
    return Brain(images.like(found, image), name, stripped=False)


def nonzero_region(image: sitk.Image) -> NDArray[np.bool_] | None:
    """Largest part that is not exactly zero, holes filled; None without an emptied background."""
    zero = images.array(image) == 0
    if zero.mean() < ZERO_SHARE:
        return None
    labels, count = ndimage.label(~zero)
    if count == 0:
        return None
    largest = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(labels == largest)
    return filled


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Dice overlap of two boolean arrays; 0 when both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 0.0


def check_volume(brain: Brain, limits: tuple[float, float], where: str) -> None:
    """Refuse a brain that can't be one.

    Raises:
        VoxelwayError: E-MASK-EMPTY with the volume.
    """
    volume = brain.millilitres
    if limits[0] <= volume <= limits[1]:
        return
    what = (
        f"The brain mask ({brain.method}) holds {volume:.0f} ml, "
        f"plausible are {limits[0]:.0f} to {limits[1]:.0f} ml"
    )
    hint = "Look whether the image shows a whole head; preprocess.method and brain_ml set the rest"
    raise VoxelwayError("E-MASK-EMPTY", what, where=where, hint=hint)


def carry(mask: sitk.Image, image: sitk.Image, to_mask: sitk.Transform) -> sitk.Image:
    """Bring a mask onto the lattice of another image of the same head.

    Args:
        mask: uint8.
        image: gives the lattice.
        to_mask: maps points of ``image`` to points of ``mask``.
    """
    # linear interpolation at 0.5 keeps the surface between thick slices smooth
    soft = sitk.Resample(
        sitk.Cast(mask, sitk.sitkFloat32), image, to_mask, sitk.sitkLinear, 0.0, sitk.sitkFloat32
    )
    return sitk.Cast(soft >= 0.5, sitk.sitkUInt8)
