"""Crops that are made once, before the training, and patches that are drawn from them.

For samples that take longer to make than a step of the training takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.denoise.learning.noise_model import Values
from pipeline.progress import shown

Sample = dict[str, Any]
Draw = Callable[[np.random.Generator, int], Sample]


class Crops:
    """Draws sample k: a patch of one of a number of crops, turned and mirrored.

    Args:
        draw: makes a crop, (n, S, S, S) each of its entries.
        count: number of crops.
        seed: of the crops.
        side: of the patches, voxels, at most that of the crops.
        word: what making them is, for the progress.
        turn: whether axes are exchanged across the slices, too.
    """

    def __init__(
        self, draw: Draw, count: int, seed: int, side: int, *, word: str, turn: bool = True
    ) -> None:
        self.side, self.turn = side, turn
        numbers = shown(range(count), count, word, unit="crop")
        self.crops = [
            _halved(draw(np.random.default_rng([seed, 5, number]), number)) for number in numbers
        ]

    def __call__(self, rng: np.random.Generator, number: int) -> Sample:
        """The entries of a crop, (n, S, S, S) each."""
        crop = self.crops[int(rng.integers(len(self.crops)))]
        room = crop["clean"].shape[1] - self.side
        box = tuple(slice(n, n + self.side) for n in rng.integers(0, room + 1, 3))
        order = rng.permutation(3) if self.turn else np.array([0, *(1 + rng.permutation(2))])
        mirrored = tuple(1 + int(axis) for axis in np.flatnonzero(rng.random(3) < 0.5))

        def turned(values: Values) -> Values:
            part = values[:, *box].transpose(0, *(1 + order)).astype(np.float32)
            return np.ascontiguousarray(np.flip(part, mirrored))

        return {key: turned(values) for key, values in crop.items()}


def _halved(crop: Sample) -> Sample:
    """In half precision: thousands fit in memory, and its rounding is far below any noise."""
    return {key: values.astype(np.float16) for key, values in crop.items()}
