"""VoxelMorph: a U-Net that predicts the field from both images.

Balakrishnan et al. 2019, VoxelMorph: a learning framework for deformable medical image
registration, doi:10.1109/TMI.2019.2897538; the velocity field and its integration after Dalca et
al. 2019, doi:10.1016/j.media.2019.07.006.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.deformation import Deformation
from pipeline.networks.parts import (
    Field,
    Resolution,
    check_choice,
    check_features,
    convolution,
    deform,
    nearly_zero,
    on_padded,
    pair,
)


class VoxelMorph(nn.Module):
    """U-Net with skips over both images; 313,507 parameters by default.

    Each level of the encoder is a convolution and a pooling by two; each level of the decoder a
    convolution, a doubling and the joining of the encoder's features; the last convolutions run
    at the resolution of the field.

    Args:
        encoder: widths of the encoder, one a level; the images are padded inside to a multiple
            of two to the power of the levels.
        decoder: widths of the decoder, as many.
        final: widths of the convolutions after it.
        field: ``velocity`` (integrated, so that the map is smooth and has an inverse) or
            ``displacement``.
        resolution: ``half`` leaves out the last doubling: an eighth of the work there.
        integration_steps: squarings.

    Raises:
        ValueError: for widths or names that do not fit.
    """

    def __init__(
        self,
        encoder: Sequence[int] = (16, 32, 32, 32),
        decoder: Sequence[int] = (32, 32, 32, 32),
        final: Sequence[int] = (32, 16, 16),
        field: Field = "velocity",
        resolution: Resolution = "half",
        integration_steps: int = 7,
    ) -> None:
        super().__init__()
        check_choice("field", field, ("displacement", "velocity"))
        check_choice("resolution", resolution, ("full", "half"))
        for name, widths in (("encoder", encoder), ("decoder", decoder), ("final", final)):
            check_features(name, widths)
        if len(encoder) != len(decoder):
            raise ValueError("encoder and decoder have as many widths")
        self.field: Field = field
        self.integration_steps = integration_steps
        self.factor = 2 ** len(encoder)
        self.halved = resolution == "half"
        down = [2, *encoder]
        self.encoder = nn.ModuleList(convolution(down[i], down[i + 1]) for i in range(len(encoder)))
        skips, width = list(encoder), encoder[-1]
        self.decoder = nn.ModuleList()
        for i, features in enumerate(decoder):
            self.decoder.append(convolution(width, features))
            last = self.halved and i == len(decoder) - 1
            width = features if last else features + skips.pop()
        ends = [width, *final]
        self.final = nn.Sequential(*(convolution(ends[i], ends[i + 1]) for i in range(len(final))))
        self.flow = nn.Conv3d(final[-1], 3, 3, padding=1)
        nearly_zero(self.flow)

    def forward(self, moving: Tensor, fixed: Tensor) -> Deformation:
        """Maps between two (B, 1, Z, Y, X) images of any shape, scaled to about 0 to 1."""
        predicted = on_padded(self._predict, pair(moving, fixed), self.factor)
        return deform(predicted, moving.shape[2:], self.field, self.integration_steps)

    def _predict(self, images: Tensor) -> Tensor:
        features, skips = images, []
        for level in self.encoder:
            features = level(features)
            skips.append(features)
            features = functional.max_pool3d(features, 2)
        for i, level in enumerate(self.decoder):
            features = level(features)
            if self.halved and i == len(self.decoder) - 1:
                break
            features = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = torch.cat([features, skips.pop()], dim=1)
        return cast(Tensor, self.flow(self.final(features)))


ARCHITECTURE = VoxelMorph
