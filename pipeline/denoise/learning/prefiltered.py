"""Samples of a network that refines filters: with what those made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.denoise.learning.draw import Validation
from pipeline.denoise.learning.noise_model import Values
from pipeline.denoise.methods import collaborative
from pipeline.denoise.noise import Noise

Sample = dict[str, Any]
#: Least level that the filters are told, share of the range.
LEAST = 1e-3


class Judged:
    """Validation samples with what filters made of them, which is computed once.

    Args:
        drawn: the samples; the same number always gives the same.
    """

    def __init__(self, drawn: Validation) -> None:
        self.drawn, self.count = drawn, drawn.count
        self.kept: dict[int, Sample] = {}

    def __call__(self, rng: np.random.Generator, number: int) -> Sample:
        """As :class:`Validation`, and ``filtered``, (n, S, S, S)."""
        if number not in self.kept:
            self.kept[number] = with_filtered(self.drawn(rng, number))
        return self.kept[number]

    def label(self, name: str, number: int) -> str:
        """As :meth:`Validation.label`."""
        return self.drawn.label(name, number)


def with_filtered(sample: Sample) -> Sample:
    """Add ``filtered``: what filters that are told the middle of the levels make of the image."""
    noisy: Values = sample["noisy"][0]
    sigma = max(LEAST, float(np.median(sample["level"])))
    # as the stage takes it: magnitudes have no negative values
    model = "gaussian" if noisy.min() < -1e-6 * noisy.max() else "rician"
    noise = Noise(sigma, 100.0 * sigma, model, None)
    return {**sample, "filtered": collaborative.estimates(noisy, noise)}
