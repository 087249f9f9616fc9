"""The regression: a small fully connected network on patches, in numpy.

Layers of SiLU units end in the mean; a second output on the last hidden layer gives the logarithm
of the variance. Trained with torch in ``fit.py``, applied without it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: Voxels worked on at once: bounds the memory, changes no value.
CHUNK = 65536
#: Middle and half of the range of the variance's logarithm, in squared medians of the brain:
#: standard deviations from 0.002 to 0.6. Approached softly, so that training can leave the ends.
LOG_VARIANCE = (-6.5, 5.5)


def layers(weights: Mapping[str, Floats]) -> int:
    """Number of hidden layers."""
    return sum(name.startswith("hidden") and name.endswith("weight") for name in weights)


def predict(weights: Mapping[str, Floats], patches: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation for patches of shape (n, features), in medians of the brain."""
    count = len(patches)
    mean, spread = np.empty(count, np.float32), np.empty(count, np.float32)
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        mean[part], spread[part] = _chunk(weights, patches[part])
    return mean, spread


def _chunk(weights: Mapping[str, Floats], patches: Floats) -> tuple[Floats, Floats]:
    x = (patches - weights["center"]) / weights["scale"]
    for i in range(layers(weights)):
        x = x @ weights[f"hidden{i}.weight"].T + weights[f"hidden{i}.bias"]
        # SiLU: x * sigmoid(x), without an overflow for very negative x
        x = x * (0.5 * (1.0 + np.tanh(0.5 * x)))
    mean = x @ weights["mean.weight"][0] + weights["mean.bias"][0]
    log = x @ weights["variance.weight"][0] + weights["variance.bias"][0]
    middle, half = LOG_VARIANCE
    return mean, np.exp(0.5 * (middle + half * np.tanh(log / half)))
