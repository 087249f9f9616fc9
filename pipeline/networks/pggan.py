"""A generator from noise that grows while it is trained.

Karras et al. 2018, progressive growing of GANs for improved quality, stability, and variation,
doi:10.48550/arXiv.1710.10196; here in three dimensions. Layers have weights of unit deviation that
are scaled as they are used, features are normalised at each voxel, and a new scale is faded in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.dcgan import coarsest, size_of
from pipeline.networks.parts import check_features


class Scaled(nn.Module):
    """A convolution whose weights are scaled by their number at each use."""

    def __init__(self, inputs: int, outputs: int, kernel: int, gain: float = 2.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.factor, self.padding = math.sqrt(gain / (inputs * kernel**3)), kernel // 2

    def forward(self, features: Tensor) -> Tensor:
        """(B, outputs, Z, Y, X)."""
        return functional.conv3d(
            features, self.weight * self.factor, self.bias, padding=self.padding
        )


class VoxelNorm(nn.Module):
    """Features of each voxel at a mean square of one."""

    def forward(self, features: Tensor) -> Tensor:
        """Same shape."""
        return features * (features.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def stage(progress: float, scales: int) -> tuple[int, float]:
    """The scale that is trained at a share of the training, and how far it is faded in.

    Every scale has as long; in the first half of it (but of the coarsest) it is faded in.

    Args:
        progress: 0 to 1.
        scales: number of scales.

    Returns:
        Scale, 0 the coarsest, and 0 to 1.
    """
    place = min(max(progress, 0.0), 1.0) * scales
    scale = min(int(place), scales - 1)
    faded = 1.0 if scale == 0 else min(1.0, 2.0 * (place - scale))
    return scale, faded


def widened(images: Tensor, times: int) -> Tensor:
    """Each voxel as ``2 ** times`` along each axis."""
    if not times:
        return images
    return functional.interpolate(images, scale_factor=float(2**times), mode="nearest")


class Pggan(nn.Module):
    """Images from noise, at the scale that the training has come to.

    Args:
        latent: numbers of noise.
        outputs: channels.
        size: Z, Y, X of the images at the last scale.
        features: widths, coarsest first; each scale is twice as fine as the one before.

    Raises:
        ValueError: for widths or sizes that do not fit.
    """

    progress: Tensor

    def __init__(
        self,
        latent: int = 64,
        outputs: int = 1,
        size: Sequence[int] = (32, 32, 32),
        features: Sequence[int] = (64, 64, 32, 16),
    ) -> None:
        super().__init__()
        check_features("features", features)
        self.size = size_of(size)
        check_features("latent, outputs", [latent, outputs])
        self.latent, self.scales, self.width = latent, len(features), features[0]
        self.start = coarsest(size, len(features) - 1)
        cells = self.start[0] * self.start[1] * self.start[2]
        self.enter = nn.Linear(latent, self.width * cells)
        self.blocks = nn.ModuleList([_block(features[0], features[0])])
        self.blocks.extend(_block(inputs, made) for inputs, made in pairwise(features))
        self.leave = nn.ModuleList(Scaled(width, outputs, 1, gain=1.0) for width in features)
        # in the checkpoint and the bundle, so that images are made as they were trained
        self.register_buffer("progress", torch.zeros(()))

    def forward(self, noise: Tensor) -> Tensor:
        """Images (B, outputs, *size) from -1 to 1, of noise (B, latent).

        Before the last scale is reached they have its size and larger voxels.
        """
        scale, faded = stage(float(self.progress), self.scales)
        noise = noise * (noise.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        values = self.blocks[0](self.enter(noise).view(len(noise), self.width, *self.start))
        before = values
        for number in range(1, scale + 1):
            before = values
            values = self.blocks[number](widened(values, 1))
        made: Tensor = self.leave[scale](values)
        if faded < 1.0:
            made = torch.lerp(widened(self.leave[scale - 1](before), 1), made, faded)
        return widened(torch.tanh(made), self.scales - 1 - scale)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        Scaled(inputs, outputs, 3), nn.LeakyReLU(0.2), VoxelNorm(),
        Scaled(outputs, outputs, 3), nn.LeakyReLU(0.2), VoxelNorm(),
    )  # fmt: skip


ARCHITECTURE = Pggan
