"""Gradient consistency: edges of a translated image lie where those of its source do.

Hiasa et al. 2018, Cross-modality image synthesis from unpaired data using CycleGAN,
doi:10.1007/978-3-030-00536-8_4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.training.losses.similarity import LocalNCC

#: Added to variances of gradients, squared medians of the brain a voxel.
EPSILON = 1e-6


def gradients(image: Tensor) -> list[Tensor]:
    """Central differences along z, y and x of (B, 1, Z, Y, X), each on the inner voxels."""
    inner = (slice(None), slice(None), *[slice(1, -1)] * 3)
    found = []
    for axis in (2, 3, 4):
        ahead, behind = image.roll(-1, axis), image.roll(1, axis)
        found.append(0.5 * (ahead - behind)[inner])
    return found


def correlation(a: Tensor, b: Tensor, inside: Tensor | None = None) -> Tensor:
    """Normalised gradient cross-correlation, (B,), -1 to 1: mean over the three directions.

    Args:
        a, b: (B, 1, Z, Y, X), each edge 3 voxels or more.
        inside: same shape, 1 where voxels count; those beside a voxel that does not count do not
            count either, or the edge of a mask would be the strongest of all. None counts all.
    """
    weight = torch.ones_like(a) if inside is None else inside
    weight = -functional.max_pool3d(-weight, 3, stride=1).flatten(1)
    weight = weight / weight.sum(dim=1, keepdim=True).clamp_min(1.0)
    values = []
    for one, other in zip(gradients(a), gradients(b), strict=True):
        x, y = (v.flatten(1) for v in (one, other))
        x, y = (v - (v * weight).sum(dim=1, keepdim=True) for v in (x, y))
        spreads = [(v.square() * weight).sum(dim=1) + EPSILON for v in (x, y)]
        values.append((x * y * weight).sum(dim=1) / (spreads[0] * spreads[1]).sqrt())
    return torch.stack(values).mean(dim=0)


class GradientConsistency(nn.Module):
    """One minus the correlation of the gradients.

    As published, the correlation is signed and over the whole patch: right where bright is bright
    in both contrasts. T1w and T2w have edges of both polarities; with a window the squared
    correlation in each neighbourhood counts, which a change of sign leaves as it is.

    Args:
        window: edge of the neighbourhood in voxels, odd; 0 for the whole patch, signed.

    Raises:
        ValueError: for an even or negative window.
    """

    def __init__(self, window: int = 7) -> None:
        super().__init__()
        if window < 0 or (window and window % 2 == 0):
            raise ValueError(f"the window is odd, or 0, not {window}")
        self.local = LocalNCC(window, epsilon=EPSILON) if window else None

    def forward(self, made: Tensor, source: Tensor) -> Tensor:
        """Scalar: 0 for edges that agree everywhere; up to 1, or 2 without a window."""
        if self.local is None:
            return 1.0 - correlation(made, source).mean()
        pairs = zip(gradients(made), gradients(source), strict=True)
        return torch.stack([self.local(one, other) for one, other in pairs]).mean()
