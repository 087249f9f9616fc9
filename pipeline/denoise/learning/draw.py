"""Samples of a denoising network: a patch, the same with noise, and the level it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from pipeline.denoise.learning.noise_model import NoiseModel, Values, rician
from pipeline.restore import patches
from pipeline.restore.patches import Patch
from pipeline.restore.volumes import Volume

#: Levels of the validation samples, share of the range.
LEVELS = (0.03, 0.05, 0.09)


@dataclass(frozen=True)
class Training:
    """Draws sample k of a training.

    Attributes:
        volumes: to draw from.
        side: of the patches, voxels.
        noise: what is added.
        variety: share of the samples with another resolution or contrast, each.
    """

    volumes: Sequence[Volume]
    side: int
    noise: NoiseModel
    variety: float = 0.3

    def __call__(self, rng: np.random.Generator, number: int) -> dict[str, Any]:
        """``clean``, ``noisy``, ``level`` and ``inside``, each (1, S, S, S)."""
        patch = self._patch(rng)
        clean = patch.values * np.float32(rng.uniform(0.7, 1.3))
        level = self.noise.level(clean.shape, rng)
        keep = _kept(patch, clean, rng)
        noisy = self.noise.add(clean, level, rng) * keep
        told = _told(level, patch, rng)
        inside = patch.inside.astype(np.float32)
        found = {"clean": clean, "noisy": noisy, "level": told, "inside": inside}
        return {key: values[None] for key, values in found.items()}

    def _patch(self, rng: np.random.Generator) -> Patch:
        volume = patches.choose(self.volumes, rng)
        place = patches.place_inside(volume, rng)
        kind = rng.random()
        if kind < 0.3 * self.variety:
            patch = patches.cut(volume, 3 * self.side, place)
            middle = (slice(None), *[slice(self.side, 2 * self.side)] * 2)
            patch = Patch(patch.values[middle], patch.inside[middle], volume)
            patch = patches.thicker(patch, self.side, rng)
            patch = Patch(patch.values[: self.side], patch.inside[: self.side], volume, True)
        elif kind < self.variety:
            patch = patches.finer(patches.cut(volume, self.side, place), self.side, rng)
        else:
            patch = patches.cut(volume, self.side, place)
        if rng.random() < self.variety:
            patch = patches.recoloured(patch, rng)
        return patches.turned(patch, rng)


@dataclass(frozen=True)
class AsMeasured:
    """Draws sample k of a training from noisy images alone: no noise is added.

    Attributes:
        volumes: noisy images; each gives its estimated level.
        side: of the patches, voxels.
    """

    volumes: Sequence[Volume]
    side: int

    def __call__(self, rng: np.random.Generator, number: int) -> dict[str, Any]:
        """``noisy``, ``level`` and ``inside``, each (1, S, S, S); ``rician`` is 1 or 0."""
        volume = patches.choose(self.volumes, rng)
        place = patches.place_inside(volume, rng)
        patch = patches.turned(patches.cut(volume, self.side, place), rng)
        scale = np.float32(rng.uniform(0.7, 1.3))
        level = np.full_like(patch.values, volume.noise * scale)
        if volume.emptied:
            # what was set to zero holds no noise
            level *= patch.values != 0
        inside = patch.inside.astype(np.float32)
        found = {"noisy": patch.values * scale, "level": level, "inside": inside}
        return {
            **{key: values[None] for key, values in found.items()},
            "rician": np.float32(volume.magnitude),
        }


@dataclass(frozen=True)
class Validation:
    """Draws validation sample k: levels in turn, Rician, the middle of each volume, no variety."""

    volumes: Sequence[Volume]
    side: int

    @property
    def count(self) -> int:
        """Samples: every volume at every level."""
        return len(self.volumes) * len(LEVELS)

    def __call__(self, rng: np.random.Generator, number: int) -> dict[str, Any]:
        """As :meth:`Training.__call__`; the level that is told is the one that was added."""
        which, step = divmod(number, len(LEVELS))
        volume = self.volumes[which]
        centre = [round(c) for c in ndimage.center_of_mass(volume.mask)]
        patch = patches.cut(volume, self.side, centre)
        level = np.full(patch.values.shape, LEVELS[step], dtype=np.float32)
        noisy = rician(patch.values, level, rng)
        inside = patch.inside.astype(np.float32)
        found = {"clean": patch.values, "noisy": noisy, "level": level, "inside": inside}
        return {key: values[None] for key, values in found.items()}

    def label(self, name: str, number: int) -> str:
        """Of a score of a sample."""
        return f"{name} at {100 * LEVELS[number % len(LEVELS)]:g} %, dB"


def _kept(patch: Patch, clean: Values, rng: np.random.Generator) -> Values | np.float32:
    """Emptied backgrounds stay empty in half of the cases, as after skull-stripping."""
    if not patch.volume.emptied or rng.random() < 0.5:
        return np.float32(1.0)
    return np.asarray(clean != 0, dtype=np.float32)


def _told(level: Values, patch: Patch, rng: np.random.Generator) -> Values:
    """The level that the network is told: an estimate errs, and may count the image's own noise."""
    if not level.any():
        # a clean image is told to hold a little noise: it learns to leave it
        return np.full_like(level, rng.uniform(0.0, 0.015))
    own = 0.0 if patch.changed else patch.volume.noise * np.sqrt(rng.random())
    error = float(np.exp(rng.normal(0.0, 0.05)))
    return np.asarray(np.sqrt(np.square(level) + own**2) * error, dtype=np.float32)
