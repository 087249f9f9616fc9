"""A convolutional auto-encoder whose features serve as a similarity of images.

Yoo et al. 2017, ssEMnet: serial-section electron microscopy image registration using a spatial
transformer network with learned features, doi:10.1007/978-3-319-67558-9_29.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from pipeline.networks.parts import check_features, convolution, crop, on_padded


class Encoded(NamedTuple):
    """Features (B, C, Z', Y', X') and the image made from them again, if asked for."""

    features: Tensor
    image: Tensor | None


class AutoEncoder(nn.Module):
    """Strided convolutions down, upsampling ones back, no skips; 90,865 parameters by default.

    Args:
        features: widths of the encoder, one a halving.
        inputs: channels of the image.

    Raises:
        ValueError: for widths that do not fit.
    """

    def __init__(self, features: Sequence[int] = (16, 32, 32), inputs: int = 1) -> None:
        super().__init__()
        check_features("features", features)
        check_features("inputs", [inputs])
        self.factor = 2 ** len(features)
        down = [inputs, *features]
        self.encoder = nn.Sequential(
            *(convolution(down[i], down[i + 1], stride=2) for i in range(len(features)))
        )
        up = [*reversed(features), features[0]]
        layers: list[nn.Module] = []
        for i in range(len(features)):
            layers += [nn.Upsample(scale_factor=2.0), convolution(up[i], up[i + 1])]
        self.decoder = nn.Sequential(*layers, nn.Conv3d(features[0], inputs, 3, padding=1))

    def forward(self, image: Tensor, decode: bool = True) -> Encoded:
        """Encode (B, inputs, Z, Y, X) of any shape; without ``decode`` only that."""
        features = on_padded(self.encoder, image, self.factor)
        if not decode:
            return Encoded(features, None)
        return Encoded(features, crop(self.decoder(features), image.shape[2:]))


ARCHITECTURE = AutoEncoder
