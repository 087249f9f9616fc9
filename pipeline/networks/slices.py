"""Convolutions over slices, over slices with their neighbours, or over volumes, in one interface.

Volumes are (B, C, Z, Y, X); networks of two dimensions see each plane of Y and X by itself, those
of two and a half dimensions with the planes beside it as more channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.parts import check_choice

Dimensions = Literal["2", "2.5", "3"]
DIMENSIONS = ("2", "2.5", "3")


def check_dimensions(dimensions: str) -> None:
    """Refuse other dimensions, with a ValueError."""
    check_choice("dimensions", dimensions, DIMENSIONS)


def convolution_type(dimensions: str) -> type[nn.Conv2d] | type[nn.Conv3d]:
    """Class of convolutions."""
    return nn.Conv3d if dimensions == "3" else nn.Conv2d


def channels(dimensions: str, neighbours: int, told: bool) -> int:
    """Channels that a network gets: the image, its neighbours on both sides, the level."""
    planes = 2 * neighbours + 1 if dimensions == "2.5" else 1
    return planes + int(told)


def apply(
    network: Callable[[Tensor], Tensor],
    image: Tensor,
    level: Tensor | None,
    dimensions: str,
    neighbours: int,
) -> Tensor:
    """Run a network on a volume as its dimensions want it.

    Args:
        network: of :func:`channels` inputs and one output, in two or three dimensions.
        image: (B, 1, Z, Y, X).
        level: same shape; None for a network that is not told.
        dimensions: of the network.
        neighbours: planes on each side that 2.5 dimensions see.

    Returns:
        (B, 1, Z, Y, X).
    """
    told = [] if level is None else [level.expand_as(image)]
    if dimensions == "3":
        return network(torch.cat([image, *told], dim=1))
    count, _, z, y, x = image.shape
    planes = image
    if dimensions == "2.5":
        beside = functional.pad(image, (0, 0, 0, 0, neighbours, neighbours), mode="replicate")
        planes = torch.cat([beside[:, :, k : k + z] for k in range(2 * neighbours + 1)], dim=1)
    whole = torch.cat([planes, *told], dim=1)
    flat = whole.transpose(1, 2).reshape(count * z, -1, y, x)
    return network(flat).reshape(count, z, 1, y, x).transpose(1, 2)
