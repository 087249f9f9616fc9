"""V-Net, MONAI's, behind the interface of segmentation networks.

Milletari et al. 2016, doi:10.1109/3DV.2016.79.
"""

from __future__ import annotations

from monai.networks.nets import VNet as MonaiVNet
from torch import Tensor

from pipeline.networks import segmenter
from pipeline.networks.segmenter import Segmenter


class VNet(Segmenter):
    """V-Net as published, four halvings; 45.6 million parameters in 3D.

    Args:
        inputs: channels of the image; a divisor of 16.
        outputs: classes, the background among them.
        dims: 2 or 3.
        dropout: share of the channels left out in the deeper levels and their skips.

    Raises:
        ValueError: for numbers that make no network.
    """

    def __init__(self, inputs: int, outputs: int, dims: int = 3, dropout: float = 0.0) -> None:
        super().__init__(inputs, outputs, dims, (16,) * dims)
        segmenter.check_share(dropout)
        self.network = MonaiVNet(
            spatial_dims=dims,
            in_channels=inputs,
            out_channels=outputs,
            dropout_prob_down=dropout,
            dropout_prob_up=(dropout, dropout),
            dropout_dim=dims,
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits (B, outputs, *S) of (B, inputs, *S), the only entry of a list.

        Raises:
            ValueError: for other channels, or sizes that are no multiple of ``divisor``.
        """
        self.check(image)
        return [self.network(image)]


ARCHITECTURE = VNet
