"""What a registration is worth: labels, known fields, regularity; one code for all methods."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from pipeline import images
from pipeline.evaluate import registration
from pipeline.evaluate.overlap import overlap
from pipeline.evaluate.surface import surface_measures
from pipeline.register import metrics
from pipeline.register.fields import Registration, forward_transform, jacobian

Labels = NDArray[np.integer]

#: Of the surface Dice, which this table does not show, mm.
TOLERANCE = 1.0


def label_scores(
    moved: Labels, fixed: Labels, wanted: list[int], spacing: tuple[float, ...]
) -> dict[int, dict[str, float]]:
    """Dice and 95th percentile of the Hausdorff distance of each label.

    Args:
        moved: moving labels on the fixed grid, (z, y, x).
        fixed: labels of the fixed image.
        wanted: labels that both images have before registration.
        spacing: mm along z, y, x.

    Returns:
        label → ``dice`` and ``hd95_mm``; 0 and NaN for a label that was lost.
    """
    boxes = [ndimage.find_objects(labels) for labels in (moved, fixed)]
    result = {}
    for label in wanted:
        found = [box[label - 1] for box in boxes if label <= len(box) and box[label - 1]]
        box = tuple(
            slice(min(part[axis].start for part in found), max(part[axis].stop for part in found))
            for axis in range(3)
        )
        pair = moved[box] == label, fixed[box] == label
        result[label] = {
            "dice": overlap(*pair, voxel_ml=1.0)["dice"],
            "hd95_mm": surface_measures(*pair, spacing, TOLERANCE)["hd95"],
        }
    return result


def label_means(found: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Means over labels; a distance that is not defined is left out."""
    distances = [score["hd95_mm"] for score in found.values() if math.isfinite(score["hd95_mm"])]
    return {
        "dice": float(np.mean([score["dice"] for score in found.values()])),
        "hd95_mm": float(np.mean(distances)) if distances else math.nan,
    }


def shared_labels(moving: sitk.Image, fixed: sitk.Image) -> list[int]:
    """Labels above zero that two label images have in common."""
    present = [set(np.unique(sitk.GetArrayViewFromImage(i)).tolist()) for i in (moving, fixed)]
    return sorted((present[0] & present[1]) - {0})


def overlap_scores(
    found: Registration, moving_labels: sitk.Image, fixed_labels: sitk.Image
) -> dict[int, dict[str, float]]:
    """Scores of each moving label, resampled once by affine and warp, nearest neighbour."""
    moved = images.resample(moving_labels, fixed_labels, forward_transform(found), labels=True)
    arrays = [sitk.GetArrayFromImage(image).astype(np.int32) for image in (moved, fixed_labels)]
    wanted = shared_labels(moving_labels, fixed_labels)
    return label_scores(arrays[0], arrays[1], wanted, fixed_labels.GetSpacing()[::-1])


def field_error(found: Registration, truth: sitk.Image, mask: sitk.Image) -> float:
    """Mean target registration error over a mask, mm.

    Args:
        found: the registration.
        truth: displacement from fixed to moving points in mm, affine part and all, on any grid.
        mask: brain on the fixed grid.
    """
    field = sitk.Resample(
        sitk.Cast(truth, sitk.sitkVectorFloat64), mask, sitk.Transform(), sitk.sitkLinear
    )
    inside = images.bool_array(mask)
    true = registration.points_in(mask) + sitk.GetArrayViewFromImage(field)[inside]
    mapped = registration.apply_on_grid(forward_transform(found), mask)
    return registration.target_registration_error(mapped, true)["tre"]


def regularity_scores(
    found: Registration, mask: sitk.Image, has_inverse: bool
) -> dict[str, float | None]:
    """Folds, spread of the Jacobian and inverse consistency over a mask."""
    inside = images.bool_array(mask)
    numbers = metrics.regularity(images.array(jacobian(found.warp)), inside)
    error = float(metrics.inverse_consistency(found, inside).mean()) if has_inverse else None
    return {
        "folded_share": numbers["folded_share"],
        "log_jacobian_sd": numbers["log_jacobian_sd"],
        "inverse_consistency_mm": error,
    }
