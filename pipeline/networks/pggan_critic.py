"""The critic of a growing generator: it sheds scales as the generator grows them.

Karras et al. 2018, doi:10.48550/arXiv.1710.10196; here in three dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.parts import check_features
from pipeline.networks.pggan import Scaled, stage


class PgganCritic(nn.Module):
    """One score an image.

    Args:
        inputs: channels.
        features: widths, finest first; the last is at the coarsest scale.

    Raises:
        ValueError: for widths that do not fit.
    """

    progress: Tensor

    def __init__(self, inputs: int = 1, features: Sequence[int] = (16, 32, 64, 64)) -> None:
        super().__init__()
        check_features("features", features)
        check_features("inputs", [inputs])
        self.scales = len(features)
        self.enter = nn.ModuleList(Scaled(inputs, width, 1) for width in features)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                Scaled(wide, wide, 3), nn.LeakyReLU(0.2), Scaled(wide, coarse, 3), nn.LeakyReLU(0.2)
            )
            for wide, coarse in pairwise(features)
        )
        # one more channel: how much the images of a batch differ
        self.last = nn.Sequential(Scaled(features[-1] + 1, features[-1], 3), nn.LeakyReLU(0.2))
        self.score = nn.Linear(features[-1], 1)
        self.register_buffer("progress", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B, 1) of (B, inputs, Z, Y, X) of the last scale's size; no sigmoid."""
        scale, faded = stage(float(self.progress), self.scales)
        first = self.scales - 1 - scale
        seen = _shrunk(images, first)
        values = functional.leaky_relu(self.enter[first](seen), 0.2)
        for number in range(first, self.scales - 1):
            values = functional.avg_pool3d(self.blocks[number](values), 2)
            if number == first and faded < 1.0:
                other = functional.leaky_relu(self.enter[number + 1](_shrunk(seen, 1)), 0.2)
                values = torch.lerp(other, values, faded)
        values = self.last(torch.cat([values, _difference(values)], dim=1))
        return cast(Tensor, self.score(values.mean(dim=(2, 3, 4))))


def _shrunk(images: Tensor, times: int) -> Tensor:
    return functional.avg_pool3d(images, 2**times) if times else images


def _difference(values: Tensor) -> Tensor:
    """Deviation over the batch, averaged over all, as a channel."""
    deviation = (values.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
    return deviation.expand(len(values), 1, *values.shape[2:])


ARCHITECTURE = PgganCritic
