"""Losses as a configuration lists them: names, weights, arguments."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pipeline.errors import VoxelwayError


@dataclass(frozen=True)
class Term:
    """One loss of a sum: its key in the log, its weight, and itself."""

    key: str
    weight: float
    loss: Callable[[Any], Tensor]


def read(
    entries: Sequence[Mapping[str, Any]], known: Mapping[str, Callable[..., Any]]
) -> tuple[Term, ...]:
    """Make the losses that a configuration lists.

    Args:
        entries: each has the ``name`` of a loss, its ``weight`` (1 if left out), and the loss's
            own arguments. A loss may come twice; the second is logged as ``NAME_2``.
        known: losses by name.

    Raises:
        VoxelwayError: E-CONFIG-VALUE for no entry, an unknown name, a negative weight or
            arguments that do not fit.
    """
    if not entries:
        raise VoxelwayError("E-CONFIG-VALUE", "The list of losses is empty", hint=_names(known))
    made: list[Term] = []
    seen: Counter[str] = Counter()
    for entry in entries:
        name = str(entry.get("name", ""))
        seen[name] += 1
        key = name if seen[name] == 1 else f"{name}_{seen[name]}"
        made.append(_term(entry, name, key, known))
    return tuple(made)


def _term(
    entry: Mapping[str, Any], name: str, key: str, known: Mapping[str, Callable[..., Any]]
) -> Term:
    if name not in known:
        what = f"There is no loss {name!r} here"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint=_names(known))
    weight = float(entry.get("weight", 1.0))
    if weight < 0:
        raise VoxelwayError("E-CONFIG-VALUE", f"The weight of the loss {name} is {weight}")
    arguments = {key: value for key, value in entry.items() if key not in ("name", "weight")}
    try:
        return Term(key, weight, known[name](**arguments))
    except (TypeError, ValueError) as error:
        hint = f"It takes {inspect.signature(known[name])}"
        what = f"The arguments do not fit the loss {name}: {error}"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint) from error


def _names(known: Mapping[str, Any]) -> str:
    return "Losses: " + ", ".join(known)
