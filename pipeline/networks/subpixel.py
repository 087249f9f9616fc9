"""A residual network on the slices themselves, up-sampled at its end by a fixed factor.

Sub-pixel convolution: Shi et al. 2016, doi:10.1109/CVPR.2016.207; residual blocks without
normalisation: Lim et al. 2017, doi:10.1109/CVPRW.2017.151. It works on as few voxels as were
acquired, and knows one factor only.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(features, features, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(features, features, 3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, Z, Y, X), same shape."""
        return features + cast(Tensor, self.layers(features))


class Subpixel(nn.Module):
    """Slices to voxels; 336,516 parameters by default.

    Args:
        factor: voxels that each slice becomes.
        features: width.
        blocks: residual blocks.

    Raises:
        ValueError: for numbers below 1 (the factor: below 2).
    """

    def __init__(self, factor: int = 4, features: int = 32, blocks: int = 6) -> None:
        super().__init__()
        if factor < 2 or min(features, blocks) < 1:
            raise ValueError("factor is 2 or more, features and blocks 1 or more")
        self.factor = factor
        self.head = nn.Conv3d(1, features, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(features) for _ in range(blocks)))
        self.tail = nn.Conv3d(features, factor, 3, padding=1)
        # it starts as the slices, repeated
        nn.init.normal_(self.tail.weight, std=1e-4)
        nn.init.zeros_(cast(Tensor, self.tail.bias))

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """The voxels.

        Args:
            image: (B, 1, N, Y, X), the slices.
            condition: is not used: the factor is its own.

        Returns:
            (B, 1, N factor, Y, X).
        """
        first = self.head(image)
        missed = self.tail(self.blocks(first) + first)
        return shuffled(image + missed)


def shuffled(channels: Tensor) -> Tensor:
    """Channels to voxels along Z: (B, factor, N, Y, X) → (B, 1, N factor, Y, X)."""
    batch, factor, count, y, x = channels.shape
    return channels.movedim(1, 2).reshape(batch, 1, count * factor, y, x)


ARCHITECTURE = Subpixel
