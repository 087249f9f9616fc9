"""Noise that a training adds: Rician or Gaussian, of one level or varying over the image.

Rician noise is that of the magnitude of a complex signal (Gudbjartsson & Patz 1995,
doi:10.1002/mrm.1910340618); it varies over images of parallel imaging and after the correction of
the bias field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Values = NDArray[np.float32]


@dataclass(frozen=True)
class NoiseModel:
    """What is drawn for a sample.

    Attributes:
        largest: highest level, share of the range.
        rician: share of the samples with Rician noise; the others have Gaussian.
        varying: share of the samples whose level varies over the image.
        none: share of the samples without noise.
    """

    largest: float = 0.12
    rician: float = 0.8
    varying: float = 0.25
    none: float = 0.02

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> NoiseModel:
        """Read ``denoise.learning.noise``."""
        return cls(
            float(section["largest"]) / 100.0, float(section["rician"]),
            float(section["varying"]), float(section["none"]),
        )  # fmt: skip

    def level(self, shape: tuple[int, ...], rng: np.random.Generator) -> Values:
        """Deviation of the noise of each voxel; low levels come more often than high ones."""
        share = 0.0 if rng.random() < self.none else rng.random() ** 1.3
        level = np.full(shape, self.largest * share, dtype=np.float32)
        if rng.random() < self.varying:
            level *= uneven(shape, rng)
        return level

    def add(self, clean: Values, level: Values, rng: np.random.Generator) -> Values:
        """A noisy copy; whether the noise is Rician is drawn."""
        return rician(clean, level, rng) if rng.random() < self.rician else gaussian(
            clean, level, rng
        )  # fmt: skip


def rician(clean: Values, level: Values | float, rng: np.random.Generator) -> Values:
    """Magnitude of the signal with Gaussian noise of deviation ``level`` on both its parts."""
    real = rng.standard_normal(clean.shape, dtype=np.float32)
    imaginary = rng.standard_normal(clean.shape, dtype=np.float32)
    return np.asarray(np.hypot(clean + level * real, level * imaginary), dtype=np.float32)


def gaussian(clean: Values, level: Values | float, rng: np.random.Generator) -> Values:
    """The signal with Gaussian noise of deviation ``level``."""
    drawn = rng.standard_normal(clean.shape, dtype=np.float32)
    return np.asarray(clean + level * drawn, dtype=np.float32)


def uneven(shape: tuple[int, ...], rng: np.random.Generator) -> Values:
    """A smooth factor between about 0.4 and 2.5, one on the geometric mean."""
    coarse = rng.normal(0.0, 0.5, (3, 3, 3))
    zoom = [n / 3 for n in shape]
    field = ndimage.zoom(coarse, zoom, order=1, mode="nearest", grid_mode=True)
    return np.asarray(np.exp(np.clip(field, -0.9, 0.9)), dtype=np.float32)
