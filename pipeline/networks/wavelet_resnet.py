"""A residual network on wavelet coefficients.

Kang et al. 2018, Deep convolutional framelet denoising for low-dose CT via wavelet residual
network, doi:10.1109/TMI.2018.2823756: noise is predicted in the sub-bands and taken away there. The
transform here is the orthonormal Haar wavelet packet in three dimensions, so that white noise is
white, and of the same deviation, in every sub-band.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.parts import check_features
from pipeline.networks.shuffle import to_depth, to_space

HALVES = (2, 2, 2)


def haar(volume: Tensor) -> Tensor:
    """Sub-bands of one level: (B, C, Z, Y, X) of even shape → (B, 8 C, Z/2, Y/2, X/2)."""
    return _mixed(to_depth(volume, HALVES))


def inverse_haar(bands: Tensor) -> Tensor:
    """Inverse of :func:`haar`."""
    return to_space(_mixed(bands), HALVES)


def _mixed(blocks: Tensor) -> Tensor:
    """The eight voxels of each block as sums and differences; its own inverse."""
    line = torch.tensor([[1.0, 1.0], [1.0, -1.0]], device=blocks.device, dtype=blocks.dtype)
    matrix = torch.kron(torch.kron(line, line), line) / 8**0.5
    b, c, z, y, x = blocks.shape
    mixed = torch.einsum("ij,bcjzyx->bcizyx", matrix, blocks.reshape(b, c // 8, 8, z, y, x))
    return mixed.reshape(b, c, z, y, x)


class WaveletResNet(nn.Module):
    """Residual blocks on sub-bands; 0.91 million parameters by default.

    Args:
        features: width of the blocks.
        blocks: number of residual blocks.
        levels: of the wavelet packet, 1 or 2.
        told: whether the noise level is one more channel.

    Raises:
        ValueError: for arguments that do not fit.
    """

    def __init__(
        self, features: int = 64, blocks: int = 4, levels: int = 1, told: bool = True
    ) -> None:
        super().__init__()
        check_features("features", [features])
        check_features("blocks", [blocks])
        if levels not in (1, 2):
            raise ValueError(f"levels is 1 or 2, not {levels}")
        self.levels, self.told = levels, told
        bands = 8**levels
        self.head = nn.Conv3d(bands + int(told), features, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(features, features, 3, padding=1),
                nn.ReLU(),
                nn.Conv3d(features, features, 3, padding=1),
            )
            for _ in range(blocks)
        )
        self.tail = nn.Conv3d(features, bands, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(cast(Tensor, self.tail.bias))

    def forward(self, image: Tensor, level: Tensor) -> Tensor:
        """Restore (B, 1, Z, Y, X); the level has that shape, or (B, 1, 1, 1, 1)."""
        edge = 2**self.levels
        shape = image.shape[2:]
        pads = [n for size in reversed(shape) for n in (0, -size % edge)]
        bands = functional.pad(image, pads, mode="replicate")
        for _ in range(self.levels):
            bands = haar(bands)
        inputs = bands
        if self.told:
            whole = functional.pad(level.expand_as(image), pads, mode="replicate")
            inputs = torch.cat([bands, functional.avg_pool3d(whole, edge)], dim=1)
        values = functional.relu(self.head(inputs))
        for block in self.blocks:
            values = values + block(values)
        noise = self.tail(values).float()
        for _ in range(self.levels):
            noise = inverse_haar(noise)
        z, y, x = shape
        return cast(Tensor, image - noise[:, :, :z, :y, :x])


ARCHITECTURE = WaveletResNet
