"""How sure a segmentation is: mirrored images, intervals of volumes, expected Dice, flags."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.labels import Label

Floats = NDArray[np.float32]
Sums = NDArray[np.float64]
#: Deviations that hold 95 % of a normal distribution.
DEVIATIONS = 1.959964
COLUMNS = ("label", "name", "mm3", "low", "high", "expected_dice", "flag")


def mirrored(classes: Sequence[Sequence[int]], pairs: Mapping[int, int]) -> list[int] | None:
    """Which channel, without the background's, each one becomes when left and right change places.

    Args:
        classes: labels of each channel.
        pairs: label → that on the other side; those of the middle are left out.

    Returns:
        One number a channel; None when a structure's other side has no channel of its own, so that
        a mirrored image can't be labelled.
    """
    own = {frozenset(group): number for number, group in enumerate(classes)}
    other = [frozenset(pairs.get(label, label) for label in group) for group in classes]
    return [own[group] for group in other] if set(other) <= set(own) else None


def sums(
    posterior: Floats, classes: Sequence[Sequence[int]], side: NDArray[np.uint8] | None
) -> Sums:
    """Sum of the posterior of each label, in voxels, in the order of the classes.

    Args:
        posterior: (C, Z, Y, X), channel 0 the background.
        classes: labels of the other channels.
        side: (Z, Y, X), place of each voxel in a group of several labels.
    """
    found: list[float] = []
    for values, group in zip(posterior[1:], classes, strict=True):
        found += split(values, len(group), side)
    return np.asarray(found, np.float64)


def split(values: Floats, places: int, side: NDArray[np.uint8] | None) -> list[float]:
    """Sum of one channel (Z, Y, X) for each of its labels."""
    if places == 1 or side is None:
        return [float(values.sum(dtype=np.float64))]
    return [float(values.sum(dtype=np.float64, where=side == place)) for place in range(places)]


def halves(samples: Sums, wrong: Sequence[float] | Sums, factor: float = 1.0) -> Sums:
    """Half widths (L,) of the 95 % intervals about volumes, mm3.

    The volume that is expected to be labelled wrongly: a border is off along its length, so that
    what its voxels are off by adds up. With it, as variances, the spread over the samples.

    Args:
        samples: (S, L) expected volumes, mm3: one row a member, mirrored image or draw.
        wrong: (L,) of :func:`expected_wrong`, mm3.
        factor: of :func:`pipeline.segment.cascade.calibration.interval_factor`.
    """
    spread = samples.var(axis=0, ddof=1) if len(samples) > 1 else 0.0
    return np.asarray(factor * np.sqrt(DEVIATIONS**2 * spread + np.square(wrong)))


def expected_wrong(both: float, probable: float, labelled: float) -> float:
    """Voxels of a label that are expected to be another's, and those of it elsewhere: Σ |p - y|.

    Args:
        both: sum of the posterior over the labelled voxels.
        probable: sum of the posterior over all voxels.
        labelled: number of labelled voxels.
    """
    return max(0.0, probable + labelled - 2.0 * both)


def expected_dice(both: float, probable: float, labelled: float) -> float:
    """Dice that is to be expected of a label: 2 Σ p y / (Σ p + Σ y).

    Args:
        both: sum of the posterior over the labelled voxels.
        probable: sum of the posterior over all voxels.
        labelled: number of labelled voxels.

    Returns:
        0..1; NaN where there is neither.
    """
    total = probable + labelled
    return 2.0 * both / total if total > 0 else math.nan


@dataclass(frozen=True)
class Limits:
    """When a structure is flagged.

    Attributes:
        dice: expected Dice below which it is.
        slack: volumes so many times outside the range of the training cases.
        volumes: name → that range, mm3; names it lacks are not judged.
    """

    dice: float
    slack: float
    volumes: Mapping[str, tuple[float, float]]


def training_volumes(facts: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Range of each structure's volume in the training cases by a plan's facts, mm3."""
    listed = facts.get("volume_ml", {})
    return {
        str(name): (1000.0 * float(entry["low"]), 1000.0 * float(entry["high"]))
        for name, entry in listed.items()
    }


def flag(name: str, mm3: float, dice: float, cut: bool, limits: Limits) -> str:
    """Why somebody should look at a structure, words with a comma between; empty: no reason."""
    low, high = limits.volumes.get(name, (0.0, math.inf))
    reasons = {
        "absent": mm3 == 0 and low > 0,
        "unsure": mm3 > 0 and dice < limits.dice,
        "small": 0 < mm3 < low / limits.slack,
        "large": mm3 > high * limits.slack,
        "cut": cut,
    }
    return ",".join(reason for reason, holds in reasons.items() if holds)


def rows(
    labels: Sequence[Label],
    volumes: Sequence[float],
    halves: Sequence[float] | Sums,
    dices: Sequence[float],
    flags: Sequence[str],
) -> list[dict[str, Any]]:
    """Rows of volumes.tsv (:data:`COLUMNS`): mm3 with a 95 % interval, expected Dice, flag."""
    found = []
    given = zip(labels, volumes, halves, dices, flags, strict=True)
    for label, volume, half, dice, reason in given:
        found.append(
            {
                "label": label.index,
                "name": label.name,
                "mm3": round(volume, 3),
                "low": round(max(0.0, volume - float(half)), 1),
                "high": round(volume + float(half), 1),
                "expected_dice": None if math.isnan(dice) else round(dice, 4),
                "flag": reason,
            }
        )
    return found


#: What the words of a flag mean, for warnings.
WORDS = {
    "absent": "was not found",
    "unsure": "is unsure",
    "small": "is smaller than in any training case",
    "large": "is larger than in any training case",
    "cut": "reaches the border of the image",
}


def sentences(table: Sequence[Mapping[str, Any]], most: int = 4) -> list[str]:
    """One sentence for each kind of flag, with the structures that have it."""
    found = []
    for word, meaning in WORDS.items():
        named = [str(row["name"]) for row in table if word in str(row["flag"]).split(",")]
        if named:
            rest = f" and {len(named) - most} more" if len(named) > most else ""
            found.append(f"Look at {', '.join(named[:most])}{rest}: {meaning}")
    return found
