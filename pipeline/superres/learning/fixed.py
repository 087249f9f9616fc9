"""Samples of networks with a fixed integer factor: slices, and the sharp voxels between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.restore.volumes import Volume
from pipeline.superres import condition, sampling
from pipeline.superres.learning import draw
from pipeline.superres.learning.contrast import remap
from pipeline.superres.learning.thick import Box, facing


class Patches:
    """Draws slices of random subjects, places, orientations and contrasts.

    Args:
        volumes: to draw from.
        learning: section ``superres.learning``.
        factor: voxels from slice to slice.
    """

    def __init__(self, volumes: Sequence[Volume], learning: Mapping[str, Any], factor: int) -> None:
        self.inner = draw.Patches(volumes, learning)
        self.factor = factor
        self.size = whole(int(learning["patch"]), factor)

    def __call__(self, rng: np.random.Generator, index: int) -> dict[str, Any]:
        """``image`` (1, N, P, P), ``condition`` (6, N) of N slices; ``target`` (1, P, P, P).

        ``seen`` is as of :class:`pipeline.superres.learning.draw.Patches`.
        """
        learning = self.inner.learning
        how = _whole(draw.draw_acquisition(learning, rng), self.factor)
        box = self.inner.drawn(rng, self.size, _margins(self.factor))
        sharp = remap(box.values, float(learning["contrasts"]), rng)
        return sample(replace(box, values=sharp), how, self.factor, rng)


class Held:
    """Patches to validate on, see :class:`pipeline.superres.learning.draw.Held`.

    Args:
        volumes: to validate on.
        learning: section ``superres.learning``.
        factor: voxels from slice to slice.
    """

    def __init__(self, volumes: Sequence[Volume], learning: Mapping[str, Any], factor: int) -> None:
        self.volumes, self.factor = volumes, factor
        self.size = whole(int(learning["validation_patch"]), factor)

    def __len__(self) -> int:
        return len(self.volumes)

    def __call__(self, rng: np.random.Generator, index: int) -> dict[str, Any]:
        """As of :class:`Patches`."""
        whole = facing(self.volumes[index], index)
        plain = draw.Acquisition((1.0, 1.0, 1.0), float(self.factor), "box", (0.0, 0.0, 0.0), 0.0)
        sizes = [self.size + 2 * margin for margin in _margins(self.factor)]
        box = whole.crop(draw.middle_of(whole.values), sizes)
        return sample(box, _whole(plain, self.factor), self.factor, rng)


def whole(size: int, factor: int) -> int:
    """The largest even multiple of the factor up to a size, at least two slices."""
    return max(size // factor, 2) * factor


def _margins(factor: int) -> tuple[int, int, int]:
    """A slice on each side: the profile reaches over the patch's ends."""
    return factor, 0, 0


def _whole(how: draw.Acquisition, factor: int) -> draw.Acquisition:
    """The acquisition at the network's factor, its pixels as they are."""
    share = how.thickness / how.spacings[0]
    thickness = share * factor if how.spacings[0] > 1 else how.thickness
    return replace(how, spacings=(float(factor), 1.0, 1.0), thickness=thickness)


def sample(
    box: Box, how: draw.Acquisition, factor: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Slices in the middles of groups of ``factor`` voxels; a group on each side is margin."""
    sharp, count = box.values, box.values.shape[0]
    middles = np.arange((factor - 1) / 2.0, count, factor)
    matrix = sampling.slices(middles, how.profile(0), count)
    coarse = draw.noisy(sampling.apply((matrix, None, None), sharp), how.noise, rng)
    inside = count - 2 * factor
    lengths = draw.spacings(how, box)
    told = condition.describe(inside, middles[0], lengths, how.thickness)[:, ::factor]
    target = np.ascontiguousarray(sharp[factor:-factor])
    image = np.ascontiguousarray(coarse[1:-1])
    seen = box.seen(_margins(factor))
    return {"image": image[None], "target": target[None], "condition": told, "seen": seen}
