"""Samples with a guide: another contrast of the same subject, sharp along every axis.

Volumes that have a guide are restored with it. Those without are their own: the guide is the
subject's image, and the contrast that is restored a random map of it. Structures of its own are
laid over, so that the guide is not believed where it shows nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import ndimage

from pipeline.restore.volumes import Volume
from pipeline.superres.learning import draw
from pipeline.superres.learning.contrast import remap

#: Share of patches with structures that the guide lacks, and how many at most.
OWN = 0.5
MOST = 4


class Patches:
    """Draws patches as :class:`pipeline.superres.learning.draw.Patches`, with a guide.

    Args:
        volumes: to draw from.
        learning: section ``superres.learning``.
    """

    def __init__(self, volumes: Sequence[Volume], learning: Mapping[str, Any]) -> None:
        self.inner, self.learning = draw.Patches(volumes, learning), learning

    def __call__(self, rng: np.random.Generator, index: int) -> dict[str, Any]:
        """``image`` (2, P, P, P): interpolated, guide; ``target`` and ``condition`` as there."""
        how = draw.draw_acquisition(self.learning, rng)
        margins = draw.margins_of(how)
        box = self.inner.drawn(rng, self.inner.size, margins)
        sharp, guide = box.values, box.guide
        share = float(self.learning["contrasts"]) if guide is None else 0.0
        guide = sharp if guide is None else remap(guide, 0.0, rng)
        sharp = remap(sharp, share, rng)
        if rng.random() < OWN:
            sharp = with_lesions(sharp, rng)
        restored = replace(box, values=sharp)
        return _with_guide(draw.sample(restored, how, margins, rng), guide, margins)


class Held:
    """Patches to validate on: each volume's middle with its guide, or as a guide of a random map.

    Args:
        volumes: to validate on.
        learning: section ``superres.learning``.
    """

    def __init__(self, volumes: Sequence[Volume], learning: Mapping[str, Any]) -> None:
        self.inner = draw.Held(volumes, learning)

    def __len__(self) -> int:
        return len(self.inner)

    def __call__(self, rng: np.random.Generator, index: int) -> dict[str, Any]:
        """As of :class:`Patches`."""
        box, how = self.inner.acquisition(index)
        guide = box.guide
        if guide is None:
            box, guide = replace(box, values=remap(box.values, 1.0, rng)), box.values
        margins = draw.margins_of(how)
        return _with_guide(draw.sample(box, how, margins, rng), guide, margins)


def _with_guide(
    sample: dict[str, Any], guide: draw.Values, margins: Sequence[int]
) -> dict[str, Any]:
    inner = guide[draw.inside(guide, margins)]
    return {**sample, "image": np.concatenate([sample["image"], inner[None]])}


def with_lesions(values: draw.Values, rng: np.random.Generator) -> draw.Values:
    """Bright or dark spots of 1 to 4 voxels' radius, in the tissue."""
    spots = np.zeros(values.shape, np.float32)
    for _ in range(int(rng.integers(1, MOST + 1))):
        place = tuple(int(rng.integers(0, n)) for n in values.shape)
        radius = float(rng.uniform(1.0, 4.0))
        distance = np.sqrt(
            sum((axis - p) ** 2 for axis, p in zip(np.ogrid[tuple(map(slice, values.shape))], place,
                                                  strict=True))
        )  # fmt: skip
        spots = np.maximum(spots, (distance <= radius).astype(np.float32))
    soft = ndimage.gaussian_filter(spots, 0.6) * (values > draw.TISSUE)
    level = np.float32(rng.uniform(0.1, 1.0))
    return np.asarray(values * (1 - soft) + level * soft, dtype=np.float32)
