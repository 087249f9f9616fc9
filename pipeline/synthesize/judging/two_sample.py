"""Classifier two-sample test: can made samples be told from real ones that it has not seen?

Lopez-Paz & Oquab 2017, doi:10.48550/arXiv.1610.06545. A half is chance; one is a sure tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.synthesize.judging.distances import Floats, Ints, check

#: Parts of the samples (or of their groups), each guessed by a classifier that has not seen it.
FOLDS = 5


@dataclass(frozen=True)
class Guessed:
    """Share of held-out samples that were guessed right.

    Attributes:
        accuracy: mean of the shares of real and of made samples; 0.5 for guesses at random.
        low, high: 95 % interval.
        independent: number of samples, or of groups, that the interval rests on.
    """

    accuracy: float
    low: float
    high: float
    independent: int


def classify(a: Floats, b: Floats, groups: tuple[Ints, Ints], seed: int) -> Guessed:
    """Cross-validated accuracy of a logistic regression; groups are on one side of a fold.

    Where groups are held out the interval is Student's t over the groups' own accuracies, since
    samples of one subject are alike; otherwise it is made of Clopper's and Pearson's of the real
    and of the made samples (Zou and Donner 2008, doi:10.1002/sim.3095).

    Args:
        a, b: (n, d) and (m, d).
        groups: number of the group of each row; all equal for none.
        seed: of the folds.
    """
    check(a, b)
    samples = np.concatenate([a, b])
    truth = np.repeat([0, 1], [len(a), len(b)])
    fold, grouped = _folds(groups, seed)
    right = np.zeros(len(truth), dtype=bool)
    for number in np.unique(fold):
        test = fold == number
        right[test] = _guess(samples[~test], truth[~test], samples[test]) == truth[test]
    accuracy = _balanced(right, truth)
    if not grouped:
        return Guessed(accuracy, *_limits(right, truth), len(right))
    together = np.concatenate(groups)
    chosen = [together == name for name in np.unique(together)]
    each = [_balanced(right[one], truth[one]) for one in chosen]
    half = stats.t.ppf(0.975, len(each) - 1) * np.std(each, ddof=1) / np.sqrt(len(each))
    low, high = accuracy - half, accuracy + half
    return Guessed(accuracy, float(max(low, 0.0)), float(min(high, 1.0)), len(each))


def _folds(groups: tuple[Ints, Ints], seed: int) -> tuple[Ints, bool]:
    """Number of the fold of each row, and whether groups are kept together.

    Groups of one kind only are dealt out by themselves, so that every fold leaves both kinds to
    learn from. With a single group of a kind the rows are dealt out.
    """
    rng = np.random.default_rng(seed)
    real, made = set(groups[0].tolist()), set(groups[1].tolist())
    count = min(FOLDS, len(real), len(made))
    if count >= 2:
        place: dict[int, int] = {}
        for names in (real & made, real - made, made - real):
            mixed = rng.permutation(sorted(names)).tolist()
            place |= {name: number % count for number, name in enumerate(mixed)}
        return np.array([place[name] for name in np.concatenate(groups).tolist()]), True
    return np.concatenate([rng.permutation(len(one)) % FOLDS for one in groups]), False


def _guess(samples: Floats, truth: Ints, unseen: Floats) -> Ints:
    from sklearn.linear_model import LogisticRegression

    center, scale = samples.mean(axis=0), samples.std(axis=0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    model.fit((samples - center) / scale, truth)
    guess: Ints = model.predict((unseen - center) / scale)
    return guess


def _limits(right: NDArray[np.bool_], truth: Ints) -> tuple[float, float]:
    """95 % limits of the mean of two shares, from the limits of each."""
    below = above = 0.0
    for label in (0, 1):
        one = right[truth == label]
        low, high = stats.binomtest(int(one.sum()), len(one)).proportion_ci(method="exact")
        below += (one.mean() - low) ** 2
        above += (high - one.mean()) ** 2
    middle = _balanced(right, truth)
    return float(middle - np.sqrt(below) / 2), float(middle + np.sqrt(above) / 2)


def _balanced(right: NDArray[np.bool_], truth: Ints) -> float:
    shares = [right[truth == label].mean() for label in (0, 1) if (truth == label).any()]
    return float(np.mean(shares))
