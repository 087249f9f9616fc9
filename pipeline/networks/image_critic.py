"""A critic of whole patches: the adversary of a restoration with a Wasserstein distance.

Convolutions with every second one of stride 2, then one score: Yang et al. 2018,
doi:10.1109/TMI.2018.2827462, with the mean over the last features in place of their dense layers,
so that patches of any size can be judged. Without normalisation, as the gradient penalty asks
(Gulrajani et al. 2017, doi:10.48550/arXiv.1704.00028).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pipeline.networks.parts import check_features


class ImageCritic(nn.Module):
    """Two convolutions a width, the second of stride 2; 215,000 parameters by default.

    Args:
        inputs: channels.
        features: widths, one a halving.

    Raises:
        ValueError: for widths that do not fit.
    """

    def __init__(self, inputs: int = 1, features: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        check_features("features", features)
        check_features("inputs", [inputs])
        layers: list[nn.Module] = []
        width = inputs
        for wider in features:
            layers += [nn.Conv3d(width, wider, 3, padding=1), nn.LeakyReLU(0.2)]
            layers += [nn.Conv3d(wider, wider, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
            width = wider
        self.layers = nn.Sequential(*layers)
        self.score = nn.Linear(width, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B, 1) of (B, inputs, Z, Y, X); no sigmoid."""
        found: Tensor = self.score(self.layers(images).mean(dim=(2, 3, 4)))
        return found


ARCHITECTURE = ImageCritic
