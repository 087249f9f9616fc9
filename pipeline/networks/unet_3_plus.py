"""U-Net 3+: every level of the decoder sees every scale.

Huang et al. 2020, doi:10.1109/ICASSP40776.2020.9053405, without its classification of whole images,
which needs images without any structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks import segmenter
from pipeline.networks.parts import check_features
from pipeline.networks.segmenter import Segmenter, Sizes, Unit

POOLS = {2: functional.max_pool2d, 3: functional.max_pool3d}
MODES = {2: "bilinear", 3: "trilinear"}


class UNet3Plus(Segmenter):
    """U-Net 3+; 1.5 million parameters by default in 3D.

    Args:
        inputs: channels of the image.
        outputs: classes, the background among them.
        dims: 2 or 3.
        channels: widths of the encoder, one a level, finest first.
        kernels: sizes, one entry a level, each a number or one an axis; odd; 3 if None.
        strides: the same, from the level before; 1 at the first level and 2 after if None.
        blocks: convolutions at each level of the encoder.
        share: channels that a level of the decoder takes from each scale.
        dropout: share of the channels left out in the deeper half of the encoder.
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
        share: int = 16,
        dropout: float = 0.0,
        deep_supervision: bool = False,
    ) -> None:
        segmenter.check_share(dropout)
        check_features("blocks", [blocks, share])
        sizes, steps = segmenter.grids(channels, kernels, strides, dims)
        super().__init__(inputs, outputs, dims, segmenter.product(steps), deep_supervision)
        depth, ones = len(channels), (1,) * dims
        self.steps = steps
        widths = [inputs, *channels]
        self.down = nn.ModuleList()
        for k in range(depth):
            units = [Unit(widths[k], channels[k], sizes[k], steps[k])]
            units += [Unit(channels[k], channels[k], sizes[k]) for _ in range(blocks - 1)]
            left_out = dropout if k >= depth // 2 else 0.0
            self.down.append(nn.Sequential(*units, segmenter.dropout(dims, left_out)))
        whole = depth * share
        self.take, self.join = nn.ModuleList(), nn.ModuleList()
        for k in range(depth - 1):
            # from the encoder down to this level, from the decoder below it, from the bottom
            seen = [*channels[: k + 1], *[whole] * (depth - 2 - k), channels[-1]]
            self.take.append(nn.ModuleList(Unit(width, share, sizes[k], ones) for width in seen))
            self.join.append(Unit(whole, whole, sizes[k]))
        heads = depth - 1 if deep_supervision else 1
        self.heads = nn.ModuleList(segmenter.head(whole, outputs, dims) for _ in range(heads))

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
        # the decoder takes the place of the encoder from below: what is finer is still the latter
        for k in reversed(range(len(self.join))):
            shape = kept[k].shape[2:]
            taken = []
            for number, unit in enumerate(cast(nn.ModuleList, self.take[k])):
                one = kept[number]
                taken.append(
                    unit(self._pooled(one, number, k) if number < k else self._raised(one, shape))
                )
            kept[k] = self.join[k](torch.cat(taken, dim=1))
        count = len(self.heads) if self.supervised else 1
        return [self.heads[k](kept[k]) for k in range(count)]

    def _pooled(self, values: Tensor, finer: int, level: int) -> Tensor:
        """Features of a finer level on the grid of a level."""
        strides = self.steps[finer + 1 : level + 1]
        return POOLS[self.dims](values, tuple(prod(axis) for axis in zip(*strides, strict=True)))

    def _raised(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        """Features of a coarser level on a finer grid."""
        if tuple(values.shape[2:]) == tuple(shape):
            return values
        return functional.interpolate(values, size=tuple(shape), mode=MODES[self.dims])


ARCHITECTURE = UNet3Plus
