"""R2U-Net: recurrent convolutions beside shortcuts, deeper without more parameters.

Alom et al. 2019, doi:10.1117/1.JMI.6.1.014006.
"""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.networks import segmenter
from pipeline.networks.segmenter import Level, Unit
from pipeline.networks.unet import UNet

#: Times that a convolution sees its own result.
REPEATS = 2


class Recurrent(nn.Module):
    """One convolution, again on the sum of its input and its result.

    Args:
        width: channels.
        kernel: one an axis.
    """

    def __init__(self, width: int, kernel: tuple[int, ...]) -> None:
        super().__init__()
        self.unit = Unit(width, width, kernel)

    def forward(self, values: Tensor) -> Tensor:
        """Same shape."""
        found: Tensor = self.unit(values)
        for _ in range(REPEATS):
            found = self.unit(values + found)
        return found


class RecurrentResidual(nn.Module):
    """Recurrent convolutions beside a shortcut.

    Args:
        made: the level; as many convolutions as it has blocks.
    """

    def __init__(self, made: Level) -> None:
        super().__init__()
        ones = (1,) * made.dims
        self.bring = Unit(made.inputs, made.outputs, ones, made.stride)
        self.recurrent = nn.Sequential(
            *(Recurrent(made.outputs, made.kernel) for _ in range(made.blocks))
        )

    def forward(self, values: Tensor) -> Tensor:
        """(B, inputs, *S) → (B, outputs, *S / stride)."""
        brought: Tensor = self.bring(values)
        found: Tensor = self.recurrent(brought)
        return brought + found


class R2UNet(UNet):
    """U-Net of recurrent residual units; 1.5 million parameters by default in 3D.

    Arguments as :class:`UNet`'s; it takes about three times as long.
    """

    def level(self, made: Level) -> nn.Module:
        """A unit of one level."""
        return nn.Sequential(RecurrentResidual(made), segmenter.dropout(made.dims, made.dropout))


ARCHITECTURE = R2UNet
