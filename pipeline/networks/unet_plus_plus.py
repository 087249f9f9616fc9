"""U-Net++: nested decoders, joined by dense skips.

Zhou et al. 2018, doi:10.1007/978-3-030-00889-5_1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.networks import segmenter
from pipeline.networks.parts import check_features
from pipeline.networks.segmenter import Segmenter, Sizes, Unit


class UNetPlusPlus(Segmenter):
    """U-Net++; 1.5 million parameters by default in 3D.

    Node (k, j) is level k of the j-th nested decoder. It joins all nodes of its level to the left
    of it with the one below it.

    Args:
        inputs: channels of the image.
        outputs: classes, the background among them.
        dims: 2 or 3.
        channels: widths, one a level, finest first.
        kernels: sizes, one entry a level, each a number or one an axis; odd; 3 if None.
        strides: the same, from the level before; 1 at the first level and 2 after if None.
        blocks: convolutions of a node.
        dropout: share of the channels left out in the deeper half of the levels.
        deep_supervision: logits of every nested decoder, the deepest first, while training; all
            of them on the finest grid.

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
        self.depth = depth = len(channels)
        self.nodes, self.up = nn.ModuleDict(), nn.ModuleDict()
        widths = [inputs, *channels]
        for k in range(depth):
            share = dropout if k >= depth // 2 else 0.0
            for j in range(depth - k):
                width = channels[k] * (j + 1) if j else widths[k]
                stride = (1,) * dims if j else steps[k]
                units = [Unit(width, channels[k], sizes[k], stride)]
                units += [Unit(channels[k], channels[k], sizes[k]) for _ in range(blocks - 1)]
                self.nodes[f"{k}-{j}"] = nn.Sequential(*units, segmenter.dropout(dims, share))
                if j:
                    self.up[f"{k}-{j}"] = segmenter.upsampling(
                        channels[k + 1], channels[k], steps[k + 1]
                    )
        count = depth - 1 if deep_supervision else 1
        self.heads = nn.ModuleList(segmenter.head(channels[0], outputs, dims) for _ in range(count))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits (B, outputs, *S) of (B, inputs, *S), of the deepest decoder first.

        Raises:
            ValueError: for other channels, or sizes that are no multiple of ``divisor``.
        """
        self.check(image)
        rows: list[list[Tensor]] = [[] for _ in range(self.depth)]
        values = image
        for k in range(self.depth):
            values = self.nodes[f"{k}-0"](values)
            rows[k].append(values)
        for j in range(1, self.depth):
            for k in range(self.depth - j):
                raised = self.up[f"{k}-{j}"](rows[k + 1][j - 1])
                joined = torch.cat([*rows[k][:j], raised], dim=1)
                rows[k].append(self.nodes[f"{k}-{j}"](joined))
        last = rows[0][:0:-1] if self.supervised else rows[0][-1:]
        return [head(one) for head, one in zip(self.heads, last, strict=False)]


ARCHITECTURE = UNetPlusPlus
