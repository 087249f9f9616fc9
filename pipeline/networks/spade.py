"""A generator from label maps: normalisation that the labels modulate at every scale.

Park et al. 2019, semantic image synthesis with spatially-adaptive normalization,
doi:10.1109/CVPR.2019.00244; here in three dimensions, from a noise map beside the coarse labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.parts import check_features


class Modulated(nn.Module):
    """Instance normalisation, then a gain and an offset that the labels give to each voxel."""

    def __init__(self, features: int, classes: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm3d(features)
        self.shared = nn.Conv3d(classes, hidden, 3, padding=1)
        self.gain_offset = nn.Conv3d(hidden, 2 * features, 3, padding=1)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """(B, features, Z, Y, X), with (B, classes, Z, Y, X)."""
        told = self.gain_offset(functional.relu(self.shared(labels)))
        gain, offset = told.chunk(2, dim=1)
        modulated: Tensor = self.norm(features) * (1 + gain) + offset
        return modulated


class Block(nn.Module):
    """Two modulated convolutions beside a short way."""

    def __init__(self, inputs: int, outputs: int, classes: int, hidden: int) -> None:
        super().__init__()
        self.first = Modulated(inputs, classes, hidden)
        self.one = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.second = Modulated(outputs, classes, hidden)
        self.two = nn.Conv3d(outputs, outputs, 3, padding=1)
        self.short = nn.Conv3d(inputs, outputs, 1, bias=False)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """(B, outputs, Z, Y, X)."""
        inner = self.one(functional.leaky_relu(self.first(features, labels), 0.2))
        inner = self.two(functional.leaky_relu(self.second(inner, labels), 0.2))
        result: Tensor = self.short(features) + inner
        return result


class Spade(nn.Module):
    """Image from labels and noise.

    Args:
        classes: channels of the labels, the background among them.
        outputs: contrasts.
        features: widths, coarsest first, each level twice as fine as the one before.
        noise: channels of the noise.
        hidden: width of what the labels go through.

    Raises:
        ValueError: for widths that do not fit.
    """

    def __init__(
        self,
        classes: int,
        outputs: int = 1,
        features: Sequence[int] = (64, 32, 16),
        noise: int = 8,
        hidden: int = 16,
    ) -> None:
        super().__init__()
        check_features("features", features)
        check_features("classes, outputs, noise, hidden", [classes, outputs, noise, hidden])
        self.noise, self.divisor = noise, 2 ** (len(features) - 1)
        self.enter = nn.Conv3d(classes + noise, features[0], 3, padding=1)
        widths = [features[0], *features]
        self.blocks = nn.ModuleList(
            Block(inputs, made, classes, hidden) for inputs, made in pairwise(widths)
        )
        self.leave = nn.Conv3d(features[-1], outputs, 3, padding=1)

    def forward(self, labels: Tensor, noise: Tensor) -> Tensor:
        """Images (B, outputs, Z, Y, X) from -1 to 1.

        Args:
            labels: (B, classes, Z, Y, X), multiples of ``divisor``.
            noise: (B, noise, Z / divisor, Y / divisor, X / divisor).

        Raises:
            ValueError: for shapes that do not fit.
        """
        wanted = (len(labels), self.noise, *(n // self.divisor for n in labels.shape[2:]))
        if any(n % self.divisor for n in labels.shape[2:]) or noise.shape != wanted:
            found = f"labels {tuple(labels.shape)}, noise {tuple(noise.shape)}"
            raise ValueError(f"{found}; sizes are multiples of {self.divisor}, noise is {wanted}")
        scales = [labels]
        for _ in range(len(self.blocks) - 1):
            scales.append(functional.avg_pool3d(scales[-1], 2))
        values = self.enter(torch.cat([scales[-1], noise], dim=1))
        for number, (block, told) in enumerate(zip(self.blocks, reversed(scales), strict=True)):
            if number:
                values = functional.interpolate(values, scale_factor=2.0, mode="nearest")
            values = block(values, told)
        return torch.tanh(self.leave(functional.leaky_relu(values, 0.2)))


ARCHITECTURE = Spade
