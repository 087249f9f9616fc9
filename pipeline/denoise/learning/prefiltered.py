"""Samples of a network that refines non-local means: beside noisy and clean, what that filter left.

The filter takes longer than a step of the training, so that crops are filtered once, before it, and
patches are drawn from them, turned and mirrored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.denoise.learning.draw import Training, Validation
from pipeline.denoise.learning.noise_model import Values
from pipeline.denoise.methods import nlm
from pipeline.denoise.noise import Noise
from pipeline.progress import shown

Sample = dict[str, Any]
#: Least level that the filter is told, share of the range.
LEAST = 1e-3


class Prefiltered:
    """Draws sample k: a patch of one of a number of crops.

    Args:
        crops: draws the crops, noisy, clean and with the level that is told.
        count: number of crops.
        seed: of the crops.
        side: of the patches, voxels, at most that of the crops.
    """

    def __init__(self, crops: Training, count: int, seed: int, side: int) -> None:
        self.side = side
        numbers = shown(range(count), count, "non-local means", unit="crop")
        self.crops = [
            with_filtered(crops(np.random.default_rng([seed, 5, number]), number))
            for number in numbers
        ]

    def __call__(self, rng: np.random.Generator, number: int) -> Sample:
        """As :class:`Training`, and ``filtered``: (1, S, S, S) each."""
        crop = self.crops[int(rng.integers(len(self.crops)))]
        room = crop["clean"].shape[1] - self.side
        box = tuple(slice(n, n + self.side) for n in rng.integers(0, room + 1, 3))
        order = rng.permutation(3)
        mirrored = tuple(int(axis) for axis in np.flatnonzero(rng.random(3) < 0.5))

        def turned(values: Values) -> Values:
            return np.ascontiguousarray(np.flip(values[0][box].transpose(order), mirrored))[None]

        return {key: turned(values) for key, values in crop.items()}


class Judged:
    """Validation samples with what the filter left of them, which is computed once.

    Args:
        drawn: the samples; the same number always gives the same.
    """

    def __init__(self, drawn: Validation) -> None:
        self.drawn, self.count = drawn, drawn.count
        self.kept: dict[int, Sample] = {}

    def __call__(self, rng: np.random.Generator, number: int) -> Sample:
        """As :class:`Validation`, and ``filtered``, (1, S, S, S)."""
        if number not in self.kept:
            self.kept[number] = with_filtered(self.drawn(rng, number))
        return self.kept[number]


def with_filtered(sample: Sample) -> Sample:
    """Add ``filtered``: the noisy image after non-local means told the middle of the levels."""
    noisy: Values = sample["noisy"][0]
    sigma = max(LEAST, float(np.median(sample["level"])))
    # as the stage takes it: magnitudes have no negative values
    model = "gaussian" if noisy.min() < -1e-6 * noisy.max() else "rician"
    filtered = nlm.denoise(noisy, Noise(sigma, 100.0 * sigma, model, None))
    return {**sample, "filtered": filtered[None]}
