"""Channel splitting: half of the features go through residual, half through dense blocks.

Zhao et al. 2019, doi:10.1109/TIP.2019.2921882: the two halves learn differently, and exchange their
means at each block (merge and run). Here in 3D, on eight voxels as the channels of one.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.shuffle import to_depth, to_space

#: Voxels that become channels.
EIGHT = (2, 2, 2)


class Pair(nn.Module):
    """A residual and a dense block side by side, the mean of their inputs beside both."""

    def __init__(self, features: int) -> None:
        super().__init__()
        half = features // 2
        self.residual = nn.Sequential(
            nn.Conv3d(half, half, 3, padding=1), nn.ReLU(), nn.Conv3d(half, half, 3, padding=1)
        )
        self.first = nn.Conv3d(half, half, 3, padding=1)
        self.second = nn.Conv3d(2 * half, half, 3, padding=1)
        self.join = nn.Conv3d(3 * half, half, 1)

    def forward(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Both halves, (B, C / 2, Z, Y, X), after the block."""
        shared = (one + other) / 2
        dense = [other]
        for layer in (self.first, self.second):
            dense.append(functional.relu(layer(torch.cat(dense, dim=1))))
        return shared + self.residual(one), shared + self.join(torch.cat(dense, dim=1))


class ChannelSplitting(nn.Module):
    """Sharpens an interpolated image; 593,608 parameters by default.

    Args:
        features: width of both halves together, even.
        blocks: pairs of blocks.

    Raises:
        ValueError: for widths that do not fit.
    """

    def __init__(self, features: int = 64, blocks: int = 4) -> None:
        super().__init__()
        if features < 2 or features % 2 or blocks < 1:
            raise ValueError("features is even, blocks 1 or more")
        self.head = nn.Conv3d(8, features, 3, padding=1)
        self.blocks = nn.ModuleList(Pair(features) for _ in range(blocks))
        self.tail = nn.Conv3d(features, 8, 3, padding=1)
        # it starts as the spline
        nn.init.normal_(self.tail.weight, std=1e-4)
        nn.init.zeros_(cast(Tensor, self.tail.bias))

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """The sharper image.

        Args:
            image: (B, 1, Z, Y, X), interpolated; any shape.
            condition: is not used: it is told nothing of the acquisition.
        """
        z, y, x = image.shape[2:]
        pads = (0, x % 2, 0, y % 2, 0, z % 2)
        padded = functional.pad(image, pads, mode="replicate")
        features = self.head(to_depth(padded, EIGHT))
        one, other = features.chunk(2, dim=1)
        for block in self.blocks:
            one, other = block(one, other)
        missed = to_space(self.tail(torch.cat([one, other], dim=1) + features), EIGHT)
        return image + missed[:, :, :z, :y, :x]


ARCHITECTURE = ChannelSplitting
