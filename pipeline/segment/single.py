"""A single image given to the verb ``segment``: brain mask, bias field and scale on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from pipeline import config, images
from pipeline.segment.case import BRIGHTNESS

#: Share of the brain's median below which the rim of a skull-stripped image holds no signal.
EMPTY = 0.15


@dataclass(frozen=True)
class Subject:
    """One image made ready: axes near LPS, bias field corrected, with its brain mask."""

    image: sitk.Image
    mask: sitk.Image
    suffix: str
    stripped: bool


def ready(image: sitk.Image, name: str, params: Mapping[str, Any]) -> Subject:
    """Do for one image what the preprocess stage does for a subject.

    Args:
        image: whole head or skull-stripped.
        name: file name; its last part tells the contrast, T1w where it tells none.
        params: section ``segment``; the section ``preprocess`` is taken with its defaults.

    Raises:
        VoxelwayError: as preprocess, E-MASK-EMPTY without a plausible brain.
    """
    from pipeline.preprocess import stage as preprocess

    suffix = name.split(".")[0].split("_")[-1]
    suffix = suffix if suffix in BRIGHTNESS else "T1w"
    section = {**config.section("preprocess"), "seed": params.get("seed", 0)}
    prepared = preprocess.prepare(section, None)
    oriented = sitk.DICOMOrient(image, preprocess.ORIENTATION)
    brain = preprocess.find_brain(oriented, suffix, prepared, name)
    cleaned = preprocess.clean(oriented, brain.mask, suffix, section)
    mask = brain.mask != 0
    if brain.stripped:
        mask = without_rim(cleaned.image, mask)
    return Subject(cleaned.image, mask, suffix, brain.stripped)


def without_rim(image: sitk.Image, mask: sitk.Image) -> sitk.Image:
    """Peel off the rim that resampling left between brain and emptied background.

    It is darker than any fluid, and would pass for the tissue CSF. Dark voxels further inside stay.
    """
    values, inside = images.array(image), images.bool_array(mask)
    empty = inside & (values < EMPTY * float(np.median(values[inside])))
    rim = ndimage.binary_propagation(~inside, mask=~inside | empty)
    return images.like(inside & ~rim, mask)


def back(image: sitk.Image, reference: sitk.Image) -> sitk.Image:
    """Undo the reorientation: flips and permutations, so nearest neighbour is exact."""
    identity = sitk.Transform(3, sitk.sitkIdentity)
    return sitk.Resample(
        image, reference, identity, sitk.sitkNearestNeighbor, 0.0, image.GetPixelID()
    )
