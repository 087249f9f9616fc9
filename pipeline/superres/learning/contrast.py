"""Random contrasts, so that a network trained on few of them restores others too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

#: Knots of a random map between intensity 0 and 1.
KNOTS = 6


def remap(
    values: NDArray[np.float32], share: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Another contrast of the same anatomy, or the image with another brightness and gamma.

    Tissues are told apart by their T1w intensity; a smooth random map of it gives them others, so
    that cerebrospinal fluid may be brighter than white matter, as in T2w. Zero stays zero.

    Args:
        values: intensities from 0 to about 1.
        share: probability of a map that may fall as well as rise.
        rng: source of randomness.
    """
    if rng.random() >= share:
        gain, gamma = rng.uniform(0.75, 1.2), np.exp(rng.uniform(-0.25, 0.25))
        return np.asarray(gain * np.sign(values) * np.abs(values) ** gamma, dtype=np.float32)
    knots = np.linspace(0.0, 1.0, KNOTS)
    heights = np.r_[0.0, rng.uniform(0.1, 1.0, KNOTS - 1)]
    found = PchipInterpolator(knots, heights)(np.clip(values, 0.0, 1.0))
    # what is brighter than 1, or below zero, goes on as it is
    beyond = values - np.clip(values, 0.0, 1.0)
    return np.asarray(found + 0.5 * beyond, dtype=np.float32)
