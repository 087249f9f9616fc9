"""Prefiltered, rotationally invariant non-local means (Manjon et al. 2012, MedIA 16).

A sliding DCT with hard thresholds gives a first estimate, a Wiener filter in the same DCT the
second; non-local means then compares voxels in that estimate (its value and its local mean) and
averages the noisy ones. The result is the mean of the last two, which err differently. Rician
noise is made Gaussian of deviation one before and undone without bias after (Foi 2011).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from pipeline import images
from pipeline.denoise import dct, slabs, unit_noise
from pipeline.denoise.noise import Noise
from pipeline.denoise.request import Box, Method, Request, in_content

LEARNED = False
#: Hard threshold and non-local bandwidth in units of sigma (best on brain T1w at 1 to 9 %).
THRESHOLD, BANDWIDTH = 2.7, 0.4
#: Half width of the window that is searched, voxels, where the configuration is silent.
RADIUS = 3
Volume = NDArray[np.float32]


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Take the search radius from the configuration."""
    radius = int(params.get("search_radius", RADIUS))

    def run(request: Request) -> sitk.Image:
        def one(values: Volume, _: Box) -> Volume:
            return denoise(values, request.noise, request.strength, radius)

        return images.like(in_content(request, one), request.image)

    return run


def denoise(values: Volume, noise: Noise, strength: float = 1.0, radius: int = RADIUS) -> Volume:
    """Denoise an array.

    Args:
        values: (Z, Y, X).
        noise: its level and model, in the same units.
        strength: factor on the level.
        radius: half width of the window that is searched, voxels.
    """

    # two DCT filters, each with blocks on both sides; the window, and the means over 3 voxels
    reach = 2 * (dct.SIDE - 1) + radius + 1

    def whole(noisy: Volume) -> Volume:
        return slabs.filtered(noisy, lambda one: _filter(one, strength, radius), reach)

    return unit_noise.filtered(values, noise, whole)


def _filter(noisy: Volume, strength: float, radius: int) -> Volume:
    """Denoise an image whose noise has deviation one."""
    first = dct.hard_threshold(noisy, THRESHOLD * strength)
    second = dct.wiener(noisy, first, strength)
    third = non_local_means(noisy, second, BANDWIDTH * strength, radius)
    return np.asarray(0.5 * (second + third), dtype=np.float32)


def non_local_means(noisy: Volume, guide: Volume, bandwidth: float, radius: int) -> Volume:
    """Average of ``noisy`` over a window, weighted by likeness in ``guide``.

    The weight of two voxels is exp(-((g - g')² + 3 (m - m')²) / (8 bandwidth²)), with g the guide
    and m its mean over 3x3x3 voxels; turning a patch does not change it.
    """
    mean = ndimage.uniform_filter(guide, 3, mode="nearest")
    total, weights = noisy.copy(), np.ones_like(noisy)
    factor = np.float32(-1.0 / (8.0 * bandwidth**2))
    for shift in itertools.product(range(radius + 1), *[range(-radius, radius + 1)] * 2):
        # each pair of voxels once: half of the window
        if shift <= (0, 0, 0) or any(abs(s) >= n for s, n in zip(shift, noisy.shape, strict=True)):
            continue
        here = tuple(
            slice(max(0, s), n + min(0, s)) for s, n in zip(shift, noisy.shape, strict=True)
        )
        there = tuple(
            slice(max(0, -s), n + min(0, -s)) for s, n in zip(shift, noisy.shape, strict=True)
        )
        weight = np.square(mean[here] - mean[there])
        weight *= 3.0
        weight += np.square(guide[here] - guide[there])
        weight *= factor
        np.exp(weight, out=weight)
        total[here] += weight * noisy[there]
        total[there] += weight * noisy[here]
        weights[here] += weight
        weights[there] += weight
    return total / weights
