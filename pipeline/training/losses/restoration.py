"""Losses of a restored image against its target, (B, 1, Z, Y, X) both, robust range about one.

Every function takes (restored, target, weight, level): ``weight`` tells how much a voxel counts,
``level`` the deviation of the noise that was in the input, and returns a scalar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import VoxelwayError

Term = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

#: Added to the level where errors are told in units of it, share of the range. Much smaller, and
#: nearly clean samples, whose anatomy is all that a young network can get wrong, slow the learning.
FLOOR = 0.03
#: Added to a mean squared error before its logarithm: better than 50 dB counts little.
LEAST = 1e-5
#: Constants of the structural similarity, for a range of one.
C1, C2 = 0.01**2, 0.03**2


def weighted(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of values, each with its weight."""
    return (values * weight).sum() / weight.sum().clamp_min(1e-6)


def charbonnier(restored: Tensor, target: Tensor, weight: Tensor, level: Tensor) -> Tensor:
    """sqrt(e² + 0.25²) of errors in units of about the noise, so that all levels count.

    Charbonnier et al. 1994, doi:10.1109/ICIP.1994.413553.
    """
    error = (restored - target) / (level + FLOOR)
    return weighted(torch.sqrt(error.square() + 0.0625) - 0.25, weight)


def scaled_mse(restored: Tensor, target: Tensor, weight: Tensor, level: Tensor) -> Tensor:
    """Mean squared error in units of about the noise: PSNR of every level counts the same."""
    return weighted(((restored - target) / (level + FLOOR)).square(), weight)


def log_mse(restored: Tensor, target: Tensor, weight: Tensor, level: Tensor) -> Tensor:
    """Mean logarithm of the samples' mean squared errors: what falls is the mean PSNR's loss."""
    axes = (1, 2, 3, 4)
    whole = weight.expand_as(restored)
    error = ((restored - target).square() * whole).sum(axes)
    return torch.log(error / whole.sum(axes).clamp_min(1e-6) + LEAST).mean()


def l1(restored: Tensor, target: Tensor, weight: Tensor, level: Tensor) -> Tensor:
    """Mean absolute error, share of the range."""
    return weighted((restored - target).abs(), weight)


def mse(restored: Tensor, target: Tensor, weight: Tensor, level: Tensor) -> Tensor:
    """Mean squared error, share of the range."""
    return weighted((restored - target).square(), weight)


def structure(a: Tensor, b: Tensor, window: int = 7) -> tuple[Tensor, Tensor]:
    """Maps of the structural similarity and of its contrast-structure part, slice by slice.

    Wang et al. 2004, doi:10.1109/TIP.2003.819861, with a square window.
    """
    kernel = (1, window, window)

    def mean(values: Tensor) -> Tensor:
        return functional.avg_pool3d(values, kernel, stride=1)

    ma, mb = mean(a), mean(b)
    va, vb = mean(a * a) - ma * ma, mean(b * b) - mb * mb
    cov = mean(a * b) - ma * mb
    part = (2 * cov + C2) / (va + vb + C2)
    return (2 * ma * mb + C1) / (ma * ma + mb * mb + C1) * part, part


def ssim(restored: Tensor, target: Tensor, weight: Tensor, level: Tensor) -> Tensor:
    """One less the structural similarity of the slices."""
    return 1.0 - structure(restored, target)[0].mean()


def ms_ssim(restored: Tensor, target: Tensor, weight: Tensor, level: Tensor) -> Tensor:
    """One less the structural similarity over scales, slice by slice.

    Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216; its weights, over as many scales as the
    slices hold windows.
    """
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    scales = 1
    while scales < len(weights) and min(restored.shape[3:]) // 2**scales >= 7:
        scales += 1
    chosen = torch.tensor(weights[:scales]) / sum(weights[:scales])
    product = restored.new_ones(())
    for scale, exponent in enumerate(chosen.tolist()):
        whole, part = structure(restored, target)
        value = (whole if scale == scales - 1 else part).mean().clamp_min(1e-4)
        product = product * value**exponent
        restored = functional.avg_pool3d(restored, (1, 2, 2))
        target = functional.avg_pool3d(target, (1, 2, 2))
    return 1.0 - product


def gradient(restored: Tensor, target: Tensor, weight: Tensor, level: Tensor) -> Tensor:
    """Mean absolute error of the differences of neighbours: edges count."""
    total = restored.new_zeros(())
    for axis in (2, 3, 4):
        total = total + (restored - target).diff(dim=axis).abs().mean()
    return total / 3.0


TERMS: dict[str, Term] = {
    "charbonnier": charbonnier,
    "l1": l1,
    "mse": mse,
    "scaled_mse": scaled_mse,
    "log_mse": log_mse,
    "ssim": ssim,
    "ms_ssim": ms_ssim,
    "gradient": gradient,
}


@dataclass(frozen=True)
class Sum:
    """A weighted sum of terms."""

    terms: tuple[tuple[str, float], ...]

    def __call__(
        self, restored: Tensor, target: Tensor, weight: Tensor, level: Tensor
    ) -> dict[str, Tensor]:
        """The sum as ``loss``, and each term by its name, unweighted."""
        values = {name: TERMS[name](restored, target, weight, level) for name, _ in self.terms}
        total = torch.stack([factor * values[name] for name, factor in self.terms]).sum()
        return {"loss": total, **{name: value.detach() for name, value in values.items()}}


def build(entries: Sequence[Mapping[str, Any]]) -> Sum:
    """Make the sum that a configuration describes: entries with ``name`` and ``weight``.

    Raises:
        VoxelwayError: E-CONFIG-VALUE for an unknown name, or no entry.
    """
    hint = "Losses: " + ", ".join(TERMS)
    if not entries:
        raise VoxelwayError("E-CONFIG-VALUE", "The list of losses is empty", hint=hint)
    for entry in entries:
        if entry.get("name") not in TERMS:
            what = f"There is no loss {entry.get('name')!r} for images"
            raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint)
    return Sum(tuple((str(item["name"]), float(item.get("weight", 1.0))) for item in entries))
