"""Random patches of training volumes: place, orientation, resolution and contrast are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.restore.volumes import Values, Volume


@dataclass(frozen=True)
class Patch:
    """A cube cut from a volume.

    Attributes:
        values, inside: the image and its mask, one cube.
        volume: where it is from.
        changed: whether its noise is no longer the volume's (another contrast or resolution).
    """

    values: Values
    inside: NDArray[np.bool_]
    volume: Volume
    changed: bool = False


def choose(volumes: Sequence[Volume], rng: np.random.Generator) -> Volume:
    """A volume at random, by the weights."""
    weights = np.array([item.weight for item in volumes])
    return volumes[int(rng.choice(len(volumes), p=weights / weights.sum()))]


def cut(volume: Volume, side: int, place: Sequence[int]) -> Patch:
    """A cube of ``side`` voxels around a voxel; what lies outside the volume repeats its edge."""
    slices, pads = [], []
    for centre, size in zip(place, volume.values.shape, strict=True):
        start = min(max(0, int(centre) - side // 2), max(0, size - side))
        slices.append(slice(start, start + side))
        missing = max(0, side - size)
        pads.append((missing // 2, missing - missing // 2))
    box = tuple(slices)
    values = np.pad(volume.values[box], pads, mode="edge")
    inside = np.pad(volume.mask[box], pads, mode="constant")
    return Patch(values, inside, volume)


def place_inside(volume: Volume, rng: np.random.Generator) -> tuple[int, int, int]:
    """A random voxel of the mask (of the volume, where the mask is hard to hit)."""
    z, y, x = volume.values.shape
    place = (0, 0, 0)
    for _ in range(50):
        place = (int(rng.integers(z)), int(rng.integers(y)), int(rng.integers(x)))
        if volume.mask[place]:
            break
    return place


def turned(patch: Patch, rng: np.random.Generator) -> Patch:
    """Axes exchanged and mirrored at random: 48 orientations."""
    order = rng.permutation(3)
    mirrored = tuple(int(axis) for axis in np.flatnonzero(rng.random(3) < 0.5))

    def turn(values: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(np.flip(np.transpose(values, order), mirrored))

    return Patch(turn(patch.values), turn(patch.inside), patch.volume, patch.changed)


def finer(patch: Patch, side: int, rng: np.random.Generator) -> Patch:
    """The middle of a patch on finer voxels: ``side`` voxels over what fewer held before."""
    small = int(rng.integers(round(side / 1.6), side))
    start = (len(patch.values) - small) // 2
    box = (slice(start, start + small),) * 3
    factor = side / small
    values = ndimage.zoom(patch.values[box], factor, order=3, mode="nearest", grid_mode=True)
    inside = ndimage.zoom(
        patch.inside[box].astype(np.uint8), factor, order=0, mode="nearest", grid_mode=True
    )
    if patch.volume.emptied:
        values *= inside
    if patch.volume.values.min() >= 0:
        # a cubic spline swings over at edges; magnitudes have no negative values
        np.maximum(values, 0.0, out=values)
    return Patch(values.astype(np.float32), inside > 0, patch.volume, changed=True)


def thicker(patch: Patch, side: int, rng: np.random.Generator) -> Patch:
    """Slices 2 to 4 times as thick along the first axis, of a patch long enough for it."""
    times = int(rng.integers(2, 5))
    count = len(patch.values) // times
    values = patch.values[: count * times].reshape(count, times, *patch.values.shape[1:])
    inside = patch.inside[: count * times].reshape(count, times, *patch.values.shape[1:])
    mean, most = values.mean(axis=1), inside.mean(axis=1) >= 0.5
    missing = max(0, side - count)
    pads = [(missing // 2, missing - missing // 2), (0, 0), (0, 0)]
    mean = np.pad(mean, pads, mode="reflect" if missing < count else "edge")
    most = np.pad(most, pads, mode="reflect" if missing < count else "edge")
    return Patch(mean.astype(np.float32), most, patch.volume, changed=True)


def recoloured(patch: Patch, rng: np.random.Generator) -> Patch:
    """Another contrast: intensities through a random continuous map; zero stays zero.

    Slopes stay between -1.5 and 1.5, so that the image's own noise does not grow much.
    """
    knots = np.linspace(0.0, 1.2, 7)
    steps = rng.uniform(-1.5, 1.5, 6) * (knots[1] - knots[0])
    heights = np.concatenate([[0.0], np.abs(np.cumsum(steps))])
    values = np.interp(patch.values, knots, heights)
    return Patch(values.astype(np.float32), patch.inside, patch.volume, changed=True)
