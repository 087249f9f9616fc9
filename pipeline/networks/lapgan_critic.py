"""The critics of a Laplacian pyramid: one a scale, which sees what was grown beside the image.

Denton et al. 2015, doi:10.48550/arXiv.1506.05751.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.networks.critic import Critic
from pipeline.networks.lapgan import grown, shrunk
from pipeline.networks.parts import check_features


class LapganCritic(nn.Module):
    """Scores of each scale.

    Args:
        inputs: channels of the images.
        levels: scales above the coarsest.
        features: widths of each critic.

    Raises:
        ValueError: for widths that do not fit.
    """

    def __init__(
        self, inputs: int = 1, levels: int = 2, features: Sequence[int] = (16, 32)
    ) -> None:
        super().__init__()
        check_features("inputs, levels", [inputs, levels])
        channels = [inputs, *[2 * inputs] * levels]
        self.critics = nn.ModuleList(Critic(count, features) for count in channels)

    def forward(self, images: Tensor, level: int) -> Tensor:
        """Scores (B, N) of images (B, inputs, Z, Y, X) of scale ``level``, 0 the coarsest.

        N places are judged. Above the coarsest scale the critic sees the image beside what is left
        of it when it is halved and grown.
        """
        told = images
        if level:
            told = torch.cat([images, grown(shrunk(images))], dim=1)
        return cast(Tensor, self.critics[level](told)).flatten(1)


ARCHITECTURE = LapganCritic
