"""What an acquired target says of the grid: the mean across a slice, where a slice was measured.

A network gives a thin contrast. Where the target's slices are thick, the loss compares the mean of
what was made across the slice with the acquired value, at the voxels that lie in the middle of a
slice; between two slices nothing was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """An acquired contrast as something to learn.

    Attributes:
        values: (Z, Y, X) float32, in medians of the brain.
        seen: (Z, Y, X) bool, where a value was measured.
        kernel: (K, K, K), odd, sum one: weights of the neighbours whose mean was measured.
        across: (P, 3), the same as points, mm along the grid's x, y and z; zero for thin slices.
    """

    values: Tensor
    seen: Tensor
    kernel: Tensor
    across: Tensor = field(default_factory=lambda: torch.zeros(1, 3))


def delta() -> Tensor:
    """Kernel of thin slices."""
    return torch.ones(1, 1, 1)


def across(steps: Sequence[float], normal: Points, grid: sitk.Image) -> Tensor:
    """Points along a slice's normal, (P, 3), mm along the grid's x, y and z.

    Args:
        steps: distances of the points from the middle of the slice, mm.
        normal: unit vector in patient space.
        grid: isotropic.
    """
    direction = np.asarray(grid.GetDirection()).reshape(3, 3)
    found = np.outer(np.asarray(steps, dtype=float), direction.T @ np.asarray(normal))
    return torch.from_numpy(found.astype(np.float32))


def kernel(points_mm: Tensor, spacing: float) -> Tensor:
    """Weights of neighbouring voxels for points around a voxel, shared out linearly.

    Args:
        points_mm: (P, 3), mm along the grid's x, y and z.
        spacing: of the grid, mm.
    """
    points = points_mm.double().numpy()[:, ::-1] / spacing
    reach = int(np.ceil(np.abs(points).max() - 1e-9))
    weights = np.zeros((2 * reach + 1,) * 3)
    for point in points + reach:
        low = np.floor(point + 1e-9).astype(int)
        part = point - low
        for corner in np.ndindex(2, 2, 2):
            share = float(np.prod(np.where(corner, part, 1.0 - part)))
            if share > 1e-9:
                weights[tuple(low + corner)] += share
    return torch.from_numpy((weights / weights.sum()).astype(np.float32))


def middle(native: sitk.Image, to_native: sitk.Transform, grid: sitk.Image) -> NDArray[np.bool_]:
    """Voxels of a grid within half a voxel of the middle of a slice, (z, y, x).

    Args:
        native: the acquired image, whose longest voxel edge is across the slices.
        to_native: maps points of the grid to points of the image; linear.
        grid: isotropic.
    """
    axis = int(np.argmax(native.GetSpacing()))
    corners = []
    for index in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
        point = to_native.TransformPoint(grid.TransformContinuousIndexToPhysicalPoint(index))
        corners.append(native.TransformPhysicalPointToContinuousIndex(point)[axis])
    x, y, z = (np.arange(n) * (corners[k + 1] - corners[0]) for k, n in enumerate(grid.GetSize()))
    place = corners[0] + z[:, None, None] + y[None, :, None] + x[None, None, :]
    near = np.abs(place - np.round(place)) * native.GetSpacing()[axis]
    within = (place > -0.5) & (place < native.GetSize()[axis] - 0.5)
    return np.asarray((near <= 0.5 * max(grid.GetSpacing()) + 1e-6) & within)


def average(made: Tensor, kernels: Tensor) -> Tensor:
    """Mean across the slices that each sample's target was acquired with.

    Args:
        made: (B, 1, Z, Y, X).
        kernels: (B, K, K, K), one a sample, centred.
    """
    size = kernels.shape[-1]
    if size == 1:
        return made
    padded = functional.pad(made, (size // 2,) * 6, mode="replicate")
    grouped = padded.transpose(0, 1)
    return functional.conv3d(grouped, kernels[:, None], groups=len(made)).transpose(0, 1)


def sized(weights: Tensor, size: int) -> Tensor:
    """A kernel with zeros around it, so that those of several samples make one batch."""
    missing = (size - weights.shape[0]) // 2
    return functional.pad(weights, (missing,) * 6)
