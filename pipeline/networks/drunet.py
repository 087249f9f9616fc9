"""A residual U-Net that is told the noise level, at half the resolution for speed.

Residual blocks without normalisation and a noise-level map: Zhang et al. 2022, DRUNet,
doi:10.1109/TPAMI.2021.3088914; the work at half resolution: Zhang et al. 2018, FFDNet,
doi:10.1109/TIP.2018.2839891. In three dimensions, and with inputs and output in units of the
noise, so that one set of weights serves all levels: the result is the image less the level times
what the network predicts, hence the image itself where the level is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.parts import check_features
from pipeline.networks.shuffle import to_depth, to_space

HALVES = (2, 2, 2)
#: Smallest level that an image is divided by, share of the range.
SMALLEST = 0.004
#: Detail of this many noise levels is where the inputs leave the linear for the logarithmic.
KNEE = 8.0


class Block(nn.Module):
    """x + conv(ReLU(conv(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(width, width, 3, padding=1)
        self.second = nn.Conv3d(width, width, 3, padding=1)
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        # near the identity at first, or the sum of many blocks would grow
        nn.init.normal_(self.second.weight, std=0.1 * (27 * width) ** -0.5)
        for layer in (self.first, self.second):
            nn.init.zeros_(cast(Tensor, layer.bias))

    def forward(self, values: Tensor) -> Tensor:
        """Same shape."""
        found = self.second(functional.relu(self.first(values)))
        return cast(Tensor, values + found)


class DRUNet(nn.Module):
    """Residual U-Net told the noise level; 2.25 million parameters by default.

    Args:
        features: widths from half the resolution downwards, one a halving.
        blocks: residual blocks at each depth, before and after those below.

    Raises:
        ValueError: for widths that do not fit.
    """

    def __init__(self, features: Sequence[int] = (32, 64, 96), blocks: int = 2) -> None:
        super().__init__()
        check_features("features", features)
        check_features("blocks", [blocks])
        self.factor = 2 ** len(features)
        self.head = nn.Conv3d(11, features[0], 3, padding=1)
        self.before = nn.ModuleList(_blocks(width, blocks) for width in features)
        self.after = nn.ModuleList(_blocks(width, blocks) for width in features[:-1])
        pairs = list(pairwise(features))
        self.down = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, stride=2) for a, b in pairs)
        self.tail = nn.Conv3d(features[0], 8, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(cast(Tensor, self.tail.bias))

    def forward(self, image: Tensor, level: Tensor) -> Tensor:
        """Restore images.

        Args:
            image: (B, 1, Z, Y, X) of any shape, robust range about one.
            level: deviation of the noise, same units; (B, 1, Z, Y, X), or (B, 1, 1, 1, 1).
        """
        whole = level.expand_as(image)
        noise = self.predicted(_inputs(self.padded(image), self.pooled(whole)), image.shape[2:])
        return image - whole * noise

    def padded(self, image: Tensor) -> Tensor:
        """Up to a shape that the halvings divide; edges are repeated."""
        pads = [n for size in reversed(image.shape[2:]) for n in (0, self._missing(size))]
        return functional.pad(image, pads, mode="replicate")

    def pooled(self, level: Tensor) -> Tensor:
        """The level at half the resolution, of the padded shape."""
        return functional.avg_pool3d(self.padded(level), 2)

    def predicted(self, inputs: Tensor, shape: Sequence[int]) -> Tensor:
        """What the network makes of its inputs at half the resolution: (B, 1, Z, Y, X)."""
        z, y, x = shape
        return to_space(self._predict(inputs), HALVES)[:, :, :z, :y, :x]

    def _missing(self, size: int) -> int:
        """Voxels up to a multiple of the factor, and to the 6 that the local mean needs."""
        least = max(size, 6)
        found: int = least + -least % self.factor - size
        return found

    def _predict(self, values: Tensor) -> Tensor:
        values = self.head(values)
        kept = []
        for depth, down in enumerate(self.down):
            values = self.before[depth](values)
            kept.append(values)
            values = down(values)
        values = self.before[-1](values)
        for depth in reversed(range(len(self.up))):
            values = self.after[depth](self.up[depth](values) + kept[depth])
        # half precision is too coarse for the sum with the image
        return cast(Tensor, self.tail(values)).float()


def _inputs(image: Tensor, level: Tensor) -> Tensor:
    """Detail in units of the noise (8 channels), local mean, its ratio to the noise, the level."""
    blocks = to_depth(image, HALVES)
    mean = blocks.mean(dim=1, keepdim=True)
    around = functional.avg_pool3d(mean, 3, stride=1, padding=1, count_include_pad=False)
    divisor = level.clamp_min(SMALLEST)
    detail = compressed(blocks - around, divisor)
    ratio = mean / (mean.abs() + 3.0 * divisor)
    return torch.cat([detail, mean, ratio, 10.0 * level], dim=1)


def compressed(detail: Tensor, level: Tensor) -> Tensor:
    """Detail in levels of noise, as it is where it is small and as its logarithm beyond KNEE."""
    ratio = detail / (KNEE * level)
    size = ratio.abs()
    # the inverse hyperbolic sine; torch's own takes five times as long on a CPU
    return KNEE * torch.copysign(torch.log(size + torch.sqrt(size * size + 1.0)), ratio)


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(count)))


ARCHITECTURE = DRUNet
