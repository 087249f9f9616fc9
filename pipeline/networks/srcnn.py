"""SRCNN in 3D: patches, a non-linear map, a reconstruction.

Dong et al. 2016, doi:10.1109/TPAMI.2015.2439281; in 3D on brain MR Pham et al. 2019,
doi:10.1016/j.compmedimag.2019.101647. Here it predicts what the interpolation missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from pipeline.networks.parts import check_features


class Srcnn(nn.Module):
    """Three convolutions on the interpolated image; 52,801 parameters by default.

    Args:
        features: widths of the first two layers.
        kernels: edges of the three kernels, odd.

    Raises:
        ValueError: for widths or kernels that do not fit.
    """

    def __init__(
        self, features: Sequence[int] = (64, 32), kernels: Sequence[int] = (9, 1, 5)
    ) -> None:
        super().__init__()
        check_features("features", features)
        if len(features) != 2 or len(kernels) != 3 or any(edge % 2 == 0 for edge in kernels):
            raise ValueError("features has two widths, kernels three odd edges")
        widths = [1, *features, 1]
        layers: list[nn.Module] = []
        for i, edge in enumerate(kernels):
            layers += [nn.Conv3d(widths[i], widths[i + 1], edge, padding=edge // 2), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """The sharper image.

        Args:
            image: (B, 1, Z, Y, X), interpolated.
            condition: is not used: it is told nothing of the acquisition.
        """
        return image + cast(Tensor, self.layers(image))


ARCHITECTURE = Srcnn
