"""Whether a network's probabilities are what they say: how far off they are, and the remedy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

#: Temperatures that are looked at.
COOLEST, HOTTEST = 0.05, 20.0


def ece(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error of the most probable class.

    Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602; bins of equal width, as in Guo et al. 2017,
    doi:10.48550/arXiv.1706.04599. Over the voxels of an image the background rules it: give the
    voxels near the structures only.

    Args:
        probabilities: (C, N…), the classes sum to 1.
        labels: (N…), the true class of each voxel, 0..C-1.
        bins: of the confidence.

    Returns:
        Mean over the voxels of |confidence - share that is right|, taken bin by bin; 0..1.

    Raises:
        ValueError: when the shapes differ or nothing is given.
    """
    shares, truth = _flat(probabilities, labels)
    confidence = shares.max(axis=0)
    right = shares.argmax(axis=0) == truth
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(place, confidence - right, minlength=bins)
    return float(np.abs(gap).sum() / truth.size)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Temperature that makes the logits of validation cases least surprised by their labels.

    Args:
        logits: (C, N…).
        labels: (N…), the true class, 0..C-1.

    Returns:
        T of softmax(logits / T), between :data:`COOLEST` and :data:`HOTTEST`.

    Raises:
        ValueError: when the shapes differ or nothing is given.
    """
    values, truth = _flat(logits, labels)
    own = np.take_along_axis(values, truth[np.newaxis], axis=0)[0]
    behind = values - own

    def surprise(log_temperature: float) -> float:
        scaled = behind / math.exp(log_temperature)
        top = scaled.max(axis=0)
        return float(np.mean(top + np.log(np.exp(scaled - top).sum(axis=0))))

    bounds = (math.log(COOLEST), math.log(HOTTEST))
    found = minimize_scalar(surprise, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return float(math.exp(found.x))


def interval_factor(
    volumes: Sequence[float], truths: Sequence[float], halves: Sequence[float], level: float = 0.95
) -> float:
    """What the halves of volume intervals are multiplied by so that they hold the truth.

    The quantile of split conformal prediction (Lei et al. 2018, doi:10.1080/01621459.2017.1307116).

    Args:
        volumes: estimated, of validation cases and structures.
        truths: their true volumes.
        halves: half widths of the intervals before, above 0 each.
        level: share of the truths that shall lie inside.

    Raises:
        ValueError: for no case, or lists of different lengths.
    """
    if not len(volumes) == len(truths) == len(halves) or not len(volumes):
        raise ValueError("volumes, truths and halves have one number a case each")
    off = np.abs(np.subtract(volumes, truths)) / np.asarray(halves, np.float64)
    rank = min(math.ceil((off.size + 1) * level), off.size)
    return float(np.sort(off)[rank - 1])


def _flat(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    values, truth = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    if not truth.size or values.shape[1:] != truth.shape:
        raise ValueError(f"classes of {truth.shape} voxels are needed, not {values.shape}")
    return values.reshape(len(values), -1), truth.ravel()
