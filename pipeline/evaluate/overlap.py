"""Overlap of two binary masks: counts of voxels, and what follows from them.

Edge cases: a ratio whose denominator is zero is undefined and comes as NaN. So both masks empty
gives NaN for Dice, F1, Jaccard, sensitivity and precision (nothing was to be found, nothing was);
an empty prediction of something gives Dice 0, sensitivity 0 and precision NaN; a prediction of
nothing real gives Dice 0, precision 0 and sensitivity NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Counts:
    """Voxels of a prediction against a reference."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int


def counts(predicted: Mask, reference: Mask) -> Counts:
    """Count the four cases.

    Args:
        predicted: mask of any shape.
        reference: mask of the same shape.

    Raises:
        ValueError: when the shapes differ.
    """
    if predicted.shape != reference.shape:
        raise ValueError(f"shapes {predicted.shape} and {reference.shape} differ")
    both = int(np.count_nonzero(predicted & reference))
    only_predicted = int(np.count_nonzero(predicted)) - both
    only_reference = int(np.count_nonzero(reference)) - both
    rest = int(predicted.size) - both - only_predicted - only_reference
    return Counts(both, only_predicted, only_reference, rest)


def overlap(predicted: Mask, reference: Mask, voxel_ml: float) -> dict[str, float]:
    """Every overlap measure of the registry (Taha & Hanbury 2015).

    ``f1``, the harmonic mean of precision and sensitivity, is 2 TP / (2 TP + FP + FN), which is
    Dice; both names are given, so that a reader finds the one that is looked for.

    Args:
        predicted: mask of any shape.
        reference: mask of the same shape.
        voxel_ml: volume of a voxel in millilitres.

    Returns:
        measure → value; NaN where the measure is undefined.
    """
    n = counts(predicted, reference)
    size_predicted = n.true_positive + n.false_positive
    size_reference = n.true_positive + n.false_negative
    excess = size_predicted - size_reference
    dice = _ratio(2 * n.true_positive, size_predicted + size_reference)
    return {
        "dice": dice,
        "f1": dice,
        "jaccard": _ratio(n.true_positive, size_predicted + n.false_negative),
        "sensitivity": _ratio(n.true_positive, size_reference),
        "specificity": _ratio(n.true_negative, n.true_negative + n.false_positive),
        "precision": _ratio(n.true_positive, size_predicted),
        "accuracy": _ratio(n.true_positive + n.true_negative, int(predicted.size)),
        "volume_error": excess * voxel_ml,
        "volume_error_percent": 100.0 * _ratio(excess, size_reference),
    }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
