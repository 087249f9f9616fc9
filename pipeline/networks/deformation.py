"""What a registration network gives."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Deformation(NamedTuple):
    """Fields on the fixed grid, (B, 3, Z, Y, X), in voxels.

    Attributes:
        displacement: maps the fixed point ``p`` to the moving point ``p + u(p)``.
        inverse: maps moving to fixed; None where it was not asked for.
        velocity: whose flow the displacement is, on the network's own grid and in its voxels;
            None where there is no one stationary velocity.
        warp: the deformable part ``w`` of ``p ↦ A(p + w(p))``; None where there is no affine part.
        matrix: (B, 3, 4), the affine part ``A`` about the grid's centre; None where there is none.
    """

    displacement: Tensor
    inverse: Tensor | None
    velocity: Tensor | None
    warp: Tensor | None = None
    matrix: Tensor | None = None

    @property
    def deformable(self) -> Tensor:
        """The deformable part, (B, 3, Z, Y, X): what smoothness is asked of."""
        return self.displacement if self.warp is None else self.warp
