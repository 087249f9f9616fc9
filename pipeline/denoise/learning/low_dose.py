"""Samples of a network for low-dose CT: slices with the noise of fewer photons.

The line integrals of a slice tell how many photons reach the detector; their noise is filtered and
projected back, and added to the slice (Zeng et al. 2015, A simple low-dose X-ray CT simulation from
high-dose scan, doi:10.1109/TNS.2015.2467219). Only what a patch needs is projected back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from pipeline.denoise import noise
from pipeline.denoise.learning.noise_model import Values
from pipeline.denoise.learning.projections import Geometry, Region, line_integrals
from pipeline.errors import VoxelwayError
from pipeline.restore import patches
from pipeline.restore.volumes import Volume

#: Attenuation of water at 60 keV, 1/mm (Hubbell and Seltzer 2004, NIST, doi:10.18434/T4D01F).
WATER = 0.0206
#: Every so many slices and so many voxels in them line integrals are computed: they are smooth.
SLICES, COARSE = 4, 2
#: How far the filter reaches, rays.
REACH = 24
Sample = dict[str, Any]


@dataclass(frozen=True)
class Scanner:
    """How many photons are counted.

    Attributes:
        photons: fewest and most that reach a detector element which nothing stands before.
        electronic: deviation of what the electronics add, photons.
        views: directions over half a turn.
    """

    photons: tuple[float, float] = (2e4, 1e6)
    electronic: float = 10.0
    views: int = 360

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Scanner:
        """Read ``denoise.learning.noise``.

        Raises:
            VoxelwayError: E-CONFIG-VALUE when the most photons are fewer than the fewest.
        """
        fewest, most = (float(n) for n in section["photons"])
        if most < fewest:
            what = f"denoise.learning.noise.photons: {fewest:g} is more than {most:g}"
            raise VoxelwayError("E-CONFIG-VALUE", what, hint="Give the fewest first")
        return cls((fewest, most), float(section["electronic"]), int(section["views"]))

    def drawn(self, rng: np.random.Generator) -> float:
        """Photons of a scan, between the fewest and the most on a scale of logarithms."""
        return float(np.exp(rng.uniform(*np.log(self.photons))))

    @property
    def steps(self) -> tuple[float, float, float]:
        """Photons of the validation: most, between and fewest."""
        fewest, most = self.photons
        return most, float(np.sqrt(fewest * most)), fewest


class Projected:
    """A volume and its line integrals.

    Args:
        volume: CT in shares of ``window``, its slices along z.
        window: CT numbers at 0 and 1 of the values, HU.
        scanner: counts photons.
    """

    def __init__(self, volume: Volume, window: tuple[float, float], scanner: Scanner) -> None:
        self.volume, self.window, self.scanner = volume, window, scanner
        _, y, x = volume.values.shape
        height, width = volume.spacing[1:]
        self.geometry = Geometry((y, x), (height, width), scanner.views, min(height, width))

    @cached_property
    def integrals(self) -> Tensor:
        """Of every :data:`SLICES`-th slice, (N, V, B)."""
        low, high = self.window
        units = torch.from_numpy(self.volume.values[::SLICES]) * (high - low) + low
        attenuation = (WATER * (1.0 + units / 1000.0)).clamp_min(0.0)
        small = functional.avg_pool2d(attenuation[None], COARSE, ceil_mode=True)[0]
        own = self.geometry
        step = COARSE * own.step
        y, x = (COARSE * mm for mm in own.spacing)
        coarse = Geometry((small.shape[1], small.shape[2]), (y, x), own.views, step)
        found = line_integrals(small, coarse)
        # both detectors have their middle on the axis
        place = torch.arange(own.bins) - (own.bins - 1) / 2
        index = (place / COARSE + (coarse.bins - 1) / 2).clamp(0, coarse.bins - 1)
        near = index.floor().long().clamp_max(coarse.bins - 2)
        share = index - near
        return found[..., near] * (1.0 - share) + found[..., near + 1] * share

    def noise(
        self, start: Sequence[int], size: Sequence[int], photons: float, rng: np.random.Generator
    ) -> tuple[Values, Values]:
        """Noise of a part of the volume, and its deviation; both Z, Y, X, in shares of the window.

        Args:
            start: first voxel of the part, Z, Y, X.
            size: of the part, Z, Y, X.
            photons: of the scan.
            rng: draws it.
        """
        region = Region(
            self.geometry, (start[1], start[2]), (size[1], size[2]), min(REACH, self.geometry.bins)
        )
        rows = np.clip(np.arange(start[0], start[0] + size[0]), 0, len(self.volume.values) - 1)
        # neighbouring slices share their line integrals
        keys, which = np.unique(np.minimum(rows // SLICES, len(self.integrals) - 1),
                                return_inverse=True)  # fmt: skip
        expected = photons * torch.exp(-region.cut(self.integrals[torch.from_numpy(keys)]))
        counts = rng.poisson(expected.numpy()[which]).astype(np.float32)
        counts += rng.normal(0.0, self.scanner.electronic, counts.shape).astype(np.float32)
        # a detector that counts nothing would see an infinite attenuation
        seen = torch.log(expected[which] / torch.from_numpy(np.maximum(counts, 1.0)))
        variance = (expected + self.scanner.electronic**2) / expected.square()
        scale = 1000.0 / WATER / (self.window[1] - self.window[0])
        made = region.reconstructed(seen) * scale
        return made.numpy(), (region.deviation(variance) * scale).numpy()[which]


@dataclass(frozen=True)
class LowDose:
    """Draws sample k of a training; see :class:`pipeline.denoise.learning.draw.Training`.

    Attributes:
        scans: to draw from.
        side: of the patches, voxels.
    """

    scans: Sequence[Projected]
    side: int

    def __call__(self, rng: np.random.Generator, number: int) -> Sample:
        """``clean``, ``noisy``, ``level`` and ``inside``, each (1, S, S, S)."""
        weights = np.array([scan.volume.weight for scan in self.scans])
        scan = self.scans[int(rng.choice(len(self.scans), p=weights / weights.sum()))]
        place = patches.place_inside(scan.volume, rng)
        error = float(np.exp(rng.normal(0.0, 0.05)))
        return sample(scan, place, self.side, scan.scanner.drawn(rng), rng, error)


@dataclass(frozen=True)
class Doses:
    """Draws validation sample k: most to fewest photons in turn, the middle of each volume."""

    scans: Sequence[Projected]
    side: int

    @property
    def count(self) -> int:
        """Samples: every volume at every dose."""
        return sum(len(scan.scanner.steps) for scan in self.scans)

    def __call__(self, rng: np.random.Generator, number: int) -> Sample:
        """As :meth:`LowDose.__call__`."""
        which, step = divmod(number, 3)
        scan = self.scans[which]
        centre = [round(c) for c in ndimage.center_of_mass(scan.volume.mask)]
        return sample(scan, centre, self.side, scan.scanner.steps[step], rng, 1.0)

    def label(self, name: str, number: int) -> str:
        """Of a score of a sample."""
        photons = self.scans[number // 3].scanner.steps[number % 3]
        return f"{name} at {photons:.3g} photons, dB"


def sample(
    scan: Projected,
    place: Sequence[int],
    side: int,
    photons: float,
    rng: np.random.Generator,
    error: float,
) -> Sample:
    """A cube around a voxel with the noise of a dose.

    Args:
        scan: where it is from.
        place: of the middle, Z, Y, X.
        side: voxels.
        photons: of the dose.
        rng: draws the noise.
        error: factor on the level that is told.
    """
    patch = patches.cut(scan.volume, side, place)
    start = [
        min(max(0, int(centre) - side // 2), max(0, size - side)) - max(0, side - size) // 2
        for centre, size in zip(place, scan.volume.values.shape, strict=True)
    ]
    made, deviation = scan.noise(start, (side, side, side), photons, rng)
    # as the estimate sees it: neighbouring voxels of a slice are not independent
    level = deviation * estimated(made / deviation, scan.volume.spacing)
    told = np.sqrt(np.square(level) + scan.volume.noise**2) * error
    found = {
        "clean": patch.values,
        "noisy": np.clip(patch.values + made, 0.0, 1.0),
        "level": told.astype(np.float32),
        "inside": patch.inside.astype(np.float32),
    }
    return {key: values.astype(np.float32)[None] for key, values in found.items()}


def estimated(values: Values, spacing: Sequence[float]) -> float:
    """Deviation of pure noise by the second differences of :mod:`pipeline.denoise.noise`."""
    fine = [axis for axis in range(3) if spacing[axis] <= noise.FINE * min(spacing)]
    for axis in fine:
        values = ndimage.convolve1d(values, noise.SECOND_DIFFERENCE, axis=axis, mode="nearest")
        # at the ends a difference lacks a neighbour
        values = np.take(values, range(1, values.shape[axis] - 1), axis=axis)
    return float(np.median(np.abs(values))) / noise.MAD
