"""A generator from noise: transposed convolutions that double the grid.

Radford et al. 2016, unsupervised representation learning with deep convolutional generative
adversarial networks, doi:10.48550/arXiv.1511.06434; here in three dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.networks.parts import check_features


def size_of(size: Sequence[int]) -> tuple[int, int, int]:
    """Z, Y, X.

    Raises:
        ValueError: for other than three numbers.
    """
    z, y, x = (int(n) for n in size)
    return z, y, x


def coarsest(size: Sequence[int], halvings: int) -> tuple[int, int, int]:
    """The grid that doubles to ``size`` so many times.

    Raises:
        ValueError: for sizes that are not three multiples.
    """
    if len(size) != 3 or any(n < 1 or n % 2**halvings for n in size):
        raise ValueError(f"size is three multiples of {2**halvings}, not {list(size)}")
    z, y, x = (n // 2**halvings for n in size)
    return z, y, x


class Dcgan(nn.Module):
    """Images from noise.

    Args:
        latent: numbers of noise.
        outputs: channels.
        size: Z, Y, X of the images, multiples of two to the power of the widths.
        features: widths, coarsest first, one a doubling.

    Raises:
        ValueError: for widths or sizes that do not fit.
    """

    def __init__(
        self,
        latent: int = 64,
        outputs: int = 1,
        size: Sequence[int] = (32, 32, 32),
        features: Sequence[int] = (128, 64, 32),
    ) -> None:
        super().__init__()
        check_features("features", features)
        self.size = size_of(size)
        check_features("latent, outputs", [latent, outputs])
        self.latent, self.start = latent, coarsest(size, len(features))
        self.width = features[0]
        cells = self.start[0] * self.start[1] * self.start[2]
        self.enter = nn.Linear(latent, self.width * cells)
        layers: list[nn.Module] = [nn.BatchNorm3d(self.width), nn.ReLU()]
        for inputs, made in pairwise(features):
            layers += [
                nn.ConvTranspose3d(inputs, made, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm3d(made),
                nn.ReLU(),
            ]
        layers.append(nn.ConvTranspose3d(features[-1], outputs, 4, stride=2, padding=1))
        self.layers = nn.Sequential(*layers)
        self.apply(_begin)

    def forward(self, noise: Tensor) -> Tensor:
        """Images (B, outputs, *size) from -1 to 1, of noise (B, latent)."""
        first = self.enter(noise).view(len(noise), self.width, *self.start)
        return torch.tanh(self.layers(first))


def _begin(layer: nn.Module) -> None:
    """Weights of deviation 0.02, as the paper starts."""
    if isinstance(layer, nn.ConvTranspose3d | nn.Linear):
        nn.init.normal_(layer.weight, std=0.02)


ARCHITECTURE = Dcgan
