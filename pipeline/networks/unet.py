"""U-Net in two or three dimensions, of isotropic or anisotropic levels.

Ronneberger et al. 2015, U-Net, doi:10.1007/978-3-319-24574-4_28; in 3D Çiçek et al. 2016,
doi:10.1007/978-3-319-46723-8_49; strided convolutions, instance normalisation, leaky ReLU and
deep supervision as Isensee et al. 2021, nnU-Net, doi:10.1038/s41592-020-01008-z.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.networks import segmenter
from pipeline.networks.parts import check_features
from pipeline.networks.segmenter import Level, Segmenter, Sizes, Unit


class Straight(nn.Module):
    """A skip that changes nothing."""

    def forward(self, features: Tensor, coarser: Tensor) -> Tensor:
        """The features."""
        return features


class UNet(Segmenter):
    """U-Net; 1.3 million parameters by default in 3D.

    On a CPU two images at a time take less than twice as long as one: torch has a fast convolution
    for the small grids of the deeper levels only where the batch is above one.

    Args:
        inputs: channels of the image.
        outputs: classes, the background among them.
        dims: 2 or 3.
        channels: widths, one a level, finest first.
        kernels: sizes, one entry a level, each a number or one an axis (Z, Y, X); odd; 3 if None.
        strides: the same, from the level before; 1 at the first level and 2 after if None.
        blocks: convolutions at each level, before and after those below.
        dropout: share of the channels left out in the deeper half of the levels.
        deep_supervision: logits of every level but the deepest, while training.

    Raises:
        ValueError: for arguments that do not fit each other.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int = 3,
        channels: Sequence[int] = (16, 32, 64, 128),
        kernels: Sizes | None = None,
        strides: Sizes | None = None,
        blocks: int = 2,
        dropout: float = 0.0,
        deep_supervision: bool = False,
    ) -> None:
        segmenter.check_share(dropout)
        check_features("blocks", [blocks])
        sizes, steps = segmenter.grids(channels, kernels, strides, dims)
        super().__init__(inputs, outputs, dims, segmenter.product(steps), deep_supervision)
        depth = len(channels)
        shares = [dropout if level >= depth // 2 else 0.0 for level in range(depth)]
        widths = [inputs, *channels]
        ones = (1,) * dims
        down = [
            Level(widths[k], channels[k], sizes[k], steps[k], blocks, shares[k],
                  "encoder" if k < depth - 1 else "bottom", k, depth - 1 - k)
            for k in range(depth)
        ]  # fmt: skip
        after = [
            Level(2 * channels[k], channels[k], sizes[k], ones, blocks, shares[k], "decoder", k,
                  depth - 1 - k)
            for k in range(depth - 1)
        ]  # fmt: skip
        pairs = list(pairwise(down))
        self.down = nn.ModuleList(self.level(one) for one in down)
        self.skips = nn.ModuleList(self.skip(finer, coarser) for finer, coarser in pairs)
        self.up = nn.ModuleList(
            segmenter.upsampling(coarser.outputs, finer.outputs, coarser.stride)
            for finer, coarser in pairs
        )
        self.after = nn.ModuleList(self.level(one) for one in after)
        heads = depth - 1 if deep_supervision else 1
        self.heads = nn.ModuleList(segmenter.head(channels[k], outputs, dims) for k in range(heads))

    def level(self, made: Level) -> nn.Module:
        """Convolutions of one level, the first of them strided."""
        units = [Unit(made.inputs, made.outputs, made.kernel, made.stride)]
        units += [Unit(made.outputs, made.outputs, made.kernel) for _ in range(made.blocks - 1)]
        return nn.Sequential(*units, segmenter.dropout(made.dims, made.dropout))

    def skip(self, finer: Level, coarser: Level) -> nn.Module:
        """What a level of the encoder goes through on its way to the decoder.

        It is called with the features of that level, and those of the decoder one level below.
        """
        return Straight()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits of (B, inputs, *S), finest first: (B, outputs, *S), coarser if supervised.

        Raises:
            ValueError: for other channels, or sizes that are no multiple of ``divisor``.
        """
        self.check(image)
        kept = []
        values = image
        for level in self.down:
            values = level(values)
            kept.append(values)
        found = []
        for k in reversed(range(len(self.up))):
            skipped = self.skips[k](kept[k], values)
            values = self.after[k](torch.cat([skipped, self.up[k](values)], dim=1))
            if k == 0 or self.supervised:
                found.append(self.heads[k](values))
        return found[::-1]


ARCHITECTURE = UNet
