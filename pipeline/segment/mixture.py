"""Gaussian mixture with partial volume, spatial priors and a Markov random field, fitted by EM.

The model is that of unified segmentation (Ashburner and Friston, NeuroImage 26:839, 2005: tissue
priors with re-estimated proportions) with the mean-field Markov random field of Van Leemput et al.
(IEEE TMI 18:897, 1999), their robust estimation, in which voxels that no tissue explains, such as
lesions, weigh less (IEEE TMI 20:677, 2001), and their partial volume (IEEE TMI 22:105, 2003):
voxels that hold two tissues have the mixed mean, and belong to the tissue they hold more of.
Without the mixed voxels the wide Gaussian of CSF would take the outer half of the cortex.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

#: Pairs of tissues that share voxels, by their place in the order of the priors.
PAIRS = ((0, 1), (1, 2), (0, 2))


@dataclass(frozen=True)
class Settings:
    """Settings of the fit.

    Attributes:
        iterations: most EM iterations.
        tolerance: the fit ends when the mean log-likelihood rises by less.
        mrf: strength of the neighbourhood per face neighbour, in log-probability.
        outlier: Mahalanobis distance, in standard deviations, beyond which a voxel loses weight.
        floor: least prior probability of a tissue anywhere in the mask.
        mixed: shares of the first tissue in a mixed voxel; none leaves partial volume out.
    """

    iterations: int = 30
    tolerance: float = 1e-4
    mrf: float = 0.1
    outlier: float = 3.0
    floor: float = 0.01
    mixed: tuple[float, ...] = (0.8, 0.6, 0.4, 0.2)


@dataclass(frozen=True)
class _Component:
    """One Gaussian: its group (a pure tissue, or a pair), its tissue, its mixture of tissues."""

    group: int
    tissue: int
    parts: tuple[tuple[int, float], ...]
    weight: float


@dataclass
class _State:
    means: NDArray[np.float64]  # (tissues, channels)
    covariances: NDArray[np.float64]  # (tissues, channels, channels)
    proportions: NDArray[np.float64]  # (groups,)


def fit(
    data: Floats,
    prior: Floats,
    mask: Bools,
    spacing: Sequence[float],
    settings: Settings,
    start: Floats | None = None,
) -> Floats:
    """Posterior probability of each tissue.

    Args:
        data: (voxels, channels), intensities inside the mask.
        prior: (voxels, tissues), need not be normalised.
        mask: (z, y, x) with ``voxels`` true entries.
        spacing: mm along x, y, z.
        settings: see :class:`Settings`.
        start: (voxels, tissues) posteriors to begin with; the prior when None.

    Returns:
        (voxels, tissues), float32, rows sum to 1.
    """
    tissues = prior.shape[1]
    prior = _normalised(prior, settings.floor)
    components = _components(tissues, settings.mixed)
    groups = _groups(prior, settings.mixed)
    posterior = prior if start is None else _normalised(start, settings.floor)
    ridge = 1e-4 * np.diag(np.var(data, axis=0, dtype=np.float64) + 1e-12)
    moments = [_moments(data, posterior[:, k], ridge) for k in range(tissues)]
    state = _State(
        np.array([mean for mean, _ in moments]),
        np.array([covariance for _, covariance in moments]),
        np.full(groups.shape[1], 1.0 / groups.shape[1]),
    )
    before = -np.inf
    for _ in range(settings.iterations):
        bonus = _support(posterior, mask, spacing, settings.mrf)
        posterior, gain = _step(data, groups, bonus, components, state, settings.outlier, ridge)
        if abs(gain - before) < settings.tolerance:
            break
        before = gain
    return posterior


def _normalised(values: Floats, floor: float) -> Floats:
    total = values.sum(axis=1, keepdims=True)
    classes = values.shape[1]
    even = np.float32(1.0 / classes)
    share = np.where(total > 1e-6, values / np.maximum(total, 1e-6), even)
    return np.asarray((1.0 - floor * classes) * share + floor, dtype=np.float32)


def _components(tissues: int, mixed: tuple[float, ...]) -> list[_Component]:
    found = [_Component(k, k, ((k, 1.0),), 1.0) for k in range(tissues)]
    if not mixed:
        return found
    for number, (a, b) in enumerate(PAIRS):
        for share in mixed:
            parts = ((a, share), (b, 1.0 - share))
            tissue = a if share > 0.5 else b
            found.append(_Component(tissues + number, tissue, parts, 1.0 / len(mixed)))
    return found


def _groups(prior: Floats, mixed: tuple[float, ...]) -> Floats:
    """Prior of each pure tissue and of each pair: two tissues mix where both are expected."""
    pairs = [prior[:, a] * prior[:, b] for a, b in PAIRS] if mixed else []
    return np.stack([*prior.T, *pairs], axis=1)


def _moments(
    data: Floats, weight: Floats, ridge: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    total = float(weight.sum(dtype=np.float64)) + 1e-9
    mean = (weight @ data).astype(np.float64) / total
    centred = data - mean.astype(np.float32)
    covariance = ((centred * weight[:, None]).T @ centred).astype(np.float64) / total
    return mean, covariance + ridge


def _step(
    data: Floats,
    groups: Floats,
    bonus: Floats,
    components: Sequence[_Component],
    state: _State,
    outlier: float,
    ridge: NDArray[np.float64],
) -> tuple[Floats, float]:
    """One E and one M step; gives the posteriors of the tissues and the mean log-likelihood."""
    joint = np.empty((len(data), len(components)), np.float32)
    likely = np.empty((len(data), len(state.means)), np.float32)
    for index, part in enumerate(components):
        density, shape = _density(data, part, state)
        factor = np.float32(state.proportions[part.group] * part.weight)
        joint[:, index] = groups[:, part.group] * bonus[:, part.tissue] * density * factor
        if len(part.parts) == 1:
            likely[:, part.tissue] = shape / (shape + np.float32(np.exp(-0.5 * outlier**2)))
    total = joint.sum(axis=1, keepdims=True) + np.float32(1e-30)
    joint /= total
    _update(data, groups, components, state, joint, likely, ridge)
    posterior = np.zeros((len(data), len(state.means)), np.float32)
    for index, part in enumerate(components):
        posterior[:, part.tissue] += joint[:, index]
    posterior /= posterior.sum(axis=1, keepdims=True)
    return posterior, float(np.mean(np.log(total), dtype=np.float64))


def _density(data: Floats, part: _Component, state: _State) -> tuple[Floats, Floats]:
    """Density of one Gaussian, and the same relative to its peak."""
    mean = sum(share * state.means[k] for k, share in part.parts)
    covariance = sum(share * state.covariances[k] for k, share in part.parts)
    factor = np.linalg.cholesky(covariance)
    inverse = np.linalg.inv(factor).astype(np.float32)
    scaled = (data - np.asarray(mean, dtype=np.float32)) @ inverse.T
    shape = np.exp(-0.5 * np.einsum("nc,nc->n", scaled, scaled))
    scale = np.float32(1.0 / np.prod(np.diag(factor) * np.sqrt(2 * np.pi)))
    # a voxel that no Gaussian explains keeps its prior instead of an arbitrary tissue
    return np.maximum(shape, np.float32(1e-20)) * scale, shape


def _support(posterior: Floats, mask: Bools, spacing: Sequence[float], strength: float) -> Floats:
    """Factor by which the neighbours favour each tissue, at most 1."""
    if strength <= 0:
        return np.ones_like(posterior)
    found = neighbours(posterior, mask, spacing)
    return np.asarray(np.exp(np.float32(strength) * (found - found.max(axis=1, keepdims=True))))


def neighbours(posterior: Floats, mask: Bools, spacing: Sequence[float]) -> Floats:
    """Sum of the posteriors of the six face neighbours; farther ones count less.

    Args:
        posterior: (voxels, tissues).
        mask: (z, y, x).
        spacing: mm along x, y, z; a neighbour counts nearest distance / its distance.
    """
    result = np.empty_like(posterior)
    weights = [np.float32(min(spacing) / distance) for distance in reversed(spacing)]
    padded = np.zeros([n + 2 for n in mask.shape], np.float32)
    inner = padded[1:-1, 1:-1, 1:-1]
    for tissue in range(posterior.shape[1]):
        inner[mask] = posterior[:, tissue]
        total = weights[0] * (padded[:-2, 1:-1, 1:-1] + padded[2:, 1:-1, 1:-1])
        total += weights[1] * (padded[1:-1, :-2, 1:-1] + padded[1:-1, 2:, 1:-1])
        total += weights[2] * (padded[1:-1, 1:-1, :-2] + padded[1:-1, 1:-1, 2:])
        result[:, tissue] = total[mask]
    return result


def _update(
    data: Floats,
    groups: Floats,
    components: Sequence[_Component],
    state: _State,
    joint: Floats,
    likely: Floats,
    ridge: NDArray[np.float64],
) -> None:
    """M step: robust moments of the pure tissues, proportions as Ashburner and Friston."""
    mass = np.zeros(groups.shape[1])
    for index, part in enumerate(components):
        mass[part.group] += float(joint[:, index].sum(dtype=np.float64))
        if len(part.parts) > 1:
            continue
        weight = joint[:, index] * likely[:, part.tissue]
        if float(weight.sum(dtype=np.float64)) > 10 * (data.shape[1] + 1):
            state.means[part.tissue], state.covariances[part.tissue] = _moments(data, weight, ridge)
    expected = groups @ state.proportions.astype(np.float32)
    reach = (groups / expected[:, None]).sum(axis=0, dtype=np.float64)
    proportions = mass / reach
    state.proportions = np.maximum(proportions / proportions.sum(), 1e-6)
