"""A critic that judges patches: the adversary of a registration or of a translation.

Patches: Isola et al. 2017, doi:10.1109/CVPR.2017.632; spectral normalisation: Miyato et al. 2018,
doi:10.48550/arXiv.1802.05957; as an adversary of registration: Fan et al. 2019,
doi:10.1016/j.media.2019.101545.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from pipeline.networks.parts import check_features


class Critic(nn.Module):
    """Strided convolutions of bounded gain, one score a patch; 281,889 parameters by default.

    Args:
        inputs: channels: the judged image, and what it is judged beside.
        features: widths, one a halving; with three, a score sees a patch of 31 voxels.

    Raises:
        ValueError: for widths that do not fit.
    """

    def __init__(self, inputs: int = 2, features: Sequence[int] = (32, 64, 128)) -> None:
        super().__init__()
        check_features("features", features)
        check_features("inputs", [inputs])
        widths = [inputs, *features]
        layers: list[nn.Module] = []
        for i in range(len(features)):
            layers += [
                spectral_norm(nn.Conv3d(widths[i], widths[i + 1], 3, stride=2, padding=1)),
                nn.LeakyReLU(0.2),
            ]
        layers.append(spectral_norm(nn.Conv3d(widths[-1], 1, 3, padding=1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B, 1, Z', Y', X') of (B, inputs, Z, Y, X) of any shape; no sigmoid."""
        return cast(Tensor, self.layers(images))


ARCHITECTURE = Critic
