"""A generator from label maps by a U-Net that sees noise beside the labels.

The image from labels by an encoder and a decoder with skips: Isola et al. 2017,
doi:10.1109/CVPR.2017.632; noise as further channels, so that one label map has many images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.networks.image_unet import ImageUNet
from pipeline.networks.parts import check_features
from pipeline.networks.pggan import widened


class NoisyUNet(nn.Module):
    """Image from labels and noise; called as :class:`pipeline.networks.spade.Spade`.

    Args:
        classes: channels of the labels, the background among them.
        outputs: contrasts.
        features: widths, finest first, one a level.
        noise: channels of the noise.

    Raises:
        ValueError: for widths that do not fit.
    """

    def __init__(
        self,
        classes: int,
        outputs: int = 1,
        features: Sequence[int] = (16, 32, 64),
        noise: int = 8,
    ) -> None:
        super().__init__()
        check_features("classes, outputs, noise", [classes, outputs, noise])
        self.noise, self.halvings = noise, len(features) - 1
        self.divisor = 2**self.halvings
        self.body = ImageUNet(classes + noise, outputs, features)

    def forward(self, labels: Tensor, noise: Tensor) -> Tensor:
        """Images (B, outputs, Z, Y, X) from -1 to 1.

        Args:
            labels: (B, classes, Z, Y, X), multiples of ``divisor``.
            noise: (B, noise, Z / divisor, Y / divisor, X / divisor).

        Raises:
            ValueError: for sizes that do not fit.
        """
        told = torch.cat([labels, widened(noise, self.halvings)], dim=1)
        return torch.tanh(self.body(told))


ARCHITECTURE = NoisyUNet
