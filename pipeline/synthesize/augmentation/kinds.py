"""The generators by name: what each trains, and how a case is made with it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import SimpleITK as sitk  # noqa: N813
from torch import nn

from pipeline.errors import VoxelwayError
from pipeline.segment.learning.cases import Case
from pipeline.synthesize.augmentation.samples import Classes, Floats
from pipeline.training.bundle import Architecture
from pipeline.training.data import SeededSamples
from pipeline.training.plan import Plan
from pipeline.training.recipe import Recipe

STAGE = "synthesize"
ONE_SHOT = "one_shot"
#: Generator → module of this package.
KINDS = {
    "dcgan": "from_noise",
    "lapgan": "from_noise",
    "pggan": "from_noise",
    "label_gan": "two_stage",
    "spade": "from_labels",
    ONE_SHOT: "one_shot",
}


@dataclass(frozen=True)
class Request:
    """What is to be trained, on what.

    Attributes:
        section: ``synthesize.augmentation``.
        known: labels that are learned.
        train, validation: cases with images; none is on both sides.
        scans: images without labels, of those to train on.
        plan: of the training.
        identity: hash of configuration, code and data.
    """

    section: Mapping[str, Any]
    known: tuple[int, ...]
    train: Sequence[Case]
    validation: Sequence[Case]
    scans: Sequence[Case]
    plan: Plan
    identity: str

    @property
    def channels(self) -> int:
        """Contrasts of a case."""
        return len(self.train[0].images)

    @property
    def total(self) -> int:
        """Samples of the whole training."""
        return self.plan.steps * self.plan.batch * self.plan.accumulate


@dataclass(frozen=True)
class Job:
    """A training, ready for :func:`pipeline.training.trainer.fit`.

    Attributes:
        recipe: with its ``watch`` where it has an adversary.
        samples: to train on, without end.
        validation: a known number.
        architectures: of the networks that go into the bundle.
    """

    recipe: Recipe
    samples: SeededSamples
    validation: SeededSamples
    architectures: Mapping[str, Architecture]


@dataclass(frozen=True)
class Sources:
    """What a case is made from.

    Attributes:
        section: what the bundle says of its generator: ``spacing``, ``patch``, ``latent``, ...
        known: labels, in the order of the classes.
        cases: with labels.
        scans: images without.
    """

    section: Mapping[str, Any]
    known: tuple[int, ...]
    cases: Sequence[Case]
    scans: Sequence[Case] = ()


@dataclass(frozen=True)
class Made:
    """A generated case.

    Attributes:
        image: (C, Z, Y, X), -1 to 1.
        classes: (Z, Y, X).
        grid: that both are on.
        score: what the critic gives it; NaN where there is none.
    """

    image: Floats
    classes: Classes
    grid: sitk.Image
    score: float


class Kind(Protocol):
    """What each module of :data:`KINDS` has."""

    def prepare(self, request: Request) -> Job:
        """Recipe and samples of a training."""

    def make(
        self, networks: Mapping[str, nn.Module], sources: Sources, rng: np.random.Generator
    ) -> Made:
        """One case; networks in the mode of evaluation, on the CPU."""

    def judge(
        self, networks: Mapping[str, nn.Module], image: Floats, classes: Classes, count: int
    ) -> float:
        """What the critic gives a case of so many classes; NaN where there is none."""


def kind(name: str) -> Kind:
    """A generator's module.

    Raises:
        VoxelwayError: E-METHOD for an unknown name.
    """
    if name not in KINDS:
        hint = f"Generators: {', '.join(KINDS)}"
        raise VoxelwayError("E-METHOD", f"There is no generator {name!r}", hint=hint)
    package = __name__.rpartition(".")[0]
    return cast(Kind, importlib.import_module(f"{package}.{KINDS[name]}"))
