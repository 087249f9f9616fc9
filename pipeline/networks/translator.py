"""An encoder-decoder that makes contrasts from others, in volumes or in planes with neighbours.

A U-Net (Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28) as the generator of Isola et
al. 2017, doi:10.1109/CVPR.2017.632, with residual blocks. Without normalisation: statistics of a
patch would take its intensities away, and tiles would not fit together. Two and a half dimensions:
planes of Y and X, the planes beside each as further channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.estimates import Head, check_counts, with_given
from pipeline.networks.parts import check_choice, check_features

SLOPE = 0.1


class Block(nn.Module):
    """x + conv(act(conv(x))), convolutions of three voxels."""

    def __init__(self, width: int, dims: int) -> None:
        super().__init__()
        layer: Any = nn.Conv3d if dims == 3 else nn.Conv2d
        self.first, self.second = (layer(width, width, 3, padding=1) for _ in range(2))
        nn.init.kaiming_normal_(self.first.weight, a=SLOPE)
        # near the identity at first, or the sum of many blocks would grow
        nn.init.normal_(self.second.weight, std=0.1 * (3**dims * width) ** -0.5)
        for one in (self.first, self.second):
            nn.init.zeros_(one.bias)

    def forward(self, values: Tensor) -> Tensor:
        """Same shape."""
        found = self.second(functional.leaky_relu(self.first(values), SLOPE))
        return functional.leaky_relu(values + found, SLOPE)


class Translator(nn.Module):
    """U-Net from contrasts to contrasts; 0.4 million parameters by default with two inputs.

    Args:
        inputs: number of contrasts that it may be given.
        targets: number of contrasts that it makes.
        dimensions: ``3``, or ``2.5`` for planes with those beside them.
        features: widths, finest first, each half as fine as the one before.
        blocks: residual blocks at each depth, before and after those below.
        neighbours: planes on each side that 2.5 dimensions see.

    Raises:
        ValueError: for arguments that do not fit.
    """

    def __init__(
        self,
        inputs: int,
        targets: int,
        dimensions: str = "3",
        features: Sequence[int] = (16, 32, 64),
        blocks: int = 1,
        neighbours: int = 2,
    ) -> None:
        super().__init__()
        check_counts(inputs, targets)
        check_choice("dimensions", dimensions, ("2.5", "3"))
        check_features("features", features)
        check_features("blocks", [blocks])
        if neighbours < 0:
            raise ValueError(f"neighbours is 0 or more, not {neighbours}")
        self.dims = 3 if dimensions == "3" else 2
        self.neighbours = 0 if self.dims == 3 else neighbours
        self.factor = 2 ** (len(features) - 1)
        layer: Any = nn.Conv3d if self.dims == 3 else nn.Conv2d
        channels = inputs * (2 * self.neighbours + 1) + inputs
        pairs = list(pairwise(features))
        self.head = layer(channels, features[0], 3, padding=1)
        self.before = nn.ModuleList(_blocks(width, blocks, self.dims) for width in features)
        self.after = nn.ModuleList(_blocks(width, blocks, self.dims) for width in features[:-1])
        self.down = nn.ModuleList(layer(a, b, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(layer(b, a, 1) for a, b in pairs)
        self.last = Head(features[0], targets, self.dims)

    def forward(self, sources: Tensor, given: Tensor) -> list[Tensor]:
        """One estimate; see :mod:`pipeline.networks.estimates`."""
        whole = with_given(sources, given)
        if self.dims == 3:
            return [self._estimate(whole)]
        flat = self._planes(sources, whole[:, sources.shape[1] :])
        found = self._estimate(flat)
        count, _, z = sources.shape[:3]
        return [found.reshape(count, z, *found.shape[1:]).transpose(1, 2)]

    def _planes(self, sources: Tensor, told: Tensor) -> Tensor:
        """Each plane with its neighbours, as a batch of (B Z, channels, Y, X)."""
        n, z = self.neighbours, sources.shape[2]
        beside = functional.pad(sources, (0, 0, 0, 0, n, n), mode="replicate")
        stacked = [beside[:, :, k : k + z] for k in range(2 * n + 1)]
        return torch.cat([*stacked, told], dim=1).transpose(1, 2).flatten(0, 1)

    def _estimate(self, values: Tensor) -> Tensor:
        shape = values.shape[2:]
        pads = [n for size in reversed(shape) for n in (0, -size % self.factor)]
        values = self.head(functional.pad(values, pads, mode="replicate"))
        kept = []
        for depth, down in enumerate(self.down):
            values = self.before[depth](values)
            kept.append(values)
            values = down(values)
        values = self.before[-1](values)
        for depth in reversed(range(len(self.up))):
            raised = functional.interpolate(self.up[depth](values), scale_factor=2.0)
            values = self.after[depth](raised + kept[depth])
        found = cast(Tensor, self.last(values))
        for axis, size in enumerate(shape, start=2):
            found = found.narrow(axis, 0, size)
        return found


def _blocks(width: int, count: int, dims: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width, dims) for _ in range(count)))


ARCHITECTURE = Translator
