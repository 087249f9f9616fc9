"""Samples of a network that refines non-local means: with what that filter left of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.denoise.learning.draw import Validation
from pipeline.denoise.learning.noise_model import Values
from pipeline.denoise.methods import nlm
from pipeline.denoise.noise import Noise

Sample = dict[str, Any]
#: Least level that the filter is told, share of the range.
LEAST = 1e-3


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

    def label(self, name: str, number: int) -> str:
        """As :meth:`Validation.label`."""
        return self.drawn.label(name, number)


def with_filtered(sample: Sample) -> Sample:
    """Add ``filtered``: the noisy image after non-local means told the middle of the levels."""
    noisy: Values = sample["noisy"][0]
    sigma = max(LEAST, float(np.median(sample["level"])))
    # as the stage takes it: magnitudes have no negative values
    model = "gaussian" if noisy.min() < -1e-6 * noisy.max() else "rician"
    filtered = nlm.denoise(noisy, Noise(sigma, 100.0 * sigma, model, None))
    return {**sample, "filtered": filtered[None]}
