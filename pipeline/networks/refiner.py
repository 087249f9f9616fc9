"""A residual U-Net that refines what non-local means made of a noisy image.

Averaging like places of one image and knowing what clean images look like err differently, and a
network that sees the noisy and the filtered image has both. Manjon & Coupe 2018,
doi:10.1007/978-3-030-00500-9_2, join them the other way round: a network first, then non-local
means. The body is that of :mod:`pipeline.networks.drunet`. Fresh weights leave the filtered image
as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.drunet import HALVES, KNEE, SMALLEST, DRUNet
from pipeline.networks.shuffle import to_depth


class Refiner(DRUNet):
    """Residual U-Net told the noise level and given a filtered image.

    Args:
        features: widths from half the resolution downwards, one a halving.
        blocks: residual blocks at each depth, before and after those below.

    Raises:
        ValueError: for widths that do not fit.
    """

    def __init__(self, features: Sequence[int] = (64, 64), blocks: int = 2) -> None:
        super().__init__(features, blocks)
        self.head = nn.Conv3d(19, features[0], 3, padding=1)

    def forward(self, image: Tensor, level: Tensor, filtered: Tensor | None = None) -> Tensor:
        """Restore images.

        Args:
            image: (B, 1, Z, Y, X) of any shape, robust range about one.
            level: deviation of the noise, same units; (B, 1, Z, Y, X), or (B, 1, 1, 1, 1).
            filtered: the image after non-local means, same shape; None takes the image itself.
        """
        start = image if filtered is None else filtered
        whole = level.expand_as(image)
        given = _inputs(self.padded(image), self.padded(start), self.pooled(whole))
        return start - whole * self.predicted(given, image.shape[2:])


def _inputs(image: Tensor, filtered: Tensor, level: Tensor) -> Tensor:
    """What was removed and the detail that is left, in units of the noise (8 channels each).

    Beside them the local mean, its ratio to the noise, and the level: 19 channels in all.
    """
    blocks = to_depth(filtered, HALVES)
    mean = blocks.mean(dim=1, keepdim=True)
    around = functional.avg_pool3d(mean, 3, stride=1, padding=1, count_include_pad=False)
    divisor = level.clamp_min(SMALLEST)
    removed = to_depth(image, HALVES) - blocks
    parts = [KNEE * torch.asinh(one / (KNEE * divisor)) for one in (removed, blocks - around)]
    ratio = mean / (mean.abs() + 3.0 * divisor)
    return torch.cat([*parts, mean, ratio, 10.0 * level], dim=1)


ARCHITECTURE = Refiner
