"""Penalties on fields: roughness, disagreement of a map and its inverse, folds.

Fields are (B, 3, Z, Y, X) in voxels, components in the order z, y, x.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.networks import spatial


def diffusion(field: Tensor) -> Tensor:
    """Mean squared first difference of neighbours, over components and axes.

    Balakrishnan et al. 2019, doi:10.1109/TMI.2019.2897538. Neighbours and not, as in MONAI's loss,
    voxels two apart: a field that alternates from voxel to voxel is rough.
    """
    return torch.stack([_roughness(field, axis) for axis in (2, 3, 4)]).mean()


def bending(field: Tensor) -> Tensor:
    """Mean squared second derivatives, the mixed ones twice; zero for an affine field.

    Rueckert et al. 1999, doi:10.1109/42.796284; at least 3 voxels along each axis. MONAI's loss
    indexes in a way that torch gives up, and takes four times as long.
    """
    total = field.new_zeros(())
    for axis in (2, 3, 4):
        slope = field.diff(dim=axis)
        total = total + _roughness(slope, axis)
        for other in range(axis + 1, 5):
            total = total + 2 * _roughness(slope, other)
    return total


def _roughness(field: Tensor, axis: int) -> Tensor:
    # as one operation on two views: a difference of the field's size need not be kept
    size = field.shape[axis] - 1
    return functional.mse_loss(field.narrow(axis, 1, size), field.narrow(axis, 0, size))


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
