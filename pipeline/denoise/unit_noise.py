"""Filters that are made for Gaussian noise of deviation one, on images of any noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.denoise import rician
from pipeline.denoise.noise import Noise

Volume = NDArray[np.float32]


def filtered(values: Volume, noise: Noise, work: Callable[[Volume], Volume]) -> Volume:
    """Scale the noise to one, filter, and scale back.

    Rician noise is made Gaussian before, and undone without bias after (Foi 2011).

    Args:
        values: (Z, Y, X).
        noise: its level and model, in the same units.
        work: an image → one result, or several along a first axis.
    """
    unit = np.empty_like(values)
    # plane by plane, because the tables are of double precision
    for plane, scaled in zip(values, unit, strict=True):
        level = plane.astype(np.float64) / noise.sigma
        scaled[:] = level if noise.model == "gaussian" else rician.stabilise(np.maximum(level, 0.0))
    found = np.ascontiguousarray(work(unit))
    for restored in found.reshape(-1, *values.shape[1:]):
        level = (
            restored
            if noise.model == "gaussian"
            else rician.unstabilise(restored.astype(np.float64))
        )
        restored[:] = level * noise.sigma
    return found
