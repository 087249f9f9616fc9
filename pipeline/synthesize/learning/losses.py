"""Losses of a made contrast against the acquired one, (B, 1, Z, Y, X), in medians of the brain.

Every function takes (made, target, weight); ``weight`` tells how much a voxel counts, zero where
nothing was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import VoxelwayError
from pipeline.training.losses.adversary import Adversary
from pipeline.training.losses.restoration import structure, weighted

Term = Callable[[Tensor, Tensor, Tensor], Tensor]
ADVERSARIAL = "adversarial"
#: Range of an image in medians of the brain, for constants that are told for a range of one.
RANGE = 2.0


def l1(made: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute error."""
    return weighted((made - target).abs(), weight)


def mse(made: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error."""
    return weighted((made - target).square(), weight)


def gradient(made: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Squared differences of the sizes of both gradients, along each axis.

    Mathieu et al. 2016, doi:10.48550/arXiv.1511.05440; for synthesis Nie et al. 2017,
    doi:10.1007/978-3-319-66179-7_48.
    """
    total = made.new_zeros(())
    for axis in (2, 3, 4):
        size = made.shape[axis] - 1
        both = weight.narrow(axis, 0, size) * weight.narrow(axis, 1, size)
        change = made.diff(dim=axis).abs() - target.diff(dim=axis).abs()
        total = total + weighted(change.square(), both)
    return total


def ssim(made: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """One less the structural similarity of the planes; what was not measured is the same in both.

    Wang et al. 2004, doi:10.1109/TIP.2003.819861.
    """
    shown = (weight > 0).to(made.dtype) / RANGE
    return 1.0 - structure(made * shown, target * shown)[0].mean()


TERMS: dict[str, Term] = {"l1": l1, "mse": mse, "gradient": gradient, "ssim": ssim}


@dataclass(frozen=True)
class Losses:
    """What a configuration's list asks for.

    Attributes:
        terms: name and weight of each term on voxels.
        adversary: or None.
    """

    terms: tuple[tuple[str, float], ...]
    adversary: Adversary | None

    @classmethod
    def of(cls, entries: Sequence[Mapping[str, Any]]) -> Losses:
        """Read entries with ``name`` and ``weight``.

        Raises:
            VoxelwayError: E-CONFIG-VALUE for an unknown name, or no term on voxels.
        """
        plain = [entry for entry in entries if entry.get("name") != ADVERSARIAL]
        hint = f"Losses: {', '.join([*TERMS, ADVERSARIAL])}"
        strange = [str(entry.get("name")) for entry in plain if entry.get("name") not in TERMS]
        if strange or not plain:
            what = f"There is no loss {strange[0]!r}" if strange else "No loss compares voxels"
            raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint)
        named = next((entry for entry in entries if entry.get("name") == ADVERSARIAL), None)
        terms = tuple((str(item["name"]), float(item.get("weight", 1.0))) for item in plain)
        return cls(terms, Adversary.of(named) if named is not None else None)

    def __call__(self, made: Tensor, target: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """The sum of the terms on voxels as ``loss``, and each by its name, unweighted."""
        values = {name: TERMS[name](made, target, weight) for name, _ in self.terms}
        total = torch.stack([factor * values[name] for name, factor in self.terms]).sum()
        return {"loss": total, **{name: value.detach() for name, value in values.items()}}


def likelihood(mean: Tensor, variance: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Negative logarithm of a normal distribution's density, less a constant; the mean stays.

    Each voxel counts by its deviation, so that gradients stay small where the variance is told too
    low (Seitzer et al. 2022, doi:10.48550/arXiv.2203.09168).
    """
    squared = (mean.detach() - target).square()
    density = 0.5 * (variance.log() + squared / variance)
    return weighted(density * variance.detach().sqrt(), weight)
