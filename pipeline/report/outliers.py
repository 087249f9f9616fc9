"""Sessions that lie far from the others: by one measure, and by all measures together.

One measure is judged by its robust z-score, all together by an isolation forest. Both tell what
is unusual in this cohort, not what is wrong: a rare anatomy stands out as a bad scan does.

Leys et al. 2013, J Exp Soc Psychol 49(4):764-766, doi:10.1016/j.jesp.2013.03.013;
Rousseeuw & Croux 1993, J Am Stat Assoc 88(424):1273-1283, doi:10.1080/01621459.1993.10476408;
Liu et al. 2008, IEEE ICDM 413-422, doi:10.1109/ICDM.2008.17
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluate.registry import Direction

Values = npt.NDArray[np.float64]

#: Makes the median absolute deviation, and the mean one, the standard deviation of normal values.
MAD_SCALE, MEAN_SCALE = 1.4826, 1.253314
#: Columns of which a larger share is missing tell more of what was acquired than of how well.
MOST_MISSING = 0.5
#: Robust z-scores beyond this are all as far: the forest splits between the smallest and largest.
FARTHEST = 20.0
TREES = 200
#: Sessions whose score is explained, and measures that each explanation names.
EXPLAINED, NAMED = 100, 4


@dataclass(frozen=True)
class Finding:
    """What makes one session unusual.

    Attributes:
        score: of the isolation forest, 0 to 1; near 0.5 and below for the usual.
        forest: whether the score is over the limit.
        far: column and robust z-score of each measure beyond its limit, farthest first.
        causes: column, and how much the score falls when that measure is put to the cohort's
            median, largest first; only for sessions over the limit.
    """

    score: float
    forest: bool = False
    far: tuple[tuple[int, float], ...] = ()
    causes: tuple[tuple[int, float], ...] = ()

    @property
    def unusual(self) -> bool:
        """Whether either method found anything."""
        return self.forest or bool(self.far)


def robust_z(values: Values, fewest: int = 10) -> Values:
    """Distances from the median in units of the robust spread.

    The spread is the median absolute deviation times 1.4826. Where more than half of the values
    are equal that is 0, and the mean absolute deviation times 1.2533 takes its place (Iglewicz &
    Hoaglin 1993, How to detect and handle outliers, ASQC).

    Args:
        values: one measure, any length; NaN where missing.
        fewest: with fewer values nothing is told.

    Returns:
        Scores of the same length; NaN where missing, 0 for a constant measure, all NaN when there
        are too few values.
    """
    told = values[np.isfinite(values)]
    if len(told) < fewest:
        return np.full(len(values), np.nan)
    middle = np.median(told)
    away = np.abs(told - middle)
    spread = MAD_SCALE * np.median(away) or MEAN_SCALE * np.mean(away)
    # what rounding leaves of a constant is no spread
    if spread <= 1e-9 * max(1e-12, float(np.abs(told).max())):
        return np.where(np.isfinite(values), 0.0, np.nan)
    return np.asarray((values - middle) / spread)


def worse_side(scores: Values, values: Values, direction: Direction) -> npt.NDArray[np.bool_]:
    """Where a score lies on a side that is worse; both sides are when no way is better."""
    if direction == "higher":
        return scores < 0
    if direction == "lower":
        return scores > 0
    if direction == "zero":
        middle = np.nanmedian(values) if np.isfinite(values).any() else 0.0
        return np.abs(values) > abs(middle)
    return np.ones(len(scores), dtype=bool)


def find(
    table: Values, directions: Sequence[Direction], limits: Mapping[str, Any], seed: int = 0
) -> list[Finding]:
    """Judge every session.

    Args:
        table: sessions by measures, NaN where missing.
        directions: which way of each measure is better.
        limits: ``report.outliers`` of the configuration.
        seed: of the forest.

    Returns:
        One finding a session; empty when there are fewer sessions than ``limits["fewest"]``.
    """
    fewest = int(limits["fewest"])
    if len(table) < fewest or not table.shape[1]:
        return []
    scores = np.column_stack([robust_z(column, fewest) for column in table.T])
    bad = np.column_stack(
        [worse_side(scores[:, n], table[:, n], way) for n, way in enumerate(directions)]
    )
    beyond = bad & (np.abs(scores) > float(limits["robust_z"]))
    forest = Forest.fit(scores, seed)
    over = forest.scores > float(limits["forest_score"])
    causes = forest.causes([int(n) for n in np.flatnonzero(over)])
    found = []
    for n, row in enumerate(scores):
        far = sorted(np.flatnonzero(beyond[n]), key=lambda column: -abs(row[column]))
        told = tuple((int(column), float(row[column])) for column in far)
        found.append(Finding(float(forest.scores[n]), bool(over[n]), told, causes.get(n, ())))
    return found


@dataclass
class Forest:
    """An isolation forest over robust z-scores.

    Attributes:
        scores: of each session.
        features: what the trees see, sessions by features.
        owners: column of the table that each feature comes from; -1 for what is missing.
        trees: scikit-learn's forest; None when no column is full enough.
    """

    scores: Values
    features: Values
    owners: list[int]
    trees: Any = None

    @classmethod
    def fit(cls, scores: Values, seed: int) -> Forest:
        """Grow the forest; sessions without any usable column all get 0."""
        features, owners = _features(scores)
        forest = cls(np.zeros(len(scores)), features, owners)
        if owners:
            # a second and some memory, which the other verbs do not need
            from sklearn.ensemble import IsolationForest

            forest.trees = IsolationForest(n_estimators=TREES, random_state=seed, n_jobs=1)
            forest.trees.fit(features)
            forest.scores = -forest.trees.score_samples(features)
        return forest

    def causes(self, rows: Sequence[int]) -> dict[int, tuple[tuple[int, float], ...]]:
        """Measures whose return to the median lowers the score most, for the highest scores."""
        rows = sorted(rows, key=lambda n: -self.scores[n])[:EXPLAINED]
        named = sorted({owner for owner in self.owners if owner >= 0})
        if not rows or not named:
            return {}
        changed = np.repeat(self.features[rows], len(named), axis=0)
        owners = np.asarray(self.owners)
        for place, owner in enumerate(named):
            changed[place :: len(named), owners == owner] = 0.0
        now = -self.trees.score_samples(changed).reshape(len(rows), len(named))
        found = {}
        for row, after in zip(rows, now, strict=True):
            falls = sorted(zip(self.scores[row] - after, named, strict=True), reverse=True)
            found[row] = tuple((owner, float(fall)) for fall, owner in falls[:NAMED] if fall > 1e-4)
        return found


def _features(scores: Values) -> tuple[Values, list[int]]:
    """Clipped scores with the median where missing, and one column a pattern of what is missing.

    A contrast that was not acquired takes all its measures along; counted once each, they would
    outweigh everything else.
    """
    columns: list[Values] = []
    owners: list[int] = []
    patterns: dict[bytes, Values] = {}
    for n, column in enumerate(scores.T):
        missing = ~np.isfinite(column)
        if missing.mean() > MOST_MISSING or not np.any(column[~missing]):
            continue
        columns.append(np.clip(np.where(missing, 0.0, column), -FARTHEST, FARTHEST))
        owners.append(n)
        if missing.any():
            patterns.setdefault(missing.tobytes(), missing.astype(np.float64))
    columns += patterns.values()
    owners += [-1] * len(patterns)
    if not columns:
        return np.zeros((len(scores), 0)), []
    return np.column_stack(columns), owners
