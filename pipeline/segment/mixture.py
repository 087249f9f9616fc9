"""Gaussian mixture with partial volume, spatial priors and a Markov random field, fitted by EM.

The model is that of unified segmentation (Ashburner and Friston, NeuroImage 26:839, 2005: tissue
priors with re-estimated proportions) with the mean-field Markov random field of Van Leemput et al.
(IEEE TMI 18:897, 1999), their robust estimation, in which voxels that no tissue explains, such as
lesions, weigh less (IEEE TMI 20:677, 2001), and their partial volume (IEEE TMI 22:105, 2003):
voxels that hold two tissues have the mixed mean, and belong to the tissue they hold more of.
Without the mixed voxels the wide Gaussian of CSF would take the outer half of the cortex. What is
left of the bias field after preprocessing is a polynomial of low order in each contrast's
logarithm, estimated with the parameters (Van Leemput et al., IEEE TMI 18:885, 1999).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

#: Pairs of tissues that share voxels, by their place in the order of the priors.
PAIRS = ((0, 1), (1, 2), (0, 2))


#: Voxels that the parameters are estimated from; far more than a few Gaussians need.
SAMPLE = 50_000


@dataclass(frozen=True)
class Settings:
    """Settings of the fit.

    Attributes:
        iterations: most iterations of EM, and of the field.
        tolerance: EM ends when the mean log-likelihood rises by less, the field when the
            posteriors change by less in the mean.
        mrf: strength of the neighbourhood per face neighbour, in log-probability.
        outlier: Mahalanobis distance, in standard deviations, beyond which a voxel loses weight.
        floor: least prior probability of a tissue anywhere in the mask.
        mixed: shares of the first tissue in a mixed voxel; none leaves partial volume out.
        bias_order: order of the polynomial of the remaining bias field, 0 for none.
    """

    iterations: int = 30
    tolerance: float = 1e-4
    mrf: float = 0.1
    outlier: float = 3.0
    floor: float = 0.01
    mixed: tuple[float, ...] = (0.8, 0.6, 0.4, 0.2)
    bias_order: int = 3


@dataclass(frozen=True)
class Fit:
    """What a fit gives.

    Attributes:
        posterior: (voxels, tissues), float32, rows sum to 1.
        data: (voxels, channels), the data without the remaining bias field.
    """

    posterior: Floats
    data: Floats


@dataclass(frozen=True)
class _Component:
    """One Gaussian: its group (a pure tissue, or a pair), its tissue, its mixture of tissues."""

    group: int
    tissue: int
    parts: tuple[tuple[int, float], ...]
    weight: float


@dataclass(frozen=True)
class _Model:
    groups: Floats  # (voxels, groups), prior of each group
    components: Sequence[_Component]
    outlier: float
    ridge: NDArray[np.float64]  # added to covariances


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
) -> Fit:
    """Fit the model.

    Args:
        data: (voxels, channels), intensities inside the mask.
        prior: (voxels, tissues), need not be normalised.
        mask: (z, y, x) with ``voxels`` true entries.
        spacing: mm along x, y, z.
        settings: see :class:`Settings`.
        start: (voxels, tissues) posteriors to begin with; the prior when None.

    Returns:
        Posteriors and the data without the remaining bias field.
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
    model = _Model(groups, components, settings.outlier, ridge)
    data = _settle(data, model, state, settings, polynomial(mask, settings.bias_order))
    density = _by_tissue(data, model, state)
    return Fit(_mean_field(density, mask, spacing, settings), data)


def _mean_field(
    density: Floats, mask: Bools, spacing: Sequence[float], settings: Settings
) -> Floats:
    """Posteriors under the Markov random field, given what each voxel says for itself."""
    posterior = density
    for _ in range(settings.iterations if settings.mrf > 0 else 0):
        found = density * _support(posterior, mask, spacing, settings.mrf)
        found /= found.sum(axis=1, keepdims=True)
        change = float(np.abs(found - posterior).mean(dtype=np.float64))
        posterior = found
        if change < settings.tolerance:
            break
    return posterior


def _settle(
    data: Floats, model: _Model, state: _State, settings: Settings, basis: Floats
) -> Floats:
    """Find the parameters and the bias field on a part of the voxels, without neighbours.

    Returns:
        All data without the bias field.
    """
    count = min(SAMPLE, len(data))
    chosen = np.random.default_rng(0).choice(len(data), count, replace=False)
    part = replace(model, groups=model.groups[chosen])
    raw, terms = data[chosen], basis[chosen]
    coefficients = np.zeros((basis.shape[1], data.shape[1]))
    before = -np.inf
    for _ in range(settings.iterations):
        clean = _without(raw, terms, coefficients)
        joint, likely, gain = _expect(clean, part, state)
        _update(clean, part, state, joint, likely)
        if basis.shape[1]:
            coefficients = _bias(raw, terms, joint * likely, part, state)
        if abs(gain - before) < settings.tolerance:
            break
        before = gain
    return _without(data, basis, coefficients)


