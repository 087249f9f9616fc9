"""ResUNet++: residual blocks, squeeze and excitation, dilated pyramids, attention.

Jha et al. 2019, doi:10.1109/ISM46123.2019.00049; squeeze and excitation Hu et al. 2018,
doi:10.1109/CVPR.2018.00745; the pyramid Chen et al. 2018, doi:10.1109/TPAMI.2017.2699184.
"""

from __future__ import annotations

from monai.networks.blocks import ChannelSELayer, SimpleASPP
from torch import nn

from pipeline.networks import segmenter
from pipeline.networks.attention_unet import Gate
from pipeline.networks.residual_unet import Residual
from pipeline.networks.segmenter import SLOPE, Level
from pipeline.networks.unet import UNet


class ResUNetPlusPlus(UNet):
    """Residual U-Net whose channels and skips are weighed; 3.2 million parameters in 3D.

    Arguments as :class:`UNet`'s, but that ``blocks`` are residual ones of two convolutions (the
    paper has one a level), and the first and last of ``channels`` are multiples of 4.
    """

    def level(self, made: Level) -> nn.Module:
        """Residual blocks; the encoder's are weighed, the bottom and the end see far."""
        layers: list[nn.Module] = [Residual(made, first=n == 0) for n in range(made.blocks)]
        if made.place == "encoder":
            layers.append(ChannelSELayer(made.dims, made.outputs, r=2))
        elif made.place == "bottom" or made.above == 0:
            layers.append(_pyramid(made))
        return nn.Sequential(*layers, segmenter.dropout(made.dims, made.dropout))

    def skip(self, finer: Level, coarser: Level) -> nn.Module:
        """A gate, as in Attention U-Net."""
        return Gate(finer.outputs, coarser.outputs, coarser.stride)


def _pyramid(made: Level) -> nn.Module:
    """Dilated convolutions side by side, a quarter of the channels each."""
    if made.outputs % 4:
        raise ValueError(f"the first and last channels are multiples of 4, not {made.outputs}")
    pyramid: nn.Module = SimpleASPP(
        made.dims, made.outputs, made.outputs // 4,
        norm_type=("GROUP", {"num_groups": 1}),
        acti_type=("LEAKYRELU", {"negative_slope": SLOPE}),
    )  # fmt: skip
    return pyramid


ARCHITECTURE = ResUNetPlusPlus
