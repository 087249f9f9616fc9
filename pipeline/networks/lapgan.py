"""A generator from noise, scale by scale: each adds what the coarser one lacks.

Denton et al. 2015, deep generative image models using a Laplacian pyramid of adversarial networks,
doi:10.48550/arXiv.1506.05751; here in three dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.dcgan import Dcgan, coarsest, size_of
from pipeline.networks.parts import check_features, convolution


def shrunk(images: Tensor) -> Tensor:
    """Half the size: means of two by two by two."""
    return functional.avg_pool3d(images, 2)


def grown(images: Tensor) -> Tensor:
    """Twice the size, smooth."""
    return functional.interpolate(images, scale_factor=2.0, mode="trilinear", align_corners=False)


class Lapgan(nn.Module):
    """Images from noise; the coarsest by a :class:`~pipeline.networks.dcgan.Dcgan`.

    Args:
        latent: numbers of noise of the coarsest scale.
        outputs: channels.
        size: Z, Y, X of the images.
        levels: scales above the coarsest.
        features: width of each, and of the coarsest's last layer.

    Raises:
        ValueError: for widths or sizes that do not fit.
    """

    def __init__(
        self,
        latent: int = 64,
        outputs: int = 1,
        size: Sequence[int] = (32, 32, 32),
        levels: int = 2,
        features: int = 32,
    ) -> None:
        super().__init__()
        self.size = size_of(size)
        check_features("latent, outputs, levels, features", [latent, outputs, levels, features])
        self.latent, self.levels = latent, levels
        self.first = Dcgan(latent, outputs, coarsest(size, levels), [features])
        self.more = nn.ModuleList(
            nn.Sequential(
                convolution(outputs + 1, features),
                convolution(features, features),
                nn.Conv3d(features, outputs, 3, padding=1),
            )
            for _ in range(levels)
        )

    def forward(self, noise: Tensor, below: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Images of every scale, coarsest first; the last are (B, outputs, *size), -1 to 1.

        Args:
            noise: (B, latent).
            below: real images of every scale but the finest, which each level grows in place of
                what the level before made, as in training; None to make images.
        """
        made = [cast(Tensor, self.first(noise))]
        for level, layers in enumerate(self.more):
            blurred = grown(made[-1] if below is None else below[level])
            more = torch.randn_like(blurred[:, :1])
            added = layers(torch.cat([blurred, more], dim=1))
            made.append(torch.clamp(blurred + added, -1.0, 1.0))
        return made


def pyramid(images: Tensor, levels: int) -> list[Tensor]:
    """Images of every scale, coarsest first."""
    found = [images]
    for _ in range(levels):
        found.append(shrunk(found[-1]))
    return found[::-1]


ARCHITECTURE = Lapgan
