"""Which way the moving image has to go: gradients of similarities with respect to the field.

Both work on images of one grid, (B, 1, Z, Y, X) and about 0 to 1, and give a (B, 3, Z, Y, X) force
per voxel without autograd: a network's steps and an optimiser's follow it.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from pipeline.networks.filters import gaussian
from pipeline.networks.spatial import warp
from pipeline.training.losses.mind import Mind
from pipeline.training.losses.similarity import LocalNCC

#: Mean local correlation above which two brains count as of one contrast. After an affine, at 2 mm,
#: it was 0.61 to 0.80 for T1w with T1w (9 pairs of real, drawn and phantom brains), and 0.06 to
#: 0.16 for T2w with T1w (3 pairs); the correlation over the whole brain, 0.75 to 0.90 and 0.35 to
#: 0.55, separates them less.
ALIKE = 0.4
#: Standard deviation of the window of that correlation, voxels.
AROUND = 2.0
#: Variance below which a window shows nothing.
FLAT = 1e-5
#: Channels of a descriptor that are warped at once.
TOGETHER = 4


class Force(Protocol):
    """The gradient of a similarity at a displacement; larger is more alike."""

    def __call__(self, displacement: Tensor, moved: Tensor) -> Tensor:
        """Force on each voxel.

        Args:
            displacement: (B, 3, Z, Y, X).
            moved: the moving image, warped by it.
        """


class Correlation:
    """Of the squared local correlation (images of one contrast).

    Args:
        fixed: fixed image.
        window: edge of the window, voxels.
        epsilon: see :class:`LocalNCC`; 1e-3 keeps noise in flat places from pulling.
    """

    def __init__(self, fixed: Tensor, window: int, epsilon: float = 1e-3) -> None:
        self.loss = LocalNCC(window, epsilon=epsilon)
        self.prepared = self.loss.prepare(fixed)

    def __call__(self, displacement: Tensor, moved: Tensor) -> Tensor:
        """See :class:`Force`."""
        _, slope = self.loss.value_and_gradient(moved, self.prepared, gradient=True)
        assert slope is not None
        return gradient(moved).mul_(-slope)


class SelfSimilarity:
    """Of the distance of MIND-SSC descriptors (images of any contrast).

    The moving image's descriptors are made once and warped, as in Siebert et al. 2021,
    doi:10.1007/978-3-030-97281-3_22: they hardly change under the small rotations of an alignment.
    """

    def __init__(self, moving: Tensor, fixed: Tensor, dilation: int = 1) -> None:
        mind = Mind(dilation=dilation)
        with torch.no_grad():
            self.moving, self.fixed = mind.descriptor(moving), mind.descriptor(fixed)

    def __call__(self, displacement: Tensor, moved: Tensor) -> Tensor:
        """See :class:`Force`."""
        force = torch.zeros_like(displacement)
        # a few channels at a time: all twelve at once are many times the image's memory
        for start in range(0, self.fixed.shape[1], TOGETHER):
            some = slice(start, start + TOGETHER)
            here = warp(self.moving[:, some], displacement)
            apart = self.fixed[:, some] - here
            for channel in range(here.shape[1]):
                one = slice(channel, channel + 1)
                force.addcmul_(gradient(here[:, one]), apart[:, one])
        return force


def alike(moving: Tensor, fixed: Tensor) -> bool:
    """Whether two roughly aligned brains have one contrast: bright is bright beside dark in both.

    Args:
        moving: (1, 1, Z, Y, X), zero outside the brain, voxels of about 2 mm.
        fixed: likewise.
    """
    both = (moving > 0) & (fixed > 0)
    inside = both.to(moving.dtype)
    one, two = (gaussian(image, 1.0) * inside for image in (moving, fixed))
    weight = gaussian(inside, AROUND).clamp_min(1e-3)
    mean, other = gaussian(one, AROUND) / weight, gaussian(two, AROUND) / weight
    variance = gaussian(one.square(), AROUND) / weight - mean.square()
    against = gaussian(two.square(), AROUND) / weight - other.square()
    covariance = gaussian(one * two, AROUND) / weight - mean * other
    told = both & (variance > FLAT) & (against > FLAT)
    if not told.any():
        return True
    correlation = covariance[told] / (variance[told] * against[told]).sqrt()
    return float(correlation.mean()) > ALIKE


def gradient(image: Tensor) -> Tensor:
    """Central differences of (B, 1, Z, Y, X) along z, y, x; zero at the border."""
    found = image.new_zeros((len(image), 3, *image.shape[2:]))
    for axis in range(3):
        n = image.shape[axis + 2] - 2
        if n < 1:
            continue
        ahead, behind = image.narrow(axis + 2, 2, n), image.narrow(axis + 2, 0, n)
        found[:, axis : axis + 1].narrow(axis + 2, 1, n).copy_(ahead).sub_(behind).mul_(0.5)
    return found


def direction(force: Tensor, smooth: float = 1.0) -> Tensor:
    """A force as a direction: smoothed, about 1 long where it is strong, shorter where weak."""
    force = gaussian(force, smooth)
    square = force.square().sum(dim=1, keepdim=True)
    strong = square.mean(dim=(2, 3, 4), keepdim=True)
    return force / (square + strong + 1e-30).sqrt()
