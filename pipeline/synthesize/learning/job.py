"""What the trainer of synthesis gives to a recipe's module, and what that gives back.

The network named :data:`NAME` of every bundle is called with ``sources`` (B, C, Z, Y, X), in
medians of the brain, zero where a contrast is missing or outside the rim, and ``given`` (B, C), 1
for the contrasts that are there, both in the order of :attr:`Request.contrasts`. It returns a list
of estimates, the last one final, each (B, 2 T, Z, Y, X): means of the targets in the order of
:attr:`Request.targets`, then logarithms of their variances.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.synthesize.learning.cases import Scan
from pipeline.synthesize.learning.presets import Preset
from pipeline.training.bundle import About, Architecture, Score
from pipeline.training.data import SeededSamples
from pipeline.training.judging import Judge
from pipeline.training.plan import Plan
from pipeline.training.recipe import Recipe
from pipeline.training.trainer import Fitted

NAME = "synthesize"

#: Folder, what the training gave, facts and scores of the card.
After = Callable[[Path, Fitted, About, Mapping[str, Score]], None]


@dataclass(frozen=True)
class Request:
    """What is to be trained, on what.

    Attributes:
        preset: of the method.
        learning: ``synthesize.learning``.
        train, validation: scans.
        contrasts: what the network takes, in order.
        targets: what it makes, in order; some may be among the contrasts.
        plan: of the training; its seed is the run's.
        identity: hash of configuration, code and data.
    """

    preset: Preset
    learning: Mapping[str, Any]
    train: Sequence[Scan]
    validation: Sequence[Scan]
    contrasts: tuple[str, ...]
    targets: tuple[str, ...]
    plan: Plan
    identity: str


@dataclass(frozen=True)
class Job:
    """A training, ready for :func:`pipeline.training.trainer.fit`.

    Attributes:
        recipe: networks, players, losses, scores.
        samples: to train on, without end.
        validation: a known number.
        architectures: of the networks that go into the bundle; one is :data:`NAME`.
        judge: measures for the card beside the recipe's scores, or None for those.
        limits: what the card says beside what all cards say.
        purpose: headline of the card.
        after: called with the bundle's folder, what the training gave, the card's facts and its
            scores, once the bundle is written: a method may give more than one model.
    """

    recipe: Recipe
    samples: SeededSamples
    validation: SeededSamples
    architectures: Mapping[str, Architecture]
    purpose: str
    judge: Judge | None = None
    limits: Sequence[str] = field(default_factory=tuple)
    after: After | None = None
