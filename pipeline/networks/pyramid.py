"""Coarse-to-fine pyramid whose learned steps follow the gradient of a similarity.

At each level of the pyramid (Mok & Chung 2020, LapIRN, doi:10.1007/978-3-030-59716-0_21) a small
network is applied again and again, as in learned gradient descent (Qiu et al. 2022, GraDIRN,
doi:10.1016/j.media.2022.102379): it sees the fixed image, the image moved so far and the direction
in which their similarity grows, and gives the next small step. Images of one contrast are compared
by local correlation, others by self-similarity (MIND). Steps are bounded, smoothed and composed, so
that the field stays diffeomorphic. What an optimiser knows need not be learned: the network has few
weights, learns from few subjects, and before its training is a plain optimiser.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.networks.deformation import Deformation
from pipeline.networks.filters import coarser, gaussian
from pipeline.networks.forces import Correlation, Force, SelfSimilarity, alike, direction
from pipeline.networks.spatial import compose, invert, resize, warp

#: Fixed and moved image, direction of the similarity (3), last step (3), whether of one contrast.
CHANNELS = 9


class Level(nn.Module):
    """One step at one level.

    Args:
        hidden: channels of the hidden layers.
        longest: bound of each component of a step, in voxels of the level.
        smoothing: standard deviation of the Gaussian on a step, in voxels of the level.
    """

    def __init__(self, hidden: int, longest: float, smoothing: float) -> None:
        super().__init__()
        self.longest = longest
        self.smoothing = smoothing
        self.gain = nn.Parameter(torch.ones(1))
        self.layers = nn.Sequential(
            nn.Conv3d(CHANNELS, hidden, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv3d(hidden, hidden, 3, padding=2, dilation=2),
            nn.LeakyReLU(0.2),
            nn.Conv3d(hidden, hidden, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv3d(hidden, 3, 3, padding=1),
        )
        last = self.layers[-1]
        assert isinstance(last, nn.Conv3d) and last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(
        self, fixed: Tensor, moved: Tensor, towards: Tensor, last: Tensor, same: bool
    ) -> Tensor:
        """The next step, (B, 3, Z, Y, X), in voxels of the level."""
        kind = torch.full_like(fixed, float(same))
        seen = torch.cat([fixed, moved, towards, last / self.longest, kind], dim=1)
        learned = self.layers(seen).float()
        step = self.longest * torch.tanh(learned + self.gain * towards)
        return gaussian(step, self.smoothing)


class Pyramid(nn.Module):
    """Registration of images of the same or of another contrast, any shape.

    Args:
        factors: voxel size of each level in voxels of the input, coarse to fine.
        iterations: steps at each level.
        hidden: channels of the hidden layers (16 gives 57,000 weights at three levels).
        window: edge of the window of the local correlation in voxels of the level, odd.
        longest: bound of each component of a step before smoothing, in voxels of the level.
        smoothing: standard deviation of the Gaussian on each step, in voxels of the level.
        field_smoothing: the same, on the whole field after each step.
    """

    def __init__(
        self,
        factors: Sequence[float] = (4, 2, 1),
        iterations: Sequence[int] = (8, 8, 6),
        hidden: int = 16,
        window: int = 5,
        longest: float = 0.5,
        smoothing: float = 1.0,
        field_smoothing: float = 0.5,
    ) -> None:
        super().__init__()
        if len(factors) != len(iterations):
            raise ValueError(f"{len(factors)} factors and {len(iterations)} iterations")
        self.factors = tuple(factors)
        self.iterations = tuple(iterations)
        self.field_smoothing = field_smoothing
        self.window = window
        levels = [Level(hidden, longest, smoothing) for _ in factors]
        self.levels = nn.ModuleList(levels)

    def forward(
        self,
        moving: Tensor,
        fixed: Tensor,
        level: int | None = None,
        start: Tensor | None = None,
        same: bool | None = None,
    ) -> Deformation:
        """Register.

        Args:
            moving: (B, 1, Z, Y, X), about 0 to 1, zero outside the brain, on the grid of ``fixed``.
            fixed: (B, 1, Z, Y, X), likewise; all pairs of a batch of one contrast, or none.
            level: this level alone, on images of its own voxel size (for training; the inverse is
                left out, and ``fixed`` may be a part that ``start`` places); None: all of them.
            start: displacement that the level starts from, on the grid of ``fixed``.
            same: whether the images are of one contrast; None: the images tell.
        """
        field = torch.zeros_like(fixed).repeat(1, 3, 1, 1, 1) if start is None else start
        if same is None:
            same = alike(warp(moving, field), fixed)
        if level is not None:
            return Deformation(self._refine(level, moving, fixed, field, same), None, None)
        for number, factor in enumerate(self.factors):
            still = coarser(fixed, factor)
            field = resize(field, still.shape[2:])
            field = self._refine(number, coarser(moving, factor), still, field, same)
        field = resize(field, fixed.shape[2:])
        return Deformation(field, invert(field), None)

    def _refine(
        self, number: int, moving: Tensor, fixed: Tensor, field: Tensor, same: bool
    ) -> Tensor:
        force: Force = Correlation(fixed, self.window) if same else SelfSimilarity(moving, fixed)
        last = torch.zeros_like(field)
        for _ in range(self.iterations[number]):
            with torch.no_grad():
                moved = warp(moving, field)
                towards = direction(force(field, moved))
            # steps are learned one by one: gradients flow through the field, not the images
            last = self.levels[number](fixed, moved, towards, last.detach(), same)
            field = gaussian(compose(last, field), self.field_smoothing)
        return field


ARCHITECTURE = Pyramid
