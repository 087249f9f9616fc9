"""A residual network for super-resolution by any factor, told how the image was acquired.

It is given an image that a spline has brought to the wanted voxels, goes back to the slices that
were acquired and works there, where nothing is said twice. For each slice it predicts what the
spline misses at a few nodes across the slice's share of the normal, as sub-pixel up-sampling does
(Shi et al. 2016, doi:10.1109/CVPR.2016.207); the wanted rows lie between nodes, so that one network
serves any factor and any place of the slices. Four pixels of a slice become the channels of one.
Residual blocks without normalisation after Lim et al. 2017, doi:10.1109/CVPRW.2017.151; the
acquisition modulates their features (Perez et al. 2018, doi:10.48550/arXiv.1709.07871).
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.shuffle import to_depth, to_space

#: Numbers that tell of each voxel along the slices' normal how it was acquired.
CONDITIONS = 6
#: Largest factor: lengths are told as shares of it.
LARGEST = 6.0
#: Numbers that tell of a whole acquisition, made of the conditions.
TOLD = 6
#: Details go in about as large as one, and come out of numbers about as large as one.
AMPLIFIED, SMALL = 8.0, 0.1
#: Pixels of a slice that become channels: along N, Y, X.
QUAD = (1, 2, 2)
#: Slope of the activation below zero: with none, features die in the first steps.
SLOPE = 0.1


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
            self.second.weight.mul_(0.2)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, features: Tensor, told: Tensor) -> Tensor:
        """(B, C, N, Y, X) and (B, conditions) → (B, C, N, Y, X)."""
        inner = functional.leaky_relu(modulated(self.first(features), self.modulate(told)), SLOPE)
        return cast(Tensor, features + self.second(self.dropout(inner)))


class AnyScale(nn.Module):
    """Sharpens an interpolated image; 374,876 parameters by default.

    Args:
        features: width.
        blocks: residual blocks.
        told: width of the layer that reads the condition.
        nodes: of each slice, at even distances from one end of its share to the other.
        guides: further images of the same subject on the same voxels, which show it sharper.
        dropout: share of the channels left out inside the blocks, for an uncertainty by dropout.

    Raises:
        ValueError: for widths that do not fit.
    """

    def __init__(
        self, features: int = 32, blocks: int = 6, told: int = 32, nodes: int = 7, guides: int = 0,
        dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if min(features, blocks, told) < 1 or nodes < 2 or guides < 0 or not 0 <= dropout < 1:
            raise ValueError("features, blocks and told are 1 or more, nodes 2, guides 0 or more")
        self.guides, self.nodes = guides, nodes
        self.read = nn.Sequential(nn.Linear(TOLD, told), nn.ReLU())
        self.head = nn.Conv3d(4 * (1 + guides * nodes), features, 3, padding=1)
        self.blocks = nn.ModuleList(Block(features, told, dropout) for _ in range(blocks))
        self.modulate = nn.Linear(told, 2 * features)
        self.tail = nn.Conv3d(features, 4 * nodes, 3, padding=1)
        nn.init.kaiming_normal_(self.head.weight)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        # it starts as its input, nearly
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
        # samples have different numbers of slices
        places = [slice(n, n + 1) for n in range(len(image))]
        return torch.cat([self._one(image[place], condition[place]) for place in places])

    def _one(self, image: Tensor, condition: Tensor) -> Tensor:
        y, x = image.shape[3:]
        with torch.autocast(image.device.type, enabled=False):
            padded = functional.pad(image, (0, x % 2, 0, y % 2, 0, 0), mode="replicate").float()
            read = told(condition[..., 0].float())
            slices, nodes, between = lattices(condition[0].float(), self.nodes)
            given = [to_depth(rows(slices, padded[:, :1]), QUAD)]
            for number in range(1, 1 + self.guides):
                guide = rows(nodes, padded[:, number : number + 1])
                given.append(_grouped(to_depth(guide, QUAD), self.nodes))
            seen = torch.cat([details(one) for one in given], dim=1)
        missed = self._missed(seen, self.read(read))
        with torch.autocast(image.device.type, enabled=False):
            spread = to_space(_ungrouped(missed.float(), self.nodes), QUAD)
            return image[:, :1] + SMALL * rows(between, spread)[..., :y, :x]

    def _missed(self, seen: Tensor, read: Tensor) -> Tensor:
        """What the spline misses at the nodes of each slice, (1, 4 nodes, N, Y, X)."""
        first = features = functional.leaky_relu(self.head(seen), SLOPE)
        for block in self.blocks:
            features = block(features, read)
        both = modulated(features + first, self.modulate(read))
        return cast(Tensor, self.tail(functional.leaky_relu(both, SLOPE)))


def modulated(features: Tensor, numbers: Tensor) -> Tensor:
    """Features scaled and shifted, by channel: (B, C, N, Y, X) by (B, 2C)."""
    scale, shift = numbers[:, :, None, None, None].chunk(2, dim=1)
    return features * (1 + scale) + shift


def told(condition: Tensor) -> Tensor:
    """(B, CONDITIONS) of one voxel → (B, TOLD): lengths, and how much a slice leaves unseen."""
    lengths = condition[:, 2:]
    distance, thickness = lengths[:, :1].clamp_min(1e-3), lengths[:, 1:2]
    return torch.cat([lengths, 1.0 / (LARGEST * distance), thickness / distance], dim=1)


def lattices(condition: Tensor, nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """How the rows of voxels along the normal, slices and nodes are made of each other.

    Args:
        condition: (CONDITIONS, Z).
        nodes: of a slice.

    Returns:
        (N, Z): each slice as the mean of the rows over its thickness; (N nodes, Z): each node as
        a point between rows; (Z, N nodes): each row as a point between the nodes of its slice.
        Rows of all sum to 1.
    """
    count, device = condition.shape[1], condition.device
    distance, thickness = (max(1.0, LARGEST * float(condition[k, 0])) for k in (2, 3))
    phase = float(torch.atan2(condition[1, 0], condition[0, 0])) / (2.0 * math.pi)
    # the first slice whose middle is not above the first row's edge; a hair for rounding
    first = distance * (math.ceil(phase - 0.5 / distance - 1e-4) - phase)
    number = max(1, int((count - 0.5 - first) / distance + 1e-4) + 1)
    row = torch.arange(count, device=device, dtype=torch.float32)
    middles = first + distance * torch.arange(number, device=device, dtype=torch.float32)
    share = torch.linspace(-0.5, 0.5, nodes, device=device) * distance
    places = (middles[:, None] + share).flatten().clamp(0, count - 1)
    reach = ((thickness + 1.0) / 2.0 - (row - middles[:, None]).abs()).clamp(0.0, 1.0)
    points = (1.0 - (row - places[:, None]).abs()).clamp_min(0.0)
    nearest = ((row - first) / distance + 0.5).floor().clamp(0, number - 1)
    along = ((row - first) / distance - nearest + 0.5).clamp(0.0, 1.0) * (nodes - 1)
    hats = (1.0 - (along[:, None] - torch.arange(nodes, device=device)).abs()).clamp_min(0.0)
    own = functional.one_hot(nearest.long(), number).float()
    between = (own[:, :, None] * hats[:, None]).flatten(1)
    return reach / reach.sum(1, keepdim=True), points, between


def rows(matrix: Tensor, image: Tensor) -> Tensor:
    """Multiply the axis Z of (B, C, Z, Y, X) by a matrix (M, Z)."""
    batch, channels, z, y, x = image.shape
    made = torch.matmul(matrix, image.reshape(batch, channels, z, y * x))
    return made.reshape(batch, channels, -1, y, x)


def details(image: Tensor) -> Tensor:
    """What differs from the surroundings, amplified: brightness teaches nothing of edges.

    Args:
        image: (B, C, N, Y, X).
    """
    wide = functional.pad(image.mean(1, keepdim=True), (1, 1, 1, 1, 1, 1), mode="replicate")
    return AMPLIFIED * (image - functional.avg_pool3d(wide, 3, stride=1))


def _grouped(packed: Tensor, nodes: int) -> Tensor:
    """Nodes from rows to channels: (B, C, N nodes, Y, X) → (B, C nodes, N, Y, X)."""
    batch, channels, z, y, x = packed.shape
    parts = packed.reshape(batch, channels, z // nodes, nodes, y, x)
    return parts.movedim(3, 2).flatten(1, 2)


def _ungrouped(grouped: Tensor, nodes: int) -> Tensor:
    """The inverse of :func:`_grouped`."""
    batch, channels, count, y, x = grouped.shape
    parts = grouped.reshape(batch, channels // nodes, nodes, count, y, x)
    return parts.movedim(2, 3).flatten(2, 3)


ARCHITECTURE = AnyScale
