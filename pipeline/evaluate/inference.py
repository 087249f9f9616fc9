"""Statistics over subjects: interval, paired test, effect size, correction for many tests.

The cases are subjects; who calls has averaged the sessions of each. Differences are B less A.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

#: With fewer pairs that differ, no exact two-sided p-value can be below 0.05 (2 / 2^5 = 0.0625).
FEWEST = 6
LEVEL = 0.05
RESAMPLES = 5000
#: Share of resamples that must not be constant.
SOUND = 0.99

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Inference:
    """What the pairs of one measure tell.

    Attributes:
        n: pairs.
        changed: pairs whose numbers differ.
        mean_a: mean of run A.
        mean_b: mean of run B.
        difference: mean of the differences.
        low: lower end of its 95 % bootstrap interval; None below :data:`FEWEST` pairs that differ.
        high: upper end.
        p: Wilcoxon signed-rank test, two-sided; None below :data:`FEWEST` pairs that differ.
        dz: Cohen's d_z, mean over standard deviation of the differences.
        rank_biserial: matched-pairs rank-biserial correlation, -1 to 1.
    """

    n: int
    changed: int
    mean_a: float
    mean_b: float
    difference: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    dz: float | None = None
    rank_biserial: float | None = None


def infer(a: Sequence[float], b: Sequence[float], seed: int) -> Inference:
    """Compare pairs.

    Args:
        a: one value a subject, of run A.
        b: of run B, the same subjects in the same order; at least one.
        seed: of the bootstrap; each measure gets the same, so none depends on the others.
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    differences = _differences(left, right)
    n, changed = len(differences), int(np.count_nonzero(differences))
    means = (float(left.mean()), float(right.mean()), float(differences.mean()))
    if changed < FEWEST:
        return Inference(n, changed, *means)
    low, high = interval(differences, seed)
    dz, biserial = cohen_dz(differences), rank_biserial(differences)
    return Inference(n, changed, *means, low, high, wilcoxon(differences), dz, biserial)


def _differences(a: Values, b: Values) -> Values:
    """B less A without the last bits, which would break ties that the tables' digits make."""
    differences = b - a
    largest = max(float(np.abs(a).max()), float(np.abs(b).max()))
    if largest == 0:
        return differences
    digits = 11 - math.floor(math.log10(largest))
    return differences if digits > 300 else np.round(differences, digits)


def interval(differences: Values, seed: int) -> tuple[float, float]:
    """95 % interval of the mean: studentised bootstrap over the pairs.

    With few pairs it covers the truth more often than the percentile and BCa intervals do. Where
    the differences take so few values that resamples are constant, it can't be formed and the BCa
    interval stands in.

    Hall 1988, Ann Stat 16(3):927-953, doi:10.1214/aos/1176350933;
    Efron 1987, J Am Stat Assoc 82(397):171-185, doi:10.1080/01621459.1987.10478410
    """
    if np.ptp(differences) == 0:
        return float(differences[0]), float(differences[0])
    means, errors = _resampled(differences, np.random.default_rng(seed))
    sound = errors > 1e-9 * float(np.ptp(differences))
    if np.mean(sound) < SOUND:
        return _bca(differences, seed)
    mean, error = differences.mean(), _error(differences, 0)
    low, high = np.quantile((means[sound] - mean) / errors[sound], (0.025, 0.975))
    return float(mean - high * error), float(mean - low * error)


def _resampled(values: Values, rng: np.random.Generator) -> tuple[Values, Values]:
    """Means and standard errors of resamples, in pieces that fit the cache of a small machine."""
    piece = max(1, 1_000_000 // len(values))
    means, errors = [], []
    for start in range(0, RESAMPLES, piece):
        count = min(piece, RESAMPLES - start)
        chosen = values[rng.integers(0, len(values), (count, len(values)))]
        means.append(chosen.mean(axis=1))
        errors.append(_error(chosen, 1))
    return np.concatenate(means), np.concatenate(errors)


def _error(values: Values, axis: int) -> Values:
    """Standard error of the mean."""
    spread: Values = values.std(axis=axis, ddof=1)
    return spread / math.sqrt(values.shape[axis])


def _bca(differences: Values, seed: int) -> tuple[float, float]:
    found = stats.bootstrap(
        (differences,),
        np.mean,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, 1_000_000 // len(differences)),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def wilcoxon(differences: Values) -> float:
    """Two-sided p-value of the signed-rank test; pairs without a difference are left out.

    Exact up to 50 pairs without ties and up to 13 with ties, else the normal approximation with
    the correction for ties. Wilcoxon 1945, Biometrics Bulletin 1(6):80-83, doi:10.2307/3001968
    """
    told = differences[differences != 0]
    return float(stats.wilcoxon(told, zero_method="wilcox", method="auto").pvalue)


def cohen_dz(differences: Values) -> float | None:
    """Cohen's d_z; None when all differences are the same.

    Lakens 2013, Front Psychol 4:863, doi:10.3389/fpsyg.2013.00863
    """
    if np.ptp(differences) == 0:
        return None
    return float(differences.mean() / differences.std(ddof=1))


def rank_biserial(differences: Values) -> float | None:
    """Rank sum of the rises less that of the falls, over both; None when nothing changed.

    Kerby 2014, Compr Psychol 3:11.IT.3.1, doi:10.2466/11.IT.3.1
    """
    told = differences[differences != 0]
    if not len(told):
        return None
    ranks = stats.rankdata(np.abs(told))
    return float(np.sum(np.sign(told) * ranks) / ranks.sum())


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for their number; None stays None and does not count.

    Holm 1979, Scand J Stat 6(2):65-70, https://www.jstor.org/stable/4615733
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for done, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - done) * p))
        corrected[place] = largest
    return corrected


def smallest_p(changed: int) -> float:
    """The smallest p-value that the test can give for so many pairs that differ."""
    return float(min(1.0, 2.0 ** (1 - changed)))
