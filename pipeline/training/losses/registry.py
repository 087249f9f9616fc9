"""Weighted sums of losses, as the configuration names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.training.losses import terms
from pipeline.training.losses.entries import Term, read
from pipeline.training.losses.outcome import Outcome

Loss = Callable[[Outcome], Tensor]

LOSSES: dict[str, Callable[..., Loss]] = {
    "lncc": terms.Lncc,
    "mse": terms.Mse,
    "mutual_information": terms.MutualInformationTerm,
    "mind": terms.MindTerm,
    "diffusion": terms.Diffusion,
    "bending": terms.Bending,
    "inverse_consistency": terms.InverseConsistency,
    "anti_folding": terms.AntiFolding,
    "dice": terms.Dice,
    "supervision": terms.Supervision,
    "features": terms.Features,
    "adversarial": terms.Adversarial,
    "critic": terms.CriticTerm,
}


@dataclass(frozen=True)
class WeightedSum:
    """A sum of losses."""

    terms: tuple[Term, ...]

    def __call__(self, outcome: Outcome) -> dict[str, Tensor]:
        """The sum as ``loss``, to be minimised, and each term by its key, unweighted, to be logged.

        Raises:
            VoxelwayError: E-CONFIG-VALUE when a term needs what the outcome does not hold.
        """
        values = {term.key: term.loss(outcome) for term in self.terms}
        total = torch.stack([term.weight * values[term.key] for term in self.terms]).sum()
        return {"loss": total, **{key: value.detach() for key, value in values.items()}}


def build(entries: Sequence[Mapping[str, Any]]) -> WeightedSum:
    """Make the sum that a configuration describes.

    Args:
        entries: each has the ``name`` of a loss, its ``weight`` (1 if left out), and the loss's
            own arguments, as ``{"name": "lncc", "weight": 1, "window": 9}``. A loss may come
            twice; the second is logged as ``lncc_2``.

    Raises:
        VoxelwayError: E-CONFIG-VALUE for no entry, an unknown name, a negative weight or
            arguments that do not fit.
    """
    return WeightedSum(read(entries, LOSSES))
