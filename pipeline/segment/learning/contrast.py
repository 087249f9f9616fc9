"""Intensities of structures in images that are drawn from label maps.

Images of random contrast follow Billot et al. 2023 (SynthSeg), doi:10.1016/j.media.2023.102789.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import VoxelwayError

Floats = NDArray[np.float32]
#: Share of the images whose structures have any mean.
RANDOM = "random"


@dataclass(frozen=True)
class Palette:
    """What each label looks like, by its number: mean (0 to about 1) and deviation inside it."""

    mean: Floats
    deviation: Floats


@dataclass(frozen=True)
class Contrasts:
    """How palettes are drawn.

    Attributes:
        highest: largest label.
        groups: labels that look alike, as the two sides of a structure; all others stand alone.
        tissues: larger groups that share a mean in some of the images, as all grey matter.
        typical: contrast → label → mean, 0 to 1, on such images; a label that is not named looks
            random there.
        shares: contrast (or ``random``) → how often.
    """

    highest: int
    groups: Sequence[Sequence[int]]
    tissues: Sequence[Sequence[int]]
    typical: Mapping[str, Mapping[int, float]]
    shares: Mapping[str, float]

    def __post_init__(self) -> None:
        unknown = set(self.shares) - set(self.typical) - {RANDOM}
        if unknown:
            what = f"segment.learning.draw.shares names {sorted(unknown)}, whose means are not told"
            raise VoxelwayError("E-CONFIG-VALUE", what, hint="Add them to draw.typical")

    def named(self) -> Contrasts:
        """Without images of random contrast, where there are others."""
        kept = {name: share for name, share in self.shares.items() if name != RANDOM and share > 0}
        return replace(self, shares=kept or self.shares)

    def draw(self, rng: np.random.Generator) -> Palette:
        """A palette; the background (0) is black in most images, and has any mean in the others."""
        names, odds = list(self.shares), np.asarray(list(self.shares.values()), np.float64)
        chosen = names[int(rng.choice(len(names), p=odds / odds.sum()))]
        mean = rng.uniform(0.05, 1.0, self.highest + 1)
        if chosen == RANDOM and rng.random() < 0.3:
            self._tie(mean, self.tissues, rng, 0.03)
        self._tie(mean, self.groups, rng, 0.01)
        for label, value in self.typical.get(chosen, {}).items():
            mean[label] = value + rng.normal(0.0, 0.04)
        if chosen != RANDOM:
            self._tie(mean, self.groups, rng, 0.01)
        deviation = rng.uniform(0.0, 0.08, self.highest + 1)
        self._tie(deviation, self.groups, rng, 0.0)
        mean[0] = rng.uniform(0.0, 0.6) if rng.random() < 0.05 else rng.uniform(0.0, 0.05)
        deviation[0] = rng.uniform(0.0, 0.02)
        return Palette(
            np.clip(mean, 0.0, 1.5).astype(np.float32), np.abs(deviation).astype(np.float32)
        )

    def _tie(
        self,
        values: NDArray[np.float64],
        groups: Sequence[Sequence[int]],
        rng: np.random.Generator,
        jitter: float,
    ) -> None:
        """Labels of a group get the value of its first one, moved a little."""
        for group in groups:
            for label in group[1:]:
                values[label] = values[group[0]] + rng.normal(0.0, jitter)
