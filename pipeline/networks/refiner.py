"""A residual U-Net that makes one image of what several filters made of a noisy one.

What filters make of an image that repeats itself and knowing what clean images look like err
differently, and a network that sees the noisy image and the filtered ones has both; where filters
disagree is in itself a hint (in place of the transforms' fixed weights; Manjon & Coupe 2018,
doi:10.1007/978-3-030-00500-9_2, join them the other way round: a network first, then non-local
means). The body is that of :mod:`pipeline.networks.drunet`. Fresh weights leave the first of the
filtered images as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.drunet import HALVES, SMALLEST, DRUNet, compressed
from pipeline.networks.shuffle import to_depth


class Refiner(DRUNet):
    """Residual U-Net told the noise level and given filtered images.

    Args:
        features: widths from half the resolution downwards, one a halving.
        blocks: residual blocks at each depth, before and after those below.
        estimates: number of filtered images.

    Raises:
        ValueError: for widths that do not fit.
    """

    def __init__(
        self, features: Sequence[int] = (64, 64), blocks: int = 2, estimates: int = 6
    ) -> None:
        super().__init__(features, blocks)
        self.estimates = estimates
        self.head = nn.Conv3d(8 * (estimates + 1) + 3, features[0], 3, padding=1)

    def forward(self, image: Tensor, level: Tensor, filtered: Tensor | None = None) -> Tensor:
        """Restore images.

        Args:
            image: (B, 1, Z, Y, X) of any shape, robust range about one.
            level: deviation of the noise, same units; (B, 1, Z, Y, X), or (B, 1, 1, 1, 1).
            filtered: (B, estimates, Z, Y, X), the one to start from first; None takes the image
                itself.
        """
        if filtered is None:
            filtered = image.expand(-1, self.estimates, -1, -1, -1)
        whole = level.expand_as(image)
        given = _inputs(self.padded(image), self.padded(filtered), self.pooled(whole))
        return filtered[:, :1] - whole * self.predicted(given, image.shape[2:])


def _inputs(image: Tensor, filtered: Tensor, level: Tensor) -> Tensor:
    """In units of the noise: what was removed, where filters differ, the detail that is left.

    8 channels each; beside them the local mean, its ratio to the noise, and the level.
    """
    start = filtered[:, :1]
    blocks = to_depth(start, HALVES)
    mean = blocks.mean(dim=1, keepdim=True)
    around = functional.avg_pool3d(mean, 3, stride=1, padding=1, count_include_pad=False)
    divisor = level.clamp_min(SMALLEST)
    others = torch.cat([image, filtered[:, 1:]], dim=1) - start
    parts = [*(to_depth(one, HALVES) for one in torch.split(others, 1, dim=1)), blocks - around]
    detail = [compressed(one, divisor) for one in parts]
    ratio = mean / (mean.abs() + 3.0 * divisor)
    return torch.cat([*detail, mean, ratio, 10.0 * level], dim=1)


ARCHITECTURE = Refiner
