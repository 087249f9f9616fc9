"""Distances between two samples of feature vectors, (n, d) each.

Fréchet distance of two Gaussians: Dowson & Landau 1982, doi:10.1016/0047-259X(82)90077-X; of
features, as the Fréchet inception distance: Heusel et al. 2017, doi:10.48550/arXiv.1706.08500.
Maximum mean discrepancy: Gretton et al. 2012, A kernel two-sample test, JMLR 13.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]


def frechet(a: Floats, b: Floats) -> float:
    """Squared Fréchet distance of the Gaussians that fit two samples; small samples enlarge it.

    Args:
        a, b: (n, d), n of 2 or more each.

    Raises:
        ValueError: for fewer, or another number of features.
    """
    check(a, b)
    covariances = [np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b)]
    return frechet_gaussian(a.mean(axis=0), covariances[0], b.mean(axis=0), covariances[1])


def frechet_gaussian(mean_a: Floats, cov_a: Floats, mean_b: Floats, cov_b: Floats) -> float:
    """Squared distance: |ma - mb|² + trace(A + B - 2 (A½ B A½)½).

    The product A½ B A½ is symmetric, so that its root exists and is real also where the
    covariances are singular, as they are when there are fewer samples than features.
    """
    root = _root(cov_a)
    values = np.linalg.eigvalsh(root @ cov_b @ root)
    cross = np.sqrt(np.clip(values, 0.0, None)).sum()
    apart = np.square(mean_a - mean_b).sum()
    # rounding may leave a little less than nothing
    return float(max(apart + np.trace(cov_a) + np.trace(cov_b) - 2.0 * cross, 0.0))


def _root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    root: Floats = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    return root


def bandwidth(a: Floats, b: Floats) -> float:
    """Median distance between two of all vectors: the usual width of the Gaussian kernel."""
    middle = float(np.median(pdist(np.concatenate([a, b]))))
    return middle if middle > 0 else 1.0


def mmd(a: Floats, b: Floats, width: float | None = None) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy; about 0, or below, for equals.

    Args:
        a, b: (n, d), n of 2 or more each.
        width: deviation of the Gaussian kernel; :func:`bandwidth` without.

    Raises:
        ValueError: for fewer, or another number of features.
    """
    check(a, b)
    return _unbiased(_kernel(a, b, width), np.arange(len(a) + len(b)) < len(a))


@dataclass(frozen=True)
class Tested:
    """Squared discrepancy, and how often chance gives as much.

    Attributes:
        value: unbiased estimate; the unit is that of the kernel, which is at most 1.
        p: share of the permutations, this one among them, that give as much or more.
    """

    value: float
    p: float


def mmd_test(
    a: Floats, b: Floats, groups: tuple[Ints, Ints], permutations: int, seed: int
) -> Tested:
    """Permutation test of the discrepancy.

    Labels are exchanged within groups only: a subject of whom there are three real and three made
    samples has three of each in every permutation, so that anatomy is no difference.

    Args:
        a, b: (n, d) and (m, d).
        groups: number of the group of each row of a and of b; all zero for no groups.
        permutations: of the labels.
        seed: of the permutations.
    """
    check(a, b)
    kernel = _kernel(a, b, None)
    first = np.arange(len(a) + len(b)) < len(a)
    value = _unbiased(kernel, first)
    together = np.concatenate(groups)
    drawn = relabelled(first, together, permutations, seed)
    # rounding must not make a permutation that changes nothing smaller than the value itself
    more = sum(_unbiased(kernel, one) >= value - 1e-12 for one in drawn)
    return Tested(value, (1 + more) / (1 + permutations))


def frechet_chance(
    a: Floats, b: Floats, groups: tuple[Ints, Ints], permutations: int, seed: int
) -> float:
    """Mean Fréchet distance when the labels are exchanged: what is seen without a difference."""
    check(a, b)
    every, together = np.concatenate([a, b]), np.concatenate(groups)
    first = np.arange(len(every)) < len(a)
    drawn = relabelled(first, together, permutations, seed)
    return float(np.mean([frechet(every[one], every[~one]) for one in drawn]))


def relabelled(
    first: NDArray[np.bool_], groups: Ints, count: int, seed: int
) -> Iterator[NDArray[np.bool_]]:
    """Which rows are of the first sample, after exchanges within the groups."""
    rng = np.random.default_rng(seed)
    places = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    for _ in range(count):
        found = first.copy()
        for place in places:
            found[place] = rng.permutation(found[place])
        yield found


def _kernel(a: Floats, b: Floats, width: float | None) -> Floats:
    every = np.concatenate([a, b])
    chosen = bandwidth(a, b) if width is None else width
    kernel: Floats = np.exp(-0.5 * cdist(every, every, "sqeuclidean") / chosen**2)
    return kernel


def _unbiased(kernel: Floats, first: NDArray[np.bool_]) -> float:
    within = []
    for chosen in (first, ~first):
        block = kernel[np.ix_(chosen, chosen)]
        n = len(block)
        within.append((block.sum() - np.trace(block)) / (n * (n - 1)))
    return float(sum(within) - 2.0 * kernel[np.ix_(first, ~first)].mean())


def check(a: Floats, b: Floats) -> None:
    """Refuse samples that can't be compared.

    Raises:
        ValueError: when they are not (n, d) and (m, d) with n and m of 2 or more, all finite.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"samples of shapes {a.shape} and {b.shape} can't be compared")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a feature is not finite")
