"""Windowed sinc along the slices, then one cubic B-spline onto the grid.

A windowed sinc over all three axes takes minutes a volume; only the coarse axis gains from its
width. Lanczos window (Duchon 1979, J Appl Meteorol 18:1016-1022).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.superres.backprojection import refine
from pipeline.superres.request import Method, Request, Restored

LEARNED = False
RADIUS = 4


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Nothing to load."""

    def run(request: Request) -> Restored:
        finer = upsample(request.image, request.profile.axis, min(request.grid.GetSpacing()))
        plain = images.resample(finer, request.grid, request.transform)
        return Restored(refine(plain, request))

    return run


def upsample(image: sitk.Image, axis: int, spacing: float) -> sitk.Image:
    """Interpolate along one axis (x, y, z = 0, 1, 2) to about ``spacing`` mm."""
    count = image.GetSize()[axis]
    factor = max(1, round(image.GetSpacing()[axis] / spacing))
    if factor == 1:
        return image
    new_spacing = list(image.GetSpacing())
    new_size = list(image.GetSize())
    new_spacing[axis] /= factor
    new_size[axis] *= factor
    x, y, z = new_spacing
    grid = images.grid((new_size[0], new_size[1], new_size[2]), (x, y, z), image)
    positions = (np.arange(count * factor) + 0.5) / factor - 0.5
    values = np.moveaxis(images.array(image), 2 - axis, -1)
    finer = np.moveaxis(values @ lanczos(positions, count).T, -1, 2 - axis)
    return images.like(np.ascontiguousarray(finer, dtype=np.float32), grid)


def lanczos(positions: NDArray[np.float64], count: int) -> NDArray[np.float32]:
    """Weights (len(positions), count) of samples 0..count-1; the edge's stand for those beyond."""
    nearest = np.floor(positions).astype(int)
    weights = np.zeros((len(positions), count))
    for tap in range(1 - RADIUS, RADIUS + 1):
        index = nearest + tap
        distance = positions - index
        value = np.sinc(distance) * np.sinc(distance / RADIUS) * (np.abs(distance) < RADIUS)
        np.add.at(weights, (np.arange(len(positions)), np.clip(index, 0, count - 1)), value)
    normalised: NDArray[np.float32] = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return normalised
