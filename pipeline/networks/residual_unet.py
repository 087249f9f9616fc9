"""U-Net of residual blocks.

He et al. 2016, doi:10.1109/CVPR.2016.90; in a U-Net Zhang et al. 2018, ResUNet,
doi:10.1109/LGRS.2018.2802944.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks import segmenter
from pipeline.networks.segmenter import SLOPE, Level, Unit
from pipeline.networks.unet import UNet


class Residual(nn.Module):
    """Two convolutions beside a shortcut, which is projected where the shape changes.

    Args:
        made: the level; its number of blocks and its dropout are not this block's.
        first: whether it brings the inputs to the channels and grid of the level.
    """

    def __init__(self, made: Level, first: bool) -> None:
        super().__init__()
        ones = (1,) * made.dims
        inputs, stride = (made.inputs, made.stride) if first else (made.outputs, ones)
        padding = tuple(size // 2 for size in made.kernel)
        second = segmenter.CONVOLUTIONS[made.dims](
            made.outputs, made.outputs, made.kernel, padding=padding, bias=False
        )
        nn.init.kaiming_normal_(second.weight, a=SLOPE)
        self.first = Unit(inputs, made.outputs, made.kernel, stride)
        self.second = nn.Sequential(second, segmenter.norm(made.outputs))
        self.shortcut = segmenter.project(inputs, made.outputs, stride)

    def forward(self, values: Tensor) -> Tensor:
        """(B, inputs, *S) → (B, outputs, *S / stride)."""
        found = self.second(self.first(values)) + self.shortcut(values)
        return functional.leaky_relu(found, SLOPE)


class ResidualUNet(UNet):
    """U-Net whose levels are ``blocks`` residual blocks of two convolutions each.

    Arguments as :class:`UNet`'s; 2.8 million parameters by default in 3D.
    """

    def level(self, made: Level) -> nn.Module:
        """Residual blocks of one level, the first of them strided."""
        blocks = [Residual(made, first=number == 0) for number in range(made.blocks)]
        return nn.Sequential(*blocks, segmenter.dropout(made.dims, made.dropout))


ARCHITECTURE = ResidualUNet
