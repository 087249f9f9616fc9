"""Network of kernels within and across slices, for the cascade of lesions.

Wang et al. 2018, Automatic brain tumor segmentation using cascaded anisotropic convolutional neural
networks, doi:10.1007/978-3-319-75238-9_16: W-Net and T-Net are this with two downsamplings, E-Net
with one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks import segmenter
from pipeline.networks.parts import check_features
from pipeline.networks.segmenter import Segmenter, Unit

#: Kernels within and across slices, whose normal is the first axis.
WITHIN, ACROSS = (1, 3, 3), (3, 1, 1)
HALF = (1, 2, 2)
#: Dilations of the residual blocks, one row between two downsamplings.
DILATIONS = ((1, 1), (1, 1), (1, 2, 3), (3, 2, 1))


class Block(nn.Module):
    """Two convolutions within slices beside a shortcut.

    Args:
        width: channels.
        dilation: of both, within the slice.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.units = nn.Sequential(
            Unit(width, width, WITHIN, dilation=dilation),
            Unit(width, width, WITHIN, dilation=dilation),
        )

    def forward(self, values: Tensor) -> Tensor:
        """Same shape."""
        found: Tensor = self.units(values)
        return found + values


class Anisotropic(Segmenter):
    """Ten residual blocks within slices, four convolutions across; 0.2 million parameters.

    The receptive field is wide within slices (217 voxels with two downsamplings) and narrow across
    (nine). Logits of three depths are joined at the end. Slices are padded, and features
    normalised within each image, where the paper crops and normalises the batch.

    Args:
        inputs: channels of the image.
        outputs: classes, the background among them.
        dims: 3.
        width: channels.
        downsamplings: within slices: 2 (W-Net, T-Net) or 1 (E-Net, for small structures).
        dropout: share of the channels left out before the dilated blocks.
        deep_supervision: the logits of the three depths too, while training.

    Raises:
        ValueError: for arguments that do not fit.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int = 3,
        width: int = 32,
        downsamplings: int = 2,
        dropout: float = 0.0,
        deep_supervision: bool = False,
    ) -> None:
        check_features("width", [width])
        segmenter.check_share(dropout)
        if dims != 3 or downsamplings not in (1, 2):
            raise ValueError("dims is 3, downsamplings is 1 or 2")
        edge = 2**downsamplings
        super().__init__(inputs, outputs, dims, (1, edge, edge), deep_supervision)
        self.head = Unit(inputs, width, WITHIN)
        self.stages = nn.ModuleList(_stage(width, row) for row in DILATIONS)
        self.down = nn.ModuleList(
            Unit(width, width, WITHIN, HALF) if number < downsamplings else nn.Identity()
            for number in range(2)
        )
        self.dropout = segmenter.dropout(dims, dropout)
        self.logits = nn.ModuleList(segmenter.head(width, outputs, dims) for _ in range(3))
        self.join = nn.Conv3d(3 * outputs, outputs, WITHIN, padding=(0, 1, 1))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits of (B, inputs, *S), finest first: (B, outputs, *S), coarser if supervised.

        Raises:
            ValueError: for other channels, or sizes that are no multiple of ``divisor``.
        """
        self.check(image)
        values = self.down[0](self.stages[0](self.head(image)))
        second = self.stages[1](values)
        third = self.stages[2](self.dropout(self.down[1](second)))
        fourth = self.stages[3](third)
        depths = [head(one) for head, one in zip(self.logits, (second, third, fourth), strict=True)]
        shape = image.shape[2:]
        raised = [functional.interpolate(one, size=shape, mode="trilinear") for one in depths]
        finest = self.join(torch.cat(raised, dim=1))
        return [finest, *depths] if self.supervised else [finest]


def _stage(width: int, dilations: Sequence[int]) -> nn.Module:
    """Residual blocks, then the slices beside are looked at."""
    blocks = [Block(width, dilation) for dilation in dilations]
    return nn.Sequential(*blocks, Unit(width, width, ACROSS))


ARCHITECTURE = Anisotropic
