"""FAIM: a light network for deformable registration, without a U-Net.

Kuang and Schmah 2019, FAIM: a ConvNet method for unsupervised 3D medical image registration,
doi:10.1007/978-3-030-32692-0_74.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.networks.deformation import Deformation
from pipeline.networks.parts import (
    Field,
    check_choice,
    check_features,
    deform,
    nearly_zero,
    on_padded,
    pair,
)


class Faim(nn.Module):
    """Filters of several sizes side by side, two halvings and back; 63,691 parameters by default.

    As in the paper: the first layer looks at several scales at once, strided convolutions take
    the place of pooling, transposed ones go back, skips are added rather than joined, and PReLU
    follows each layer but the last.

    Args:
        kernels: edges of the filters of the first layer, odd.
        width: filters of each edge.
        features: widths at a half and a quarter of the resolution.
        field: ``displacement``, as in the paper (with its penalty on folds, ``anti_folding``), or
            ``velocity``.
        integration_steps: squarings, for a velocity.

    Raises:
        ValueError: for widths or names that do not fit.
    """

    FACTOR = 4

    def __init__(
        self,
        kernels: Sequence[int] = (1, 3, 5),
        width: int = 8,
        features: Sequence[int] = (16, 32),
        field: Field = "displacement",
        integration_steps: int = 7,
    ) -> None:
        super().__init__()
        check_choice("field", field, ("displacement", "velocity"))
        check_features("kernels", kernels)
        check_features("features", [width, *features])
        if len(features) != 2 or any(kernel % 2 == 0 for kernel in kernels):
            raise ValueError("features has two widths, and kernels are odd")
        self.field: Field = field
        self.integration_steps = integration_steps
        full, (half, quarter) = width * len(kernels), features
        self.scales = nn.ModuleList(
            nn.Conv3d(2, width, kernel, padding=kernel // 2) for kernel in kernels
        )
        self.first = nn.PReLU(full)
        self.down_half = _block(nn.Conv3d(full, half, 3, stride=2, padding=1))
        self.down_quarter = _block(nn.Conv3d(half, quarter, 3, stride=2, padding=1))
        self.deep = _block(nn.Conv3d(quarter, quarter, 3, padding=1))
        self.up_half = _block(nn.ConvTranspose3d(quarter, half, 2, stride=2))
        self.up_full = _block(nn.ConvTranspose3d(half, full, 2, stride=2))
        self.flow = nn.Conv3d(full, 3, 3, padding=1)
        nearly_zero(self.flow)

    def forward(self, moving: Tensor, fixed: Tensor) -> Deformation:
        """Maps between two (B, 1, Z, Y, X) images of any shape, scaled to about 0 to 1."""
        predicted = on_padded(self._predict, pair(moving, fixed), self.FACTOR)
        return deform(predicted, moving.shape[2:], self.field, self.integration_steps)

    def _predict(self, images: Tensor) -> Tensor:
        full = self.first(torch.cat([scale(images) for scale in self.scales], dim=1))
        half = self.down_half(full)
        half = half + self.up_half(self.deep(self.down_quarter(half)))
        flow: Tensor = self.flow(full + self.up_full(half))
        return flow


def _block(layer: nn.Conv3d | nn.ConvTranspose3d) -> nn.Sequential:
    return nn.Sequential(layer, nn.PReLU(layer.out_channels))


ARCHITECTURE = Faim
