"""Weighted sums of losses, as the configuration names them."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import VoxelwayError
from pipeline.training.losses import terms
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
class Term:
    """One loss of the sum: its key in the log, its weight, and itself."""

    key: str
    weight: float
    loss: Loss


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
    if not entries:
        raise VoxelwayError("E-CONFIG-VALUE", "The list of losses is empty", hint=_known())
    made: list[Term] = []
    seen: Counter[str] = Counter()
    for entry in entries:
        name = str(entry.get("name", ""))
        seen[name] += 1
        key = name if seen[name] == 1 else f"{name}_{seen[name]}"
        made.append(_term(entry, name, key))
    return WeightedSum(tuple(made))


def _term(entry: Mapping[str, Any], name: str, key: str) -> Term:
    if name not in LOSSES:
        raise VoxelwayError("E-CONFIG-VALUE", f"There is no loss {name!r}", hint=_known())
    weight = float(entry.get("weight", 1.0))
    if weight < 0:
        raise VoxelwayError("E-CONFIG-VALUE", f"The weight of the loss {name} is {weight}")
    arguments = {key: value for key, value in entry.items() if key not in ("name", "weight")}
    try:
        loss = LOSSES[name](**arguments)
    except (TypeError, ValueError) as error:
        hint = f"It takes {inspect.signature(LOSSES[name])}"
        what = f"The arguments do not fit the loss {name}: {error}"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint) from error
    return Term(key, weight, loss)


def _known() -> str:
    return "Losses: " + ", ".join(LOSSES)
