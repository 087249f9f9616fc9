"""A convolutional denoising auto-encoder: the historic baseline.

Gondara 2016, Medical image denoising using convolutional denoising autoencoders,
doi:10.1109/ICDMW.2016.0041: convolutions and max-pooling down, convolutions and up-sampling back,
no shortcuts, slice by slice. It is not told the noise level.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks import slices
from pipeline.networks.parts import check_features


class DenoisingAutoEncoder(nn.Module):
    """Two halvings by default, 112,000 parameters.

    Args:
        features: widths of the encoder, one a halving.

    Raises:
        ValueError: for widths that do not fit.
    """

    def __init__(self, features: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        check_features("features", features)
        self.factor = 2 ** len(features)
        layers: list[nn.Module] = []
        width = 1
        for wider in features:
            layers += [nn.Conv2d(width, wider, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            width = wider
        for back in reversed(features):
            layers += [nn.Conv2d(width, back, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2)]
            width = back
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, image: Tensor, level: Tensor) -> Tensor:
        """Restore (B, 1, Z, Y, X); the level is not looked at."""
        return slices.apply(self._restore, image, None, "2", 0)

    def _restore(self, values: Tensor) -> Tensor:
        y, x = values.shape[2:]
        padded = functional.pad(values, (0, -x % self.factor, 0, -y % self.factor), "replicate")
        restored: Tensor = self.layers(padded)
        return restored[..., :y, :x]


ARCHITECTURE = DenoisingAutoEncoder
