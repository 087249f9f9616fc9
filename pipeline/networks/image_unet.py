"""A small U-Net from images to images: no normalisation of the output, any number of channels.

Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28; what Zhao et al. 2019,
doi:10.1109/CVPR.2019.00874, take for changes of intensity.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.parts import check_features, convolution


class ImageUNet(nn.Module):
    """Convolutions and pooling down, doubling and skips up.

    Args:
        inputs: channels.
        outputs: channels.
        features: widths, finest first; each level but the first halves the grid.

    Raises:
        ValueError: for widths that do not fit.
    """

    def __init__(
        self, inputs: int = 1, outputs: int = 1, features: Sequence[int] = (16, 32, 64)
    ) -> None:
        super().__init__()
        check_features("features", features)
        check_features("inputs, outputs", [inputs, outputs])
        self.divisor = 2 ** (len(features) - 1)
        self.down = nn.ModuleList(convolution(a, b) for a, b in pairwise([inputs, *features]))
        upward = list(reversed(features))
        self.up = nn.ModuleList(convolution(a + b, b) for a, b in pairwise(upward))
        self.last = nn.Conv3d(features[0], outputs, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, outputs, Z, Y, X) of (B, inputs, Z, Y, X), multiples of ``divisor``."""
        values, kept = images, []
        for number, level in enumerate(self.down):
            values = level(functional.max_pool3d(values, 2) if number else values)
            kept.append(values)
        kept.pop()
        for level in self.up:
            grown = functional.interpolate(values, scale_factor=2.0, mode="nearest")
            values = level(torch.cat([grown, kept.pop()], dim=1))
        return cast(Tensor, self.last(values))


ARCHITECTURE = ImageUNet
