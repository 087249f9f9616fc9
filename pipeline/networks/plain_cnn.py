"""A plain stack of convolutions: the generator of the adversarial denoisers.

Eight layers of 32 features: Yang et al. 2018 (2 dimensions), doi:10.1109/TMI.2018.2827462, and
You et al. 2018 (3 dimensions), doi:10.1109/ACCESS.2018.2858196. With ``residual`` it predicts the
noise, which is taken from the image: Zhang et al. 2017, DnCNN, doi:10.1109/TIP.2017.2662206; Ma et
al. 2020, doi:10.1109/ACCESS.2020.2986388.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from pipeline.networks import slices
from pipeline.networks.parts import check_features


class PlainCNN(nn.Module):
    """Convolutions of edge 3 with ReLU between.

    Args:
        dimensions: 2, 2.5 or 3.
        features: width of every layer.
        layers: number of convolutions, 2 or more.
        neighbours: planes on each side that 2.5 dimensions see.
        residual: whether the noise is predicted; otherwise the image itself is.
        told: whether the noise level is one more channel.

    Raises:
        ValueError: for arguments that do not fit.
    """

    def __init__(
        self,
        dimensions: slices.Dimensions = "3",
        features: int = 32,
        layers: int = 8,
        neighbours: int = 1,
        residual: bool = True,
        told: bool = True,
    ) -> None:
        super().__init__()
        slices.check_dimensions(dimensions)
        check_features("features", [features])
        if layers < 2:
            raise ValueError(f"layers is 2 or more, not {layers}")
        self.dimensions, self.neighbours = dimensions, neighbours
        self.residual, self.told = residual, told
        convolution = slices.convolution_type(dimensions)
        widths = [slices.channels(dimensions, neighbours, told), *[features] * (layers - 1)]
        parts: list[nn.Module] = []
        for number in range(layers - 1):
            layer = convolution(widths[number], widths[number + 1], 3, padding=1)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(cast(Tensor, layer.bias))
            parts += [layer, nn.ReLU()]
        last = convolution(features, 1, 3, padding=1)
        if residual:
            # the image as it is, at first
            nn.init.zeros_(last.weight)
            nn.init.zeros_(cast(Tensor, last.bias))
        self.layers = nn.Sequential(*parts, last)

    def forward(self, image: Tensor, level: Tensor) -> Tensor:
        """Restore (B, 1, Z, Y, X); the level has that shape, or (B, 1, 1, 1, 1)."""
        told = level if self.told else None
        found = slices.apply(self.layers, image, told, self.dimensions, self.neighbours)
        return image - found if self.residual else found


ARCHITECTURE = PlainCNN
