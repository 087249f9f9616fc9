"""ADMIR: the affine and the deformable network, trained end to end.

Tang et al. 2020, ADMIR: affine and deformable medical image registration for drug-addicted brain
images, doi:10.1109/ACCESS.2020.2986829.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from pipeline.networks import spatial
from pipeline.networks.affine import Affine
from pipeline.networks.deformation import Deformation
from pipeline.networks.voxelmorph import VoxelMorph


class Admir(nn.Module):
    """The affine network, then the deformable one on what it moved; 543,423 parameters.

    The maps are composed, ``p ↦ A(p + w(p))``, and the moving image is sampled once by the whole.

    Args:
        affine: arguments of :class:`Affine`.
        deformable: arguments of :class:`VoxelMorph`.

    Raises:
        TypeError: for arguments that those do not have.
        ValueError: for values that do not fit them.
    """

    def __init__(
        self,
        affine: Mapping[str, Any] | None = None,
        deformable: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.affine = Affine(**(affine or {}))
        self.deformable = VoxelMorph(**(deformable or {}))

    def forward(self, moving: Tensor, fixed: Tensor) -> Deformation:
        """Maps between two (B, 1, Z, Y, X) images of any shape, scaled to about 0 to 1."""
        shape = fixed.shape[2:]
        matrix, back = self.affine.matrices(moving, fixed)
        rough = spatial.affine_displacement(matrix, shape)
        fine: Deformation = self.deformable(spatial.warp(moving, rough), fixed)
        # A(p + w) = A p + (linear part) w, exact also where p + w leaves the grid
        linear = matrix[:, :, :3]
        moved = (linear @ fine.deformable.flatten(2)).view_as(rough)
        inverse = None
        if fine.inverse is not None:
            inverse = spatial.compose(spatial.affine_displacement(back, shape), fine.inverse)
        return Deformation(rough + moved, inverse, fine.velocity, fine.deformable, matrix)


ARCHITECTURE = Admir
