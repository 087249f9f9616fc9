"""Detection of lesions one by one: a large one can hide in the overlap that small ones are missed.

A lesion is a connected component of a mask, voxels that share a corner being connected (26
neighbours). A lesion of the reference is found when the prediction has at least one of its voxels,
and at least ``min_overlap`` of them as a share; a lesion of the prediction is true by the same rule
the other way round. So two lesions that touch one large prediction are both found, and sizes,
spacing and the number of parts that a lesion was found in do not matter.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]

CONNECTED = np.ones((3, 3, 3), dtype=np.bool_)


def detection(predicted: Mask, reference: Mask, min_overlap: float) -> dict[str, float]:
    """Every detection measure of the registry (Carass et al. 2017, Kuijf et al. 2019).

    Args:
        predicted: mask (z, y, x).
        reference: mask of the same shape.
        min_overlap: share of a lesion's voxels that the other mask must have, 0..1; with 0 one
            voxel is enough.

    Returns:
        measure → value. Sensitivity is NaN without lesions in the reference, precision without
        lesions in the prediction; F1 is NaN without any, and 0 where only one mask has some.
    """
    if predicted.shape != reference.shape:
        raise ValueError(f"shapes {predicted.shape} and {reference.shape} differ")
    present, found = _met(reference, predicted, min_overlap)
    claimed, true = _met(predicted, reference, min_overlap)
    sensitivity = found / present if present else math.nan
    precision = true / claimed if claimed else math.nan
    return {
        "lesion_sensitivity": sensitivity,
        "lesion_precision": precision,
        "lesion_f1": _f1(sensitivity, precision),
        "lesions_missed": float(present - found),
        "lesions_false": float(claimed - true),
    }


def _met(mask: Mask, other: Mask, min_overlap: float) -> tuple[int, int]:
    """Number of lesions of ``mask``, and how many of them ``other`` meets."""
    parts, count = ndimage.label(mask, CONNECTED)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    shared = np.bincount(parts[other], minlength=count + 1)[1:]
    return int(count), int(np.count_nonzero((shared > 0) & (shared >= min_overlap * sizes)))


def _f1(sensitivity: float, precision: float) -> float:
    if math.isnan(sensitivity) and math.isnan(precision):
        return math.nan
    if math.isnan(sensitivity) or math.isnan(precision) or sensitivity + precision == 0:
        return 0.0
    return 2 * sensitivity * precision / (sensitivity + precision)
