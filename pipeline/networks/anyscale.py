"""A residual network for super-resolution by any factor, told how the image was acquired.

It works on an image that a spline has brought to the wanted voxels, and predicts what is missing
there. Eight voxels become the channels of one (Shi et al. 2016, doi:10.1109/CVPR.2016.207), which
makes it eight times lighter on a CPU; residual blocks without normalisation after Lim et al. 2017,
doi:10.1109/CVPRW.2017.151; the acquisition modulates the features of each row of voxels along the
slices' normal (Perez et al. 2018, doi:10.48550/arXiv.1709.07871).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Numbers that tell of each voxel along the slices' normal how it was acquired.
CONDITIONS = 6
#: Scale of what is predicted: with it Adam's steps are small beside the image.
SMALL = 0.1


class Block(nn.Module):
    """Two convolutions beside a shortcut; the condition scales and shifts what is between them."""

    def __init__(self, features: int, conditions: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Conv3d(features, features, 3, padding=1)
        self.second = nn.Conv3d(features, features, 3, padding=1)
        self.modulate = nn.Linear(conditions, 2 * features)
        self.dropout = nn.Dropout3d(dropout)
        nn.init.kaiming_normal_(self.first.weight)
        nn.init.kaiming_normal_(self.second.weight)
        # a block starts as a small change of what comes in
        with torch.no_grad():
            self.second.weight.mul_(0.1)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, features: Tensor, told: Tensor) -> Tensor:
        """(B, C, Z, Y, X) and (B, Z, conditions) → (B, C, Z, Y, X)."""
        scale, shift = self.modulate(told).movedim(-1, 1)[..., None, None].chunk(2, dim=1)
        inner = functional.relu(self.first(features) * (1 + scale) + shift)
        return cast(Tensor, features + self.second(self.dropout(inner)))


class AnyScale(nn.Module):
    """Sharpens an interpolated image; 787,288 parameters by default.

    Args:
        features: width.
        blocks: residual blocks.
        told: width of the layer that reads the condition.
        guides: further images of the same subject on the same voxels, which show it sharper.
        dropout: share of the channels left out inside the blocks, for an uncertainty by dropout.

    Raises:
        ValueError: for widths that do not fit.
    """

    def __init__(
        self, features: int = 48, blocks: int = 6, told: int = 32, guides: int = 0,
        dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if min(features, blocks, told) < 1 or guides < 0 or not 0 <= dropout < 1:
            raise ValueError("features, blocks and told are 1 or more, guides 0 or more")
        self.guides = guides
        self.read = nn.Sequential(nn.Linear(2 * CONDITIONS, told), nn.ReLU())
        self.head = nn.Conv3d(8 * (1 + guides), features, 3, padding=1)
        self.blocks = nn.ModuleList(Block(features, told, dropout) for _ in range(blocks))
        self.tail = nn.Conv3d(features, 8, 3, padding=1)
        # it starts as its input
        nn.init.normal_(self.tail.weight, std=1e-3)
        nn.init.zeros_(cast(Tensor, self.tail.bias))

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """The sharper image.

        Args:
            image: (B, 1 + guides, Z, Y, X), any shape, the slices' normal along Z; the first
                channel is the one that is sharpened.
            condition: (B, CONDITIONS, Z), see :func:`pipeline.superres.condition.describe`.

        Returns:
            (B, 1, Z, Y, X).
        """
        z, y, x = image.shape[2:]
        pads = (0, x % 2, 0, y % 2, 0, z % 2)
        packed = pack(functional.pad(image, pads, mode="replicate"))
        told = functional.pad(condition, (0, z % 2), mode="replicate")
        batch, rows = len(told), told.shape[-1] // 2
        told = self.read(told.reshape(batch, -1, rows, 2).movedim(2, 1).flatten(2))
        first = features = self.head(packed)
        for block in self.blocks:
            features = block(features, told)
        missed = SMALL * unpack(self.tail(features + first))
        return image[:, :1] + missed[:, :, :z, :y, :x]


def pack(image: Tensor) -> Tensor:
    """Two by two by two voxels to channels: (B, C, 2Z, 2Y, 2X) → (B, 8C, Z, Y, X)."""
    batch, channels, z, y, x = image.shape
    parts = image.reshape(batch, channels, z // 2, 2, y // 2, 2, x // 2, 2)
    return parts.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)


def unpack(packed: Tensor) -> Tensor:
    """The inverse of :func:`pack`."""
    batch, channels, z, y, x = packed.shape
    parts = packed.reshape(batch, channels // 8, 2, 2, 2, z, y, x)
    return parts.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(batch, channels // 8, 2 * z, 2 * y, 2 * x)


ARCHITECTURE = AnyScale
