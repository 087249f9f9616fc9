"""SAINT: the slices restored in the two planes across them, both results fused in the third.

Peng et al. 2020, SAINT: spatially aware interpolation network for medical slice synthesis,
doi:10.48550/arXiv.2001.00704. Two-dimensional networks see far for little work; the fusion makes
the planes agree.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions in a plane beside a shortcut."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(features, features, 3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, N, M), same shape."""
        return features + cast(Tensor, self.layers(features))


class Saint(nn.Module):
    """Slices to voxels; 187,333 parameters by default.

    Args:
        factor: voxels that each slice becomes.
        features: width.
        blocks: residual blocks of the network across the slices.
        fusion: residual blocks of the fusion.

    Raises:
        ValueError: for numbers below 1 (the factor: below 2).
    """

    def __init__(
        self, factor: int = 4, features: int = 32, blocks: int = 8, fusion: int = 2
    ) -> None:
        super().__init__()
        if factor < 2 or min(features, blocks, fusion) < 1:
            raise ValueError("factor is 2 or more, features, blocks and fusion 1 or more")
        self.factor = factor
        self.across = _plane(1, features, blocks, factor)
        self.fusion = _plane(2, features, fusion, 1)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """The voxels.

        Args:
            image: (B, 1, N, Y, X), the slices.
            condition: is not used: the factor is its own.

        Returns:
            (B, 1, N factor, Y, X).
        """
        one = self._across(image)
        other = self._across(image.transpose(3, 4)).transpose(3, 4)
        both = torch.cat([one, other], dim=1)
        batch, _, depth, y, x = both.shape
        planes = both.transpose(1, 2).reshape(batch * depth, 2, y, x)
        missed = self.fusion(planes).reshape(batch, 1, depth, y, x)
        return (one + other) / 2 + cast(Tensor, missed)

    def _across(self, image: Tensor) -> Tensor:
        """Every plane of Z and Y by itself."""
        batch, _, count, y, x = image.shape
        planes = image.permute(0, 4, 1, 2, 3).reshape(batch * x, 1, count, y)
        found = planes + self.across(planes)
        voxels = found.movedim(1, 2).reshape(batch, x, count * self.factor, y)
        back: Tensor = voxels.permute(0, 2, 3, 1)
        return back[:, None]


def _plane(inputs: int, features: int, blocks: int, outputs: int) -> nn.Sequential:
    tail = nn.Conv2d(features, outputs, 3, padding=1)
    # it starts as the slices, repeated
    nn.init.normal_(tail.weight, std=1e-4)
    nn.init.zeros_(cast(Tensor, tail.bias))
    head = nn.Conv2d(inputs, features, 3, padding=1)
    return nn.Sequential(head, *(Block(features) for _ in range(blocks)), tail)


ARCHITECTURE = Saint
