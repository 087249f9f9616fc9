"""What a registration loss may look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from pipeline.errors import VoxelwayError


@dataclass(frozen=True)
class Outcome:
    """One batch of pairs and what the network made of it; images (B, C, Z, Y, X).

    Attributes:
        moving: moving image, scaled to about 0 to 1.
        fixed: fixed image, likewise.
        warped: moving image sampled at ``p + u(p)``.
        displacement: (B, 3, Z, Y, X), u, in voxels.
        warp: (B, 3, Z, Y, X), the deformable part of it, where there is an affine one too.
        inverse: (B, 3, Z, Y, X), from moving to fixed.
        velocity: (B, 3, Z', Y', X'), whose flow the displacement is.
        mask: (B, 1, Z, Y, X), weight of each fixed voxel in the similarity.
        labels_warped: (B, L, Z, Y, X), one channel a structure, sampled as ``warped`` is.
        labels_fixed: (B, L, Z, Y, X), one channel a structure, 0 to 1.
        target_field: (B, 3, Z, Y, X), the displacement that is to be learned.
        target_mask: (B, 1, Z, Y, X), weight of each voxel of it.
        aligned: what a critic is shown as a good alignment with ``fixed``.
        networks: networks that losses ask, by name, as the trainer hands them over.
    """

    moving: Tensor
    fixed: Tensor
    warped: Tensor
    displacement: Tensor
    warp: Tensor | None = None
    inverse: Tensor | None = None
    velocity: Tensor | None = None
    mask: Tensor | None = None
    labels_warped: Tensor | None = None
    labels_fixed: Tensor | None = None
    target_field: Tensor | None = None
    target_mask: Tensor | None = None
    aligned: Tensor | None = None
    networks: Mapping[str, nn.Module] = field(default_factory=dict)

    @property
    def deformable(self) -> Tensor:
        """The deformable part of the displacement: what smoothness is asked of."""
        return self.displacement if self.warp is None else self.warp

    def need(self, name: str, loss: str) -> Tensor:
        """An attribute that a loss can't do without.

        Raises:
            VoxelwayError: E-CONFIG-VALUE when it is None.
        """
        value: Tensor | None = getattr(self, name)
        if value is None:
            what = f"The loss {loss} needs {name}, which this training does not provide"
            hint = "Take the loss out, or give the data or choose the network that it needs"
            raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint)
        return value

    def network(self, name: str, loss: str) -> nn.Module:
        """A network that a loss asks.

        Raises:
            VoxelwayError: E-CONFIG-VALUE when there is none of this name.
        """
        if name not in self.networks:
            known = ", ".join(sorted(self.networks)) or "none"
            what = f"The loss {loss} needs the network {name!r}"
            raise VoxelwayError("E-CONFIG-VALUE", what, hint=f"Networks of this training: {known}")
        return self.networks[name]


def mean(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over everything, weighted where there is a weight; 0 where that is all zero."""
    if weight is None:
        return values.mean()
    weight = weight.to(values.dtype).expand_as(values)
    return (values * weight).sum() / weight.sum().clamp_min(1e-12)
