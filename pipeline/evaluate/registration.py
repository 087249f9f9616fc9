"""Errors of transforms at points, and statistics of Jacobian determinants.

Points and displacements are in LPS millimetres, in the order x, y, z.
"""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

Points = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Measures of :func:`jacobian_statistics`.
JACOBIAN = ("folding", "sd_log_jacobian", "jacobian_min", "jacobian_mean", "jacobian_max")


def points_in(mask: sitk.Image) -> Points:
    """Physical positions of the voxels of a mask.

    Returns:
        (n, 3) in the order of :func:`numpy.argwhere` on the (z, y, x) array.
    """
    indices = np.argwhere(sitk.GetArrayViewFromImage(mask) != 0)[:, ::-1].astype(np.float64)
    direction = np.asarray(mask.GetDirection()).reshape(3, 3)
    steps: Points = indices * np.asarray(mask.GetSpacing())
    points: Points = steps @ direction.T + np.asarray(mask.GetOrigin())
    return points


def apply_linear(transform: sitk.Transform, points: Points) -> Points:
    """Map points by a linear transform (rigid, affine, or a composite of them), all at once.

    Raises:
        ValueError: when the transform is not linear.
    """
    if not transform.IsLinear():
        raise ValueError("the transform is not linear")
    origin = np.asarray(transform.TransformPoint((0.0, 0.0, 0.0)))
    axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    matrix = np.stack([np.asarray(transform.TransformPoint(axis)) - origin for axis in axes])
    mapped: Points = points @ matrix + origin
    return mapped


def apply_on_grid(transform: sitk.Transform, mask: sitk.Image) -> Points:
    """Map the voxels of a mask by any transform.

    Returns:
        (n, 3): where the points of :func:`points_in` go.
    """
    field = sitk.TransformToDisplacementField(
        transform,
        sitk.sitkVectorFloat64,
        mask.GetSize(),
        mask.GetOrigin(),
        mask.GetSpacing(),
        mask.GetDirection(),
    )
    inside = sitk.GetArrayViewFromImage(mask) != 0
    mapped: Points = points_in(mask) + sitk.GetArrayViewFromImage(field)[inside]
    return mapped


def distances(estimated: Points, true: Points) -> NDArray[np.float64]:
    """Euclidean distance of each pair of points, mm (Fitzpatrick & West 2001)."""
    if estimated.shape != true.shape:
        raise ValueError(f"shapes {estimated.shape} and {true.shape} differ")
    result: NDArray[np.float64] = np.linalg.norm(estimated - true, axis=-1)
    return result


def target_registration_error(estimated: Points, true: Points) -> dict[str, float]:
    """Mean and 95th percentile of the distances in mm; NaN without points."""
    errors = distances(estimated, true)
    if errors.size == 0:
        return {"tre": math.nan, "tre_p95": math.nan}
    return {"tre": float(errors.mean()), "tre_p95": float(np.percentile(errors, 95))}


def jacobian_statistics(jacobian: NDArray[np.floating], mask: Mask) -> dict[str, float]:
    """Share of non-positive determinants in %, spread of the log of the others, and the range.

    Args:
        jacobian: determinants, (z, y, x).
        mask: voxels to look at; without any, every value is NaN.
    """
    values = jacobian[mask].astype(np.float64)
    if values.size == 0:
        return dict.fromkeys(JACOBIAN, math.nan)
    positive = values[values > 0]
    spread = float(np.log(positive).std()) if positive.size else math.nan
    return {
        "folding": 100.0 * (values.size - positive.size) / values.size,
        "sd_log_jacobian": spread,
        "jacobian_min": float(values.min()),
        "jacobian_mean": float(values.mean()),
        "jacobian_max": float(values.max()),
    }


def labels_at(labels: sitk.Image, points: Points) -> NDArray[np.integer]:
    """Labels at physical points, nearest neighbour; 0 outside the image.

    Args:
        labels: label image.
        points: (n, 3), x, y, z in mm.

    Returns:
        (n,).
    """
    direction = np.asarray(labels.GetDirection()).reshape(3, 3)
    steps = (points - np.asarray(labels.GetOrigin())) @ np.linalg.inv(direction).T
    indices = np.rint(steps / np.asarray(labels.GetSpacing())).astype(np.int64)
    inside = ((indices >= 0) & (indices < np.asarray(labels.GetSize()))).all(axis=1)
    values = sitk.GetArrayViewFromImage(labels)
    found: NDArray[np.integer] = np.zeros(len(points), dtype=values.dtype)
    x, y, z = indices[inside].T
    found[inside] = values[z, y, x]
    return found