def polynomial(mask: Bools, order: int) -> Floats:
    """Products of powers of the coordinates up to ``order``, without the constant.

    Returns:
        (voxels, terms); the coordinates run from -1 to 1 over the mask's box, and every term has
        the mean 0 inside the mask, so that a field does not change the overall brightness.
    """
    places = np.argwhere(mask).astype(np.float32)
    span = np.maximum(np.ptp(places, axis=0), 1.0)
    z, y, x = ((places - places.min(axis=0)) / span * 2.0 - 1.0).T
    powers = [
        (i, j, k)
        for i in range(order + 1)
        for j in range(order + 1 - i)
        for k in range(order + 1 - i - j)
        if i + j + k > 0
    ]
    terms = np.empty((len(places), len(powers)), np.float32)
    for index, (i, j, k) in enumerate(powers):
        term = z**i * y**j * x**k
        terms[:, index] = term - term.mean(dtype=np.float64)
    return terms


def _without(data: Floats, basis: Floats, coefficients: NDArray[np.float64]) -> Floats:
    if not coefficients.any():
        return data
    return np.asarray(data * np.exp(-(basis @ coefficients.astype(np.float32))), np.float32)


def _bias(
    raw: Floats, basis: Floats, weight: Floats, model: _Model, state: _State
) -> NDArray[np.float64]:
    """Weighted least squares of the log-residuals; a weight is the inverse relative variance."""
    found = np.zeros((basis.shape[1], raw.shape[1]))
    for channel in range(raw.shape[1]):
        means = [sum(share * state.means[k, channel] for k, share in part.parts)
                 for part in model.components]  # fmt: skip
        variances = [sum(share * state.covariances[k, channel, channel] for k, share in part.parts)
                     for part in model.components]  # fmt: skip
        certainty = weight / np.asarray(variances, dtype=np.float32)
        total = certainty.sum(axis=1) + np.float32(1e-12)
        expected = (certainty @ np.asarray(means, dtype=np.float32)) / total
        usable = (expected > 0) & (raw[:, channel] > 0.1 * expected)
        ratio = np.log(raw[usable, channel] / expected[usable])
        pull = (total * expected**2)[usable].astype(np.float64)
        terms = basis[usable].astype(np.float64)
        normal = (terms * pull[:, None]).T @ terms
        normal += 1e-3 * np.trace(normal) / len(normal) * np.eye(len(normal))
        found[:, channel] = np.linalg.solve(normal, (terms * pull[:, None]).T @ ratio)
    return found


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


def _expect(data: Floats, model: _Model, state: _State) -> tuple[Floats, Floats, float]:
    """E step: responsibilities and typicalities of the components, and the mean log-likelihood."""
    joint = np.empty((len(data), len(model.components)), np.float32)
    likely = np.empty_like(joint)
    edge = np.float32(np.exp(-0.5 * model.outlier**2))
    for index, part in enumerate(model.components):
        joint[:, index], shape = _weighted(data, part, model, state)
        likely[:, index] = shape / (shape + edge)
    total = joint.sum(axis=1, keepdims=True) + np.float32(1e-30)
    joint /= total
    return joint, likely, float(np.mean(np.log(total), dtype=np.float64))


def _by_tissue(data: Floats, model: _Model, state: _State) -> Floats:
    """Posteriors of the tissues without neighbours, one component in memory at a time."""
    found = np.full((len(data), len(state.means)), 1e-30, np.float32)
    for part in model.components:
        found[:, part.tissue] += _weighted(data, part, model, state)[0]
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def _weighted(
    data: Floats, part: _Component, model: _Model, state: _State
) -> tuple[Floats, Floats]:
    """Density of one component times its prior, and the density relative to its peak."""
    density, shape = _density(data, part, state)
    factor = np.float32(state.proportions[part.group] * part.weight)
    return model.groups[:, part.group] * density * factor, shape


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


def _update(data: Floats, model: _Model, state: _State, joint: Floats, likely: Floats) -> None:
    """M step: robust moments of the pure tissues, proportions as Ashburner and Friston."""
    groups = model.groups
    mass = np.zeros(groups.shape[1])
    for index, part in enumerate(model.components):
        mass[part.group] += float(joint[:, index].sum(dtype=np.float64))
        if len(part.parts) > 1:
            continue
        weight = joint[:, index] * likely[:, index]
        if float(weight.sum(dtype=np.float64)) > 10 * (data.shape[1] + 1):
            state.means[part.tissue], state.covariances[part.tissue] = _moments(
                data, weight, model.ridge
            )
    expected = groups @ state.proportions.astype(np.float32)
    reach = (groups / expected[:, None]).sum(axis=0, dtype=np.float64)
    proportions = mass / reach
    state.proportions = np.maximum(proportions / proportions.sum(), 1e-6)
