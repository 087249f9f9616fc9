"""Lays the atlas of a level over a scene, by the centres of what the level before found.

Centres of structures hardly depend on how exact their borders are, and on no contrast at all: an
affine transform that is fitted to them brings the atlas to within a few millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.prior import Prior
from pipeline.segment.cascade import cleanup
from pipeline.segment.cascade.plan import PriorGrid
from pipeline.segment.cascade.volume import Floats

Points = NDArray[np.float64]
#: Share of the second moments of the centres with which the affine transform is drawn towards a
#: rotation with one scale. Chosen on training cases, leaving one out, with centres that are moved.
RIDGE = 0.1
#: The same for fewer centres than an affine transform needs: a rotation without a scale.
RIGID = 1e6
#: Distance at which a centre that does not fit the others counts half, mm (Cauchy's weights), and
#: how often the fit is repeated with them.
FAR = 5.0
ROUNDS = 20
#: Voxels of a structure, at least, whose centre counts.
FEWEST = 4
#: Structures that touch no border, from which on those that do are left out.
ENOUGH = 4
#: Voxels that are laid at once: what is needed for them stays in the processor's cache.
AT_ONCE = 1 << 16


def centres(channels: NDArray[np.integer], count: int, grid: sitk.Image) -> Points:
    """Centre of each class, mm, (count, 3) along x, y, z; not a number where there is none.

    Only the largest part of a class counts. One that touches a face of the grid may be cut off, and
    is left out where enough others are whole.

    Args:
        channels: (Z, Y, X), 0 the background, else the number of the class from 1.
        count: number of the classes.
        grid: that they are on.
    """
    found = np.full((count, 3), np.nan)
    cut = np.zeros(count, np.bool_)
    for number in range(count):
        mask = cleanup.largest(channels == number + 1)
        if np.count_nonzero(mask) < FEWEST:
            continue
        index = np.argwhere(mask).mean(axis=0)[::-1]
        found[number] = grid.TransformContinuousIndexToPhysicalPoint([float(v) for v in index])
        cut[number] = any(mask.take(end, axis).any() for axis in range(3) for end in (0, -1))
    if np.count_nonzero(~np.isnan(found[:, 0]) & ~cut) >= ENOUGH:
        found[cut] = np.nan
    return found


def affine(reference: Points, found: Points) -> sitk.AffineTransform:
    """The transform from the atlas to a scene that takes one set of centres to the other.

    Args:
        reference: of the atlas, (N, 3).
        found: of the scene, (N, 3); rows that are not a number are left out. With few rows it is a
            shift with a rotation; without any it is the identity.
    """
    transform = sitk.AffineTransform(3)
    known = ~np.isnan(found).any(axis=1)
    if not known.any():
        return transform
    source, target = reference[known], found[known]
    weights = np.ones(len(source))
    for _ in range(ROUNDS):
        matrix, shift = _fitted(source, target, weights)
        apart = np.linalg.norm(source @ matrix.T + shift - target, axis=1)
        weights = 1.0 / (1.0 + (apart / FAR) ** 2)
    transform.SetMatrix(matrix.ravel().tolist())
    transform.SetTranslation(shift.tolist())
    return transform


def _fitted(source: Points, target: Points, weights: NDArray[np.float64]) -> tuple[Points, Points]:
    """Matrix and shift of weighted least squares, drawn towards a rotation with one scale."""
    share = weights / weights.sum()
    middle, aim = share @ source, share @ target
    own, other = source - middle, target - aim
    among, across = (own.T * share) @ own, (other.T * share) @ own
    spread = float(np.trace(among))
    matrix = np.eye(3)
    if spread > 0:
        several = len(source) >= ENOUGH
        left, sizes, right = np.linalg.svd(across)
        sign = np.diag([1.0, 1.0, np.linalg.det(left @ right)])
        alike = left @ sign @ right * (float(sizes @ np.diag(sign)) / spread if several else 1.0)
        ridge = (RIDGE if several else RIGID) * spread / 3.0
        matrix = (across + ridge * alike) @ np.linalg.inv(among + ridge * np.eye(3))
    return matrix, aim - matrix @ middle


def laid(shares: Floats, place: PriorGrid, found: Points, target: sitk.Image) -> Floats:
    """Shares (K, Z, Y, X) of an atlas on a grid of the scene, linear; 0 beyond the atlas.

    Args:
        shares: (K, Z, Y, X), 0 to 1, on the grid of the atlas.
        place: that grid.
        found: of :func:`centres`, of the level before.
        target: grid of the scene.
    """
    count, *sizes = shares.shape
    table = torch.from_numpy(np.ascontiguousarray(np.moveaxis(shares, 0, -1)).reshape(-1, count))
    steps, first = _steps(place, affine(np.asarray(place.centres), found), target)
    x, y, z = (torch.arange(n, dtype=torch.float32) for n in target.GetSize())
    result = torch.empty((count, len(z), len(y), len(x)))
    slab = max(1, AT_ONCE // (len(y) * len(x)))
    for start in range(0, len(z), slab):
        part = z[start : start + slab]
        # index in the atlas along its z, y, x
        places = [
            (a * part[:, None, None] + (b * y[:, None] + (c * x + d))).flatten()
            for (c, b, a), d in zip(steps, first, strict=True)
        ][::-1]
        corners, weights = _corners(places, sizes)
        rows = functional.embedding_bag(
            corners.T.contiguous(), table, per_sample_weights=weights.T.contiguous(), mode="sum"
        )
        result[:, start : start + slab] = rows.T.reshape(count, len(part), len(y), len(x))
    return np.asarray(result.numpy())


def _steps(
    place: PriorGrid, moved: sitk.AffineTransform, target: sitk.Image
) -> tuple[list[list[float]], list[float]]:
    """How far one voxel of a grid goes in the atlas, and where its first voxel is.

    Returns:
        A row for x, y and z of the atlas: voxels for one along x, y and z of the grid. And the
        index along x, y and z of the atlas.
    """
    turn = np.asarray(moved.GetMatrix()).reshape(3, 3)
    axes = np.asarray(target.GetDirection()).reshape(3, 3) * target.GetSpacing()
    fine = np.asarray(place.spacing)
    steps = np.linalg.solve(turn, axes) / fine[:, None]
    origin = moved.GetInverse().TransformPoint(target.GetOrigin())
    first = (np.asarray(origin) - place.origin) / fine
    return steps.tolist(), first.tolist()


def _corners(places: Sequence[Tensor], sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The eight voxels about each of N places, and their weights; 0 beyond the volume.

    Args:
        places: (N,) index along each axis, the slowest first.
        sizes: of the volume along them.

    Returns:
        (8, N) numbers of voxels in the volume, and weights.
    """
    corners = torch.zeros((8, len(places[0])), dtype=torch.int32)
    weights = torch.ones((8, len(places[0])))
    for axis, (place, size) in enumerate(zip(places, sizes, strict=True)):
        low = place.floor()
        high = place - low
        for number in range(8):
            upper = (number >> axis) & 1
            voxel = low.int() + upper
            inside = (voxel >= 0) & (voxel < size)
            weights[number] *= torch.where(inside, high if upper else 1 - high, 0.0)
            corners[number] *= size
            corners[number] += voxel.clamp_(0, size - 1)
    return corners, weights


def of_network(network: nn.Module) -> Floats:
    """The atlas (K, Z, Y, X), 0 to 1, that a network was trained with."""
    kept = network.prior
    assert isinstance(kept, Prior)
    return np.asarray(kept.shares.cpu().numpy(), np.float32) / np.float32(255)


def give(network: nn.Module, shares: Floats) -> None:
    """Keep an atlas (K, Z, Y, X), 0 to 1, with a network."""
    kept = network.prior
    assert isinstance(kept, Prior)
    kept.shares.copy_(torch.from_numpy(np.round(np.clip(shares, 0.0, 1.0) * 255)))
