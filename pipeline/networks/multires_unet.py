"""MultiResUNet: blocks that see several scales, convolutions along the skips.

Ibtehaz & Rahman 2020, doi:10.1016/j.neunet.2019.08.025.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks import segmenter
from pipeline.networks.segmenter import SLOPE, Level, Unit
from pipeline.networks.unet import UNet


class MultiRes(nn.Module):
    """Three convolutions in a chain, joined: they see what kernels of 3, 5 and 7 would.

    Args:
        inputs: channels.
        outputs: channels, 6 at least: about a sixth, a third and a half from the three.
        kernel: one an axis.
        stride: of the first convolution and the shortcut.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        super().__init__()
        if outputs < 6:
            raise ValueError(f"channels are 6 or more, not {outputs}")
        first, second = outputs // 6, outputs // 3
        self.first = Unit(inputs, first, kernel, stride)
        self.second = Unit(first, second, kernel)
        self.third = Unit(second, outputs - first - second, kernel)
        self.shortcut = segmenter.project(inputs, outputs, stride)
        self.norm = segmenter.norm(outputs)

    def forward(self, values: Tensor) -> Tensor:
        """(B, inputs, *S) → (B, outputs, *S / stride)."""
        first = self.first(values)
        second = self.second(first)
        joined = torch.cat([first, second, self.third(second)], dim=1)
        return functional.leaky_relu(self.norm(joined + self.shortcut(values)), SLOPE)


class Path(nn.Module):
    """Residual convolutions along a skip, more of them the finer it is.

    Args:
        made: the level; as many convolutions as there are levels below it.
    """

    def __init__(self, made: Level) -> None:
        super().__init__()
        ones, width = (1,) * made.dims, made.outputs
        self.units = nn.ModuleList(Unit(width, width, made.kernel) for _ in range(made.below))
        self.beside = nn.ModuleList(Unit(width, width, ones) for _ in range(made.below))

    def forward(self, features: Tensor, coarser: Tensor) -> Tensor:
        """The features, nearer to what the decoder has; the coarser ones are not looked at."""
        for unit, beside in zip(self.units, self.beside, strict=True):
            features = unit(features) + beside(features)
        return features


class MultiResUNet(UNet):
    """U-Net of MultiRes blocks; 0.8 million parameters by default in 3D.

    Arguments as :class:`UNet`'s, but that ``blocks`` are of three convolutions each (the paper has
    one a level), and ``channels`` 6 or more.
    """

    def level(self, made: Level) -> nn.Module:
        """MultiRes blocks of one level, the first of them strided."""
        ones = (1,) * made.dims
        blocks = [MultiRes(made.inputs, made.outputs, made.kernel, made.stride)]
        blocks += [
            MultiRes(made.outputs, made.outputs, made.kernel, ones) for _ in range(made.blocks - 1)
        ]
        return nn.Sequential(*blocks, segmenter.dropout(made.dims, made.dropout))

    def skip(self, finer: Level, coarser: Level) -> nn.Module:
        """Convolutions along the skip."""
        return Path(finer)


ARCHITECTURE = MultiResUNet
