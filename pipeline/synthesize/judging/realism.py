"""How real made images look, in a few numbers and with what must be said of small samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.synthesize.judging import distances, features, two_sample
from pipeline.synthesize.judging.distances import Floats, Ints
from pipeline.synthesize.judging.features import Encoder, Picture
from pipeline.training.bundle import Score

#: Permutations of the discrepancy's test, and of the Fréchet distance's chance level.
PERMUTATIONS, CHANCES = 500, 20
#: Below these numbers the figures are marked as of a small sample.
FEW_SAMPLES, FEW_SUBJECTS = 50, 5


@dataclass(frozen=True)
class Realism:
    """Distances of made from real samples.

    Attributes:
        fid: squared Fréchet distance of the features.
        fid_chance: the same with labels exchanged: what equal distributions give at this size.
        mmd: squared maximum mean discrepancy, unbiased.
        p: of its permutation test.
        classifier: held-out accuracy of a classifier, with its interval.
        samples: number of real and of made samples.
        subjects: number of different ones.
        warnings: what the size of the samples forbids to conclude.
    """

    fid: float
    fid_chance: float
    mmd: float
    p: float
    classifier: two_sample.Guessed
    samples: tuple[int, int]
    subjects: int
    warnings: tuple[str, ...]

    def scores(self) -> dict[str, Score]:
        """Rows for the table of a model's card."""
        count, guess = self.subjects, self.classifier
        return {
            "realism: Fréchet distance": Score(self.fid, None, None, count),
            "realism: Fréchet distance of equal samples": Score(self.fid_chance, None, None, count),
            "realism: squared MMD": Score(self.mmd, None, None, count),
            "realism: p of the MMD": Score(self.p, None, None, count),
            "realism: accuracy of a classifier (0.5 is chance)": Score(
                guess.accuracy, guess.low, guess.high, count
            ),
        }


def judge(
    real: Sequence[Picture], made: Sequence[Picture], encoder: Encoder, *,
    side: int = 16, count: int = 32, seed: int = 0,
) -> Realism:  # fmt: skip
    """Compare patches of made images with patches of real ones.

    Args:
        real, made: images of subjects that were not trained on, values of one scale.
        encoder: of :func:`pipeline.synthesize.judging.features.learn`.
        side: of the patches, voxels.
        count: patches an image.
        seed: of places, permutations and folds.
    """
    numbers = {name: k for k, name in enumerate(sorted({p.subject for p in (*real, *made)}))}
    found: list[tuple[Floats, Ints]] = []
    for kind, pictures in enumerate((real, made)):
        rows = [
            encoder.describe(
                features.patches(picture, side, count, np.random.default_rng([seed, kind, k]))
            )
            for k, picture in enumerate(pictures)
        ]
        groups = np.repeat([numbers[picture.subject] for picture in pictures], count)
        found.append((np.concatenate(rows), groups))
    (a, group_a), (b, group_b) = found
    return compare(a, b, (group_a, group_b), seed)


def compare(a: Floats, b: Floats, groups: tuple[Ints, Ints], seed: int = 0) -> Realism:
    """The same for feature vectors (n, d) of real (a) and made (b) samples."""
    # within groups that have samples of one kind only nothing can be exchanged
    alone = (np.zeros_like(groups[0]), np.zeros_like(groups[1]))
    shared = groups if set(groups[0]) == set(groups[1]) else alone
    tested = distances.mmd_test(a, b, shared, PERMUTATIONS, seed)
    return Realism(
        fid=distances.frechet(a, b),
        fid_chance=distances.frechet_chance(a, b, shared, CHANCES, seed),
        mmd=tested.value,
        p=tested.p,
        classifier=two_sample.classify(a, b, groups, seed),
        samples=(len(a), len(b)),
        subjects=len(set(groups[0]) | set(groups[1])),
        warnings=warnings(a, b, groups),
    )


def warnings(a: Floats, b: Floats, groups: tuple[Ints, Ints]) -> tuple[str, ...]:
    """What the size of the samples forbids to conclude; empty for large ones."""
    least, found = min(len(a), len(b)), []
    if least <= a.shape[1]:
        found.append(
            f"{least} samples of {a.shape[1]} features: the covariance is singular and the "
            "Fréchet distance too large; compare it with that of equal samples only"
        )
    if least < FEW_SAMPLES:
        found.append(f"{least} samples: a difference may be missed")
    subjects = [len(set(one)) for one in groups]
    if min(subjects) < FEW_SUBJECTS:
        found.append(
            f"{min(subjects)} subjects: samples of one subject are alike, and p is too small for "
            "a statement on others"
        )
    if set(groups[0]) != set(groups[1]):
        found.append("real and made samples are of different subjects, who may differ themselves")
    return tuple(found)
