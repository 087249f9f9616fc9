"""MIND: a description of each voxel's surroundings that does not depend on the contrast.

Heinrich et al. 2013, Towards realtime multimodal fusion for image-guided interventions using
self-similarities, doi:10.1007/978-3-642-40811-3_24 (MIND-SSC, the self-similarity context).
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.training.losses.outcome import mean

_NEIGHBOURS = [(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)]
# neighbours of each other at the square root of two; the three pairs across are left out
PAIRS = [
    (one, two)
    for one, two in combinations(_NEIGHBOURS, 2)
    if sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) == 2
]


def descriptor(image: Tensor, radius: int = 1, dilation: int = 2) -> Tensor:
    """The twelve self-similarities of each voxel.

    Args:
        image: (B, 1, Z, Y, X).
        radius: the patches compared have the edge ``2 radius + 1``.
        dilation: distance of the neighbours in voxels.

    Returns:
        (B, 12, Z, Y, X), 0 to 1, the largest of each voxel 1.
    """
    size = image.shape[2:]
    padded = functional.pad(image, (dilation,) * 6, mode="replicate")

    def shifted(offset: tuple[int, int, int]) -> Tensor:
        cut = padded
        for axis, step in enumerate(offset):
            cut = cut.narrow(axis + 2, dilation * (1 + step), size[axis])
        return cut

    edge = 2 * radius + 1
    distances = []
    for one, two in PAIRS:
        square = (shifted(one) - shifted(two)).square()
        distances.append(
            functional.avg_pool3d(square, edge, 1, padding=radius, count_include_pad=False)
        )
    stacked = torch.cat(distances, dim=1)
    stacked = stacked - stacked.amin(dim=1, keepdim=True)
    noise = stacked.mean(dim=1, keepdim=True)
    level = noise.detach().mean(dim=(1, 2, 3, 4), keepdim=True)
    # in a flat patch the distances are nothing but rounding: they are not blown up
    noise = noise.clamp_min(1e-12).maximum(1e-3 * level).minimum(1e3 * level + 1e-12)
    return torch.exp(-stacked / noise)


class Mind(nn.Module):
    """Mean squared difference of the descriptors of two images.

    Args:
        radius: of the patches, in voxels.
        dilation: distance of the patches, in voxels.
    """

    def __init__(self, radius: int = 1, dilation: int = 2) -> None:
        super().__init__()
        if radius < 0 or dilation < 1:
            raise ValueError("radius is 0 or more, dilation 1 or more")
        self.radius = radius
        self.dilation = dilation

    def forward(self, warped: Tensor, fixed: Tensor, weight: Tensor | None = None) -> Tensor:
        """Loss of two (B, 1, Z, Y, X) of any contrasts; weight (B, 1, Z, Y, X)."""
        one, two = (descriptor(image, self.radius, self.dilation) for image in (warped, fixed))
        return mean((one - two).square(), weight)
