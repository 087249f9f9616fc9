"""Like blocks filtered together, at two sizes, with a sliding DCT and non-local means.

The guide is a sliding DCT with hard thresholds (:mod:`pipeline.denoise.dct`). With it, groups of
blocks (:mod:`pipeline.denoise.groups`) of 4 voxels are filtered under two assumed noise levels, and
groups of blocks of 6 voxels; what the first gives guides non-local means. All these err
differently, and the result is a weighted sum of them, with weights found by least squares.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.denoise import dct, groups, slabs, unit_noise
from pipeline.denoise.groups import Blocks
from pipeline.denoise.methods import nlm
from pipeline.denoise.noise import Noise
from pipeline.denoise.request import Box, Method, Request, in_content

LEARNED = False
SMALL = Blocks(side=4, step=3, members=8, radius=3)
LARGE = Blocks(side=6, step=4, members=8, radius=2)
#: Noise that the second filter of small groups assumes; it lets more pass.
LESS = 0.7
#: Half width of the window of non-local means, voxels.
RADIUS = 2
#: Results that are summed up: hard thresholds, small groups, the same with less noise assumed,
#: large groups, non-local means.
PARTS = 5
#: Their weights, whose sum is one: least squares over three whole brains of brain_t1, which train
#: denoising networks, too, at 3, 5 and 9 % of Rician noise, whose level is known.
WEIGHTS = (-0.20, 0.77, -0.40, 0.43, 0.40)
#: Voxels that hard thresholds, and non-local means, look at on either side.
REACH = dct.SIDE - 1, RADIUS + 1
Volume = NDArray[np.float32]


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Nothing is to be set."""

    def run(request: Request) -> sitk.Image:
        def one(values: Volume, _: Box) -> Volume:
            return denoise(values, request.noise, request.strength)

        return images.like(in_content(request, one), request.image)

    return run


def denoise(values: Volume, noise: Noise, strength: float = 1.0) -> Volume:
    """Denoise an array.

    Args:
        values: (Z, Y, X).
        noise: its level and model, in the same units.
        strength: factor on the level.
    """
    return unit_noise.filtered(values, noise, lambda noisy: _sum(_parts(noisy, strength)))


def estimates(values: Volume, noise: Noise, strength: float = 1.0) -> Volume:
    """As :func:`denoise`: the result and the PARTS that it is a sum of, (1 + PARTS, Z, Y, X)."""

    def whole(noisy: Volume) -> Volume:
        parts = _parts(noisy, strength)
        return np.concatenate([_sum(parts)[None], parts])

    return unit_noise.filtered(values, noise, whole)


def _parts(noisy: Volume, strength: float) -> Volume:
    """Estimates of an image whose noise has deviation one, (PARTS, Z, Y, X)."""
    threshold = nlm.THRESHOLD * strength
    first = slabs.filtered(noisy, lambda one: dct.hard_threshold(one, threshold), REACH[0])
    small, less = groups.wiener(noisy, first, SMALL, (strength, LESS * strength))
    (large,) = groups.wiener(noisy, first, LARGE, (strength,))

    def like(both: Volume) -> Volume:
        return nlm.non_local_means(both[0], both[1], nlm.BANDWIDTH * strength, RADIUS)

    means = slabs.filtered(np.stack([noisy, small]), like, REACH[1])
    return np.stack([first, small, less, large, means])


def _sum(parts: Volume) -> Volume:
    total: Volume = np.zeros_like(parts[0])
    for weight, part in zip(WEIGHTS, parts, strict=True):
        total += np.float32(weight) * part
    return total
