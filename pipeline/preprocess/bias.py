"""Bias field correction by N4 (Tustison et al. 2010, IEEE TMI 29(6))."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import images


@dataclass(frozen=True)
class Corrected:
    """A corrected image and its field: ``image = input / field``; the field has no unit."""

    image: sitk.Image
    field: sitk.Image


def shrink_factors(image: sitk.Image, spacing: float) -> list[int]:
    """Whole shrink factors an axis that come near ``spacing`` mm; thick slices stay as they are."""
    wanted = np.round(spacing / np.asarray(image.GetSpacing())).astype(int)
    # at least eight voxels a side have to remain for the field to be seen
    most = np.maximum(1, np.asarray(image.GetSize()) // 8)
    return [int(n) for n in np.clip(wanted, 1, most)]


def control_points(image: sitk.Image, distance: float) -> list[int]:
    """Control points an axis of a cubic B-spline with knots ``distance`` mm apart."""
    extent = np.asarray(image.GetSize()) * np.asarray(image.GetSpacing())
    return [int(n) + 3 for n in np.maximum(1, np.ceil(extent / distance))]


def correct(image: sitk.Image, mask: sitk.Image, params: Mapping[str, Any]) -> Corrected:
    """Estimate the field inside ``mask`` on a coarse lattice, apply it at full resolution.

    Args:
        image: float32, any lattice.
        mask: where the field is estimated (the brain), same lattice.
        params: the section ``bias`` of the configuration.
    """
    # the logarithm needs positive values; N4 takes 1 for what is below, whatever the scale
    scale = 1000.0 / max(
        float(np.percentile(images.array(image)[images.bool_array(mask)], 99)), 1e-6
    )
    scaled = sitk.Cast(image * scale, sitk.sitkFloat32)
    factors = shrink_factors(image, float(params["spacing"]))
    coarse = sitk.Shrink(scaled, factors)
    inside = sitk.And(sitk.Shrink(sitk.Cast(mask != 0, sitk.sitkUInt8), factors), coarse > 1.0)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([int(params["iterations"])] * int(params["levels"]))
    n4.SetNumberOfControlPoints(control_points(image, float(params["distance"])))
    n4.SetBiasFieldFullWidthAtHalfMaximum(float(params["fwhm"]))
    n4.Execute(coarse, inside)
    log_field = images.array(n4.GetLogBiasFieldAsImage(image))
    # the field says where it is brighter, not how bright: its mean in the brain is one
    log_field -= float(log_field[images.bool_array(mask)].mean())
    field = np.exp(np.clip(log_field, -2.0, 2.0))
    corrected = images.like((images.array(image) / field).astype(np.float32), image)
    return Corrected(corrected, images.like(field.astype(np.float32), image))
