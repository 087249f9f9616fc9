"""Takes the face out of converted images, before anything of them is written.

The brain is found on one image of a session; the others are aligned to it, so that all are cut at
the same place. An image whose brain can't be found is refused and not written: what was asked to
have no face never gets one.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import config
from pipeline.errors import VoxelwayError
from pipeline.methods import create
from pipeline.preprocess import alignment, masks

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Head:
    """The image of a session that the brain was found on: float32, and a mask on its lattice."""

    suffix: str
    image: sitk.Image
    brain: sitk.Image


@dataclass(frozen=True)
class Removed:
    """What is removed: bool (z, y, x), and entries of the sidecar."""

    voxels: NDArray[np.bool_]
    facts: dict[str, Any]


#: What to remove of an image: the head, the image, and what maps the image's points to the head's.
Method = Callable[[Head, sitk.Image, sitk.Transform], Removed]


class Defacer:
    """Defaces the images of sessions by one method.

    Args:
        params: the section ``ingest`` of the configuration, and ``seed``.
        method: tells what to remove.
    """

    def __init__(self, params: Mapping[str, Any], method: Method) -> None:
        self.params = params
        self.method = method
        self.common = config.section("preprocess")

    @cached_property
    def _mask_method(self) -> masks.MaskMethod:
        found: masks.MaskMethod = create("preprocess", "deepbet", self.common)
        return found

    def order(self, suffixes: list[str]) -> list[str]:
        """Contrasts in the order in which the brain is looked for."""
        preference: list[str] = self.common["anchor"]
        known = [suffix for suffix in preference if suffix in suffixes]
        return known + sorted(set(suffixes) - set(known))

    def find_head(self, suffix: str, nifti: bytearray) -> Head | None:
        """The brain of the first image of a session; None where there is no scalp to remove.

        Args:
            suffix: of the image.
            nifti: an uncompressed NIfTI-1 file of three dimensions.

        Raises:
            VoxelwayError: E-MASK-EMPTY when no plausible brain is found.
        """
        image = _image(nifti)
        brain = masks.find_brain(image, "deepbet", self._mask_method)
        low, high = self.common["brain_ml"]
        masks.check_volume(brain, (float(low), float(high)), suffix)
        return None if brain.stripped else Head(suffix, image, brain.mask)

    def deface(self, head: Head, suffix: str, nifti: bytearray) -> dict[str, Any]:
        """Remove the face from an image, in place.

        Args:
            head: of the session.
            suffix: of the image.
            nifti: an uncompressed NIfTI-1 file of three dimensions.

        Returns:
            Entries of the sidecar.

        Raises:
            VoxelwayError: E-OVERLAP when the image shows another part of the body.
        """
        image = head.image if suffix == head.suffix else _image(nifti)
        to_head = self._to_head(head, suffix, image)
        removed = self.method(head, image, to_head)
        _erase(nifti, removed.voxels)
        return {
            "Defaced": True,
            "DefaceMethod": self.params["deface"]["method"],
            "DefaceReference": head.suffix,
            "DefaceShare": round(float(removed.voxels.mean()), 4),
            **removed.facts,
        }

    def _to_head(self, head: Head, suffix: str, image: sitk.Image) -> sitk.Transform:
        if suffix == head.suffix:
            return sitk.Transform(3, sitk.sitkIdentity)
        options, seed = self.common["alignment"], int(self.params.get("seed", 0))
        found = alignment.align(
            head.image, head.brain, image, options, seed=seed, where=f"{suffix} while defacing"
        )
        if found.similarity < float(options["min_similarity"]):
            # the scanner's geometry is nearer to the truth than a match that is none
            return sitk.Transform(3, sitk.sitkIdentity)
        return alignment.inverse(found.transform)


def _image(nifti: bytearray) -> sitk.Image:
    """The voxels of a file as float32 in LPS space."""
    found = nib.Nifti1Image.from_bytes(bytes(nifti))
    if len(found.shape) != 3:
        what = f"An image of {len(found.shape)} dimensions can't be defaced"
        raise VoxelwayError("E-IMG-4D", what)
    image = sitk.GetImageFromArray(np.asarray(found.dataobj, dtype=np.float32).T)
    affine = _LPS @ found.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing([float(value) for value in spacing])
    image.SetDirection([float(value) for value in (affine[:3, :3] / spacing).ravel()])
    image.SetOrigin([float(value) for value in affine[:3, 3]])
    return image


def _erase(nifti: bytearray, removed: NDArray[np.bool_]) -> None:
    """Set voxels to the image's background, air: zero, or the least value where that is lower."""
    header = nib.Nifti1Header.from_fileobj(io.BytesIO(bytes(nifti[:348])))
    values = np.frombuffer(
        nifti, dtype=header.get_data_dtype(), count=removed.size, offset=int(header["vox_offset"])
    ).reshape(removed.shape)
    values[removed] = min(values.min(), values.dtype.type(0))
