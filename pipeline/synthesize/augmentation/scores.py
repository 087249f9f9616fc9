"""How far made images are from real ones, for choosing the best weights while training."""

from __future__ import annotations

import torch
from torch import Tensor

#: Quantiles that two distributions are compared at.
SHARES = tuple((number + 0.5) / 32 for number in range(32))


def texture(made: Tensor, real: Tensor) -> float:
    """Distance of the distributions of intensities and of their slopes.

    The mean over both of the Wasserstein distance of order one, each in deviations of the real
    image. It compares no voxel with the same voxel, so that what is blurred does not look better
    than what is sharp and elsewhere.

    Args:
        made: (B, C, Z, Y, X).
        real: same shape.
    """
    pairs = ((made, real), (slopes(made), slopes(real)))
    found = [_distance(one.float().flatten(), other.float().flatten()) for one, other in pairs]
    return sum(found) / len(found)


def slopes(image: Tensor) -> Tensor:
    """Norm of the differences of neighbours along the three axes, (B, C, Z-1, Y-1, X-1)."""
    z = image[..., 1:, :-1, :-1] - image[..., :-1, :-1, :-1]
    y = image[..., :-1, 1:, :-1] - image[..., :-1, :-1, :-1]
    x = image[..., :-1, :-1, 1:] - image[..., :-1, :-1, :-1]
    return torch.sqrt(z.square() + y.square() + x.square())


def _distance(made: Tensor, real: Tensor) -> float:
    shares = torch.tensor(SHARES, device=made.device)
    ours, theirs = (torch.quantile(_thinned(one), shares) for one in (made, real))
    return float((ours - theirs).abs().mean() / real.std().clamp_min(1e-6))


def _thinned(values: Tensor) -> Tensor:
    """At most a million values: torch takes quantiles of no more than sixteen."""
    return values[:: max(1, len(values) // 1_000_000)]
