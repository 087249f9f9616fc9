"""Distances between the surfaces of two binary masks, in millimetres, by distance transforms.

The surface of a mask is its voxels with a face towards the outside; the border of the image counts
as outside. Distances run between the centres of surface voxels. Where either mask is empty there is
no surface and every distance is NaN; the share of near surfaces is 0 then, NaN if both are empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Distances = NDArray[np.float64]

#: Measures in millimetres, which need both surfaces.
DISTANCES = ("hd", "hd95", "asd", "asd_to_reference", "asd_to_prediction", "mhd")


def surface_voxels(mask: Mask) -> Mask:
    """Voxels of the mask that share a face with the outside."""
    inner: Mask = ndimage.binary_erosion(mask)
    return mask & ~inner


def surface_distances(
    predicted: Mask, reference: Mask, spacing: Sequence[float]
) -> tuple[Distances, Distances]:
    """Distances of each surface voxel of one mask to the surface of the other.

    Args:
        predicted: mask, any number of axes.
        reference: mask of the same shape.
        spacing: mm along each axis of the array, in the array's order.

    Returns:
        From the prediction to the reference, and from the reference to the prediction, in mm;
        both empty where either mask is.
    """
    if predicted.shape != reference.shape:
        raise ValueError(f"shapes {predicted.shape} and {reference.shape} differ")
    if not predicted.any() or not reference.any():
        return np.empty(0), np.empty(0)
    box = _box(predicted | reference)
    edges_predicted = surface_voxels(predicted[box])
    edges_reference = surface_voxels(reference[box])
    to_reference = ndimage.distance_transform_edt(~edges_reference, sampling=spacing)
    to_predicted = ndimage.distance_transform_edt(~edges_predicted, sampling=spacing)
    return to_reference[edges_predicted], to_predicted[edges_reference]


def surface_measures(
    predicted: Mask, reference: Mask, spacing: Sequence[float], tolerance: float
) -> dict[str, float]:
    """Every surface measure of the registry.

    ``hd95`` is the larger of the two directed percentiles, as in MONAI (Huttenlocher et al. 1993
    for the distance itself); ``asd`` averages over the surface voxels of both masks (Heimann et
    al. 2009), ``asd_to_reference`` and ``asd_to_prediction`` over those of one; ``mhd`` is the
    larger of these two (Dubuisson & Jain 1994, doi:10.1109/ICPR.1994.576361). ``surface_dice``
    counts the surface voxels of both masks that are within the tolerance of the other's surface
    (Nikolov et al. 2021, doi:10.2196/26151, with voxels in place of surface elements).

    Args:
        predicted: mask.
        reference: mask of the same shape.
        spacing: mm along each axis of the array, in the array's order.
        tolerance: mm, that of the surface Dice.
    """
    there, back = surface_distances(predicted, reference, spacing)
    if there.size == 0:
        shared = 0.0 if predicted.any() or reference.any() else math.nan
        return {**dict.fromkeys(DISTANCES, math.nan), "surface_dice": shared}
    count = there.size + back.size
    # a distance that is the tolerance up to rounding is within it
    limit = tolerance * (1 + 1e-9)
    near = np.count_nonzero(there <= limit) + np.count_nonzero(back <= limit)
    forth, home = float(there.mean()), float(back.mean())
    return {
        "hd": float(max(there.max(), back.max())),
        "hd95": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "asd": float((there.sum() + back.sum()) / count),
        "asd_to_reference": forth,
        "asd_to_prediction": home,
        "mhd": max(forth, home),
        "surface_dice": near / count,
    }


def _box(mask: Mask) -> tuple[slice, ...]:
    """Bounding box; the surfaces lie inside it, so the distances do not change."""
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(found)
