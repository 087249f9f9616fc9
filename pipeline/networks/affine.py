"""A network that regresses the affine map between two images.

The affine part of Tang et al. 2020, ADMIR: affine and deformable medical image registration for
drug-addicted brain images, doi:10.1109/ACCESS.2020.2986829; the map as the exponential of a matrix
after Arsigny et al. 2009, doi:10.1007/s10851-008-0135-9.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks import spatial
from pipeline.networks.deformation import Deformation
from pipeline.networks.parts import (
    check_features,
    convolution,
    nearly_zero,
    pair,
)


class Affine(nn.Module):
    """Strided convolutions, a pooling to a coarse grid, one layer; 229,916 parameters by default.

    The twelve numbers are the logarithm of the map: its exponential is never singular or
    mirrored, and the inverse is the exponential of minus them. Pooling keeps a coarse grid,
    because where features are is what a translation is measured by; so any shape will do.

    Args:
        features: widths of the encoder, one a halving.
        grid: edge of the grid that the features are averaged to.

    Raises:
        ValueError: for widths that do not fit.
    """

    def __init__(self, features: Sequence[int] = (16, 32, 64, 64), grid: int = 4) -> None:
        super().__init__()
        check_features("features", features)
        check_features("grid", [grid])
        widths = [2, *features]
        self.grid = grid
        self.encoder = nn.Sequential(
            *(convolution(widths[i], widths[i + 1], stride=2) for i in range(len(features)))
        )
        self.logarithm = nn.Linear(features[-1] * grid**3, 12)
        nearly_zero(self.logarithm)

    def forward(self, moving: Tensor, fixed: Tensor) -> Deformation:
        """Maps between two (B, 1, Z, Y, X) images of any shape, scaled to about 0 to 1."""
        matrix, inverse = self.matrices(moving, fixed)
        shape = fixed.shape[2:]
        displacement = spatial.affine_displacement(matrix, shape)
        back = spatial.affine_displacement(inverse, shape)
        return Deformation(displacement, back, None, torch.zeros_like(displacement), matrix)

    def matrices(self, moving: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor]:
        """The map and its inverse, (B, 3, 4) in voxels about the centre of the grid."""
        features = self.encoder(pair(moving, fixed))
        pooled = functional.adaptive_avg_pool3d(features, self.grid).flatten(1)
        logarithm = self.logarithm(pooled).float().view(-1, 3, 4)
        # unit of length: half the longest edge, the same along all axes, so that a turn is a turn
        unit = max(moving.shape[2:]) / 2
        square = functional.pad(logarithm, (0, 0, 0, 1))
        scale = square.new_tensor([1.0, 1.0, 1.0, unit])
        found = torch.linalg.matrix_exp(torch.cat([square, -square]))[:, :3] * scale
        forward, backward = found.chunk(2)
        return forward, backward


ARCHITECTURE = Affine
