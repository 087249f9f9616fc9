"""Penalties on fields: roughness, disagreement of a map and its inverse, folds.

Fields are (B, 3, Z, Y, X) in voxels, components in the order z, y, x.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from pipeline.networks import spatial


def diffusion(field: Tensor) -> Tensor:
    """Mean squared first difference of neighbours, over components and axes.

    Balakrishnan et al. 2019, doi:10.1109/TMI.2019.2897538. Neighbours and not, as in MONAI's loss,
    voxels two apart: a field that alternates from voxel to voxel is rough.
    """
    steps = [field.diff(dim=axis).square().mean() for axis in (2, 3, 4)]
    return torch.stack(steps).mean()


def bending(field: Tensor) -> Tensor:
    """Mean squared second derivative; zero for an affine field. At least 3 voxels along each axis.

    Rueckert et al. 1999, doi:10.1109/42.796284, as MONAI computes it.
    """
    from monai.losses.deform import BendingEnergyLoss

    energy: Tensor = BendingEnergyLoss()(field)
    return energy


def inverse_consistency(displacement: Tensor, inverse: Tensor) -> Tensor:
    """Mean squared distance, in voxels, of each point from itself after there and back.

    Both orders, averaged. Zhang 2018, inverse-consistent deep networks for unsupervised deformable
    image registration, doi:10.48550/arXiv.1809.03443.
    """
    there = spatial.compose(displacement, inverse).square().sum(dim=1).mean()
    back = spatial.compose(inverse, displacement).square().sum(dim=1).mean()
    return (there + back) / 2


def anti_folding(displacement: Tensor, kind: Literal["axis", "determinant"] = "axis") -> Tensor:
    """Penalty on folds, zero where there are none.

    Args:
        displacement: (B, 3, Z, Y, X).
        kind: ``axis``: with the slope g of each component along its own axis, the mean of
            ``max(0, -(1 + g)) g²`` summed over the axes, as in Zhang 2018,
            doi:10.48550/arXiv.1809.03443; ``determinant``: the mean of ``max(0, -J)``, which also
            sees folds across the axes.
    """
    if kind == "determinant":
        return (-spatial.jacobian_determinant(displacement)).clamp_min(0).mean()
    total = displacement.new_zeros(())
    for axis in range(3):
        slope = displacement[:, axis].diff(dim=axis + 1)
        total = total + ((-(1 + slope)).clamp_min(0) * slope.square()).mean()
    return total
