"""Whether a generator gives back the images that it was trained on.

Patches of a made image are looked for in the training images, a few voxels around their own place
in every direction; both are taken at mean 0 and norm 1, so that another brightness or contrast is
no other patch. How near the nearest training image is, is compared with how near it is to real
images that the generator never saw: those show how alike heads are. Copies under a shift, a gain or
an offset are found; a copy that is bent by more than a few voxels within a patch is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.errors import VoxelwayError
from pipeline.synthesize.augmentation.samples import fitted
from pipeline.training.bundle import Score

Floats = NDArray[np.float32]

#: Edge of a patch, and how far it is looked for, voxels.
PATCH, REACH = 12, 3
#: Patches of less than this deviation, in deviations of the whole image, tell nothing.
FLAT = 0.3


@dataclass(frozen=True)
class Found:
    """What the guard measured.

    Attributes:
        made: distance of each made image to the nearest training image, 0 to 2.
        real: the same of real images that were held out.
        copied: share of the made ones that are nearer than ``limit``.
        limit: distance: so many times the mean of the real ones.
    """

    made: tuple[float, ...]
    real: tuple[float, ...]
    copied: float
    limit: float

    def figures(self) -> dict[str, Score]:
        """For the card."""
        return {
            "distance to the nearest training image": Score.of(self.made),
            "the same of real images held out": Score.of(self.real),
            "share of copies": Score(self.copied, None, None, len(self.made)),
        }


def check(
    made: Sequence[Floats],
    real: Sequence[Floats],
    training: Sequence[Floats],
    limits: Mapping[str, Any],
) -> Found:
    """Measure, and refuse a generator that copies.

    Args:
        made: generated images, (C, Z, Y, X) each; the first contrast is looked at.
        real: images that were held out, at least one.
        training: images that were trained on, brought to the size of what is compared with them.
        limits: ``nearer`` (share of the mean distance of the real ones below which an image is a
            copy) and ``copies`` (largest share of copies).

    Raises:
        VoxelwayError: E-MODEL-MEMORISED with the figures.
    """
    ours = tuple(nearest(one, training) for one in made)
    theirs = tuple(nearest(one, training) for one in real)
    limit = float(limits["nearer"]) * float(np.mean(theirs))
    copied = float(np.mean([distance < limit for distance in ours]))
    found = Found(ours, theirs, copied, limit)
    if copied > float(limits["copies"]):
        what = (
            f"{100 * copied:.0f} % of {len(ours)} made images are copies of training images: they "
            f"are {np.mean(ours):.3f} from the nearest on average, held-out real images "
            f"{np.mean(theirs):.3f}, and below {limit:.3f} an image is a copy"
        )
        hint = "Train on more cases, for fewer steps, or with a smaller network; no bundle is kept"
        raise VoxelwayError("E-MODEL-MEMORISED", what, hint=hint)
    return found


def nearest(image: Floats, training: Sequence[Floats]) -> float:
    """Distance to the nearest training image: the least mean distance of the patches."""
    return min(distance(image, other) for other in training)


def distance(image: Floats, other: Floats) -> float:
    """Mean over the patches of an image of the distance to the nearest patch of another.

    Args:
        image: (C, Z, Y, X).
        other: (C, Z', Y', X'); brought to the same size about its middle.

    Returns:
        0 (the same but for shifts, gains and offsets) to 2; 2 for an image without any structure.
    """
    one = torch.from_numpy(np.ascontiguousarray(image[0]))
    shape = (one.shape[0], one.shape[1], one.shape[2])
    two = torch.from_numpy(fitted(other[0], shape))
    edge = min(PATCH, *shape)
    templates, around = _patches(one, edge, 0), _patches(two, edge, REACH)
    deviation = templates.flatten(1).std(dim=1)
    kept = deviation > FLAT * one.std().clamp_min(1e-9)
    if not bool(kept.any()):
        return 2.0
    return float(_distances(templates[kept], around[kept], edge).mean())


def _patches(image: Tensor, edge: int, reach: int) -> Tensor:
    """Patches side by side, the last ones at the end; (N, E, E, E), with a rim all around."""
    padded = functional.pad(image[None, None], (reach,) * 6, mode="replicate")[0, 0]
    starts = [sorted({*range(0, n - edge + 1, edge), n - edge}) for n in image.shape]
    whole = edge + 2 * reach
    return torch.stack(
        [
            padded[z : z + whole, y : y + whole, x : x + whole]
            for z in starts[0]
            for y in starts[1]
            for x in starts[2]
        ]
    )


def _distances(templates: Tensor, around: Tensor, edge: int) -> Tensor:
    """Distance of each template to the nearest patch of what lies around its place, (N,)."""
    count, size = len(templates), edge**3
    centred = templates - templates.mean(dim=(1, 2, 3), keepdim=True)
    unit = centred / centred.flatten(1).norm(dim=1).clamp_min(1e-9).view(-1, 1, 1, 1)
    # one group a template; the mean of what lies around falls out, as the template's own is 0
    level = around - around.mean(dim=(1, 2, 3), keepdim=True)
    dots = functional.conv3d(level[None], unit[:, None], groups=count)[0]
    mean = functional.avg_pool3d(level[None], edge, stride=1)[0]
    square = functional.avg_pool3d(level.square()[None], edge, stride=1)[0]
    norm = ((square - mean.square()).clamp_min(1e-9) * size).sqrt()
    best = (dots / norm).flatten(1).amax(dim=1).clamp(-1.0, 1.0)
    return (2.0 * (1.0 - best)).sqrt()
