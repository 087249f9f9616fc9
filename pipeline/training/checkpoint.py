"""What a training writes down so that it can go on: tensors, numbers and text, no pickled code."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline import files
from pipeline.training.plan import Plan
from pipeline.training.recipe import Recipe

LAST, BEST = "last.pt", "best.pt"

Row = dict[str, float]


@dataclass
class State:
    """How far a training has come.

    Attributes:
        step: steps done.
        validated: step of the last validation.
        best_step: step of the best one, 0 before the first.
        best_score: its metric.
        stale: validations since then.
        seconds: time spent, over all parts of a training that was cut.
        sums: losses summed up since the last row of the history, with their count.
        history: one row a validation: step, seconds, rates, mean losses, scores.
        streaks: what the guard against collapse counts.
    """

    step: int = 0
    validated: int = 0
    best_step: int = 0
    best_score: float = 0.0
    stale: int = 0
    seconds: float = 0.0
    sums: dict[str, list[float]] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    streaks: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Count a loss in for the next row of the history."""
        total = self.sums.setdefault(name, [0.0, 0.0])
        total[0] += value
        total[1] += 1.0

    def means(self) -> Row:
        """Mean of each loss since the last row."""
        return {name: total / count for name, (total, count) in self.sums.items()}


def fingerprint(recipe: Recipe, plan: Plan) -> str:
    """Hash of what decides the outcome of a training; 16 hexadecimal digits."""
    shapes = {
        name: [[key, list(value.shape)] for key, value in network.state_dict().items()]
        for name, network in recipe.networks.items()
    }
    content = {
        "recipe": f"{type(recipe).__module__}.{type(recipe).__qualname__}",
        "identity": recipe.identity,
        "networks": shapes,
        "players": [dataclasses.asdict(player) for player in recipe.players],
        "metric": [recipe.metric, recipe.mode],
        "plan": plan.identity,
    }
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors, numbers and text, whole."""
    with files.atomic(path) as part:
        torch.save(dict(content), part)


def load(path: Path, mark: str) -> dict[str, Any] | None:
    """Read a checkpoint of the training whose fingerprint is ``mark``.

    Only tensors, numbers, text and containers are read; anything else in the file is refused.

    Returns:
        What was saved; None when there is none, it is of another training or can't be read.
    """
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # damaged, of another version, or with code inside: the training begins anew
        reason = str(error).splitlines()[0][:200]
        print(f"{path} is left aside: {reason}", file=sys.stderr)
        return None
    if not isinstance(content, dict) or content.get("fingerprint") != mark:
        return None
    return content


def weights(networks: Mapping[str, nn.Module]) -> dict[str, dict[str, torch.Tensor]]:
    """Copies of all parameters and buffers, on the CPU."""
    return {
        name: {key: value.detach().cpu().clone() for key, value in network.state_dict().items()}
        for name, network in networks.items()
    }
