"""The last level's result, its borders drawn again by what the image itself shows.

:mod:`pipeline.segment.cascade.appearance` is fitted to the image in the box of the last level, on
the voxels of the image: a fine image is not labelled on the coarser grid of a network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch

from pipeline import images
from pipeline.segment import crop
from pipeline.segment.cascade import appearance, boxed, lattice, memory, volume
from pipeline.segment.cascade.boxed import Boxed
from pipeline.segment.cascade.plan import Appearance, Level
from pipeline.segment.cascade.volume import Floats

if TYPE_CHECKING:
    from pipeline.segment.cascade.run import Found

#: Deviation of the Gaussian that makes the network's posterior a prior, mm: as far as its borders
#: are off.
SMOOTH = 1.5
#: Finest voxels that are worked on, mm; a finer image is averaged onto them.
FINEST = 0.8
#: Percentile of the intensities inside the structures that becomes 1, and the one that becomes 0
#: where an image has no zero of its own.
TOP, BOTTOM = 99.0, 1.0
#: Share of the voxels inside at or below 0 up to which 0 means no signal, and a bias field is a
#: factor.
DARK = 0.01
#: The box of a class holds where its smoothed posterior is above this, and so many mm around.
LEAST, RIM = 0.01, 4.0
#: Posterior that is left out of the smoothing.
FAINT = 1e-4
#: Bytes a voxel and class: the prior, the posterior, what boxes of them and a lattice take.
BYTES = 4 * 3


def redrawn(
    channels: Sequence[sitk.Image], before: Found, last: Found, alike: Appearance, where: str
) -> Found:
    """The last level's result on the voxels of the image.

    Args:
        channels: of the image, nearest to LPS, on one grid.
        before: of the level before, which tells the sides apart.
        last: the result that is drawn again.
        alike: of the plan.
        where: name for messages.

    Raises:
        VoxelwayError: E-MEMORY before more memory is asked for than there is.
    """
    grid = _grid(channels[0], last.grid, where)
    size = grid.GetSize()
    told = f"Drawing borders on {' x '.join(str(n) for n in size)} voxels"
    memory.ask(BYTES * last.level.channels * float(np.prod(size)), torch.device("cpu"), told, where)
    values = tuple(images.array(volume.onto(image, grid)) for image in channels)
    prior = _prior(last.posterior, last.grid, grid)
    inside = prior.values[0].numpy() < 0.5
    scaled = [_scaled(one, inside) for one in values]
    biased = all(scale.factor for _, scale in scaled)
    posterior, look = appearance.refined(
        prior,
        torch.from_numpy(np.stack([image for image, _ in scaled])),
        grid.GetSpacing()[::-1],
        groups(last.level, alike),
        biased,
    )
    share = posterior.dense().numpy()
    side = before.side_of(last.level, grid) if last.level.split else None
    means = look.mean.numpy()
    facts: dict[str, Any] = {
        "Spacing": [round(float(v), 4) for v in grid.GetSpacing()],
        "Size": list(size),
        "BiasField": biased,
        "Means": [
            {str(group[0]): round(scale.back(float(mean)), 4)
             for group, mean in zip(last.level.classes, row, strict=True)}
            for row, (_, scale) in zip(means, scaled, strict=True)
        ],
    }  # fmt: skip
    return replace(
        last, grid=grid, values=values, posterior=share, side=side,
        facts={**last.facts, "Appearance": facts},
    )  # fmt: skip


def on_level(share: Floats, image: Floats, level: Level, alike: Appearance) -> Floats:
    """The same on the grid of the level, for validation cases: no bias field, images of any zero.

    Args:
        share: (C, Z, Y, X), posterior of the network.
        image: (channels, Z, Y, X), scaled for the network.
        level: of the network.
        alike: of the plan.
    """
    spacing = level.spacing[::-1]
    scaled = np.stack([_scaled(one, share[0] < 0.5)[0] for one in image])
    smooth = np.stack([_smoothed(one, spacing) for one in share])
    posterior, _ = appearance.refined(
        Boxed.of(torch.from_numpy(smooth), LEAST, RIM / min(spacing)),
        torch.from_numpy(scaled), spacing, groups(level, alike), biased=False,
    )  # fmt: skip
    return np.asarray(posterior.dense().numpy())


def groups(level: Level, alike: Appearance) -> list[str]:
    """Name of the group of labels that look alike of each class; empty without one."""
    names = {label: str(number) for number, one in enumerate(alike.groups) for label in one}
    return [names.get(group[0], "") for group in level.classes]


class _Scale:
    """From the image's units to about 0 to 1 inside the structures.

    Attributes:
        factor: whether 0 stays 0, so that a bias field is a factor.
    """

    def __init__(self, inside: Floats) -> None:
        top = float(np.percentile(inside, TOP)) if inside.size else 1.0
        self.factor = bool(inside.size) and float((inside <= 0).mean()) <= DARK and top > 0
        self.offset = 0.0
        if not self.factor and inside.size:
            self.offset = float(np.percentile(inside, BOTTOM))
        self.width = top - self.offset if top > self.offset else 1.0

    def back(self, value: float) -> float:
        return value * self.width + self.offset


def _scaled(values: Floats, inside: np.ndarray[Any, Any]) -> tuple[Floats, _Scale]:
    scale = _Scale(values[inside])
    return np.asarray((values - scale.offset) / scale.width, np.float32), scale


def _grid(image: sitk.Image, own: sitk.Image, where: str) -> sitk.Image:
    part = crop.of_grid(own, image, where).cut(image)
    if min(part.GetSpacing()) >= FINEST:
        return part
    x, y, z = (max(FINEST, float(length)) for length in part.GetSpacing())
    return images.spaced_grid(part, (x, y, z))


def _prior(posterior: Floats, own: sitk.Image, grid: sitk.Image) -> Boxed:
    """The smoothed posterior on a grid, each class in its box."""
    spacing = own.GetSpacing()[::-1]
    widths = [SMOOTH / length for length in spacing]
    reach = math.ceil((RIM + lattice.REACH * SMOOTH) / min(spacing))
    # what lies beyond the level's box is background
    background = lattice.linear(posterior[0], own, grid, outside=1.0, deviations=widths)
    z, y, x = background.shape
    boxes, values = [boxed.whole((z, y, x))], [torch.from_numpy(background)]
    for share in posterior[1:]:
        near = boxed.around(share > FAINT, reach)
        smooth = np.zeros_like(share)
        smooth[near] = _smoothed(share[near], spacing)
        box, found = lattice.placed(smooth, own, grid, LEAST, RIM)
        boxes.append(box)
        values.append(torch.from_numpy(found))
    return Boxed((z, y, x), tuple(boxes), tuple(values))


def _smoothed(share: Floats, spacing: Sequence[float]) -> Floats:
    widths = [SMOOTH / length for length in spacing]
    return np.asarray(lattice.smoothed(torch.from_numpy(share), widths).numpy())
