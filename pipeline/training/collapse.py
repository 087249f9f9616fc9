"""Stops an adversarial training that has collapsed: one side has won, or all samples look alike.

A recipe that wants the guard has an attribute ``watch``; the trainer asks it after each step and
at each validation. What it counts is in the checkpoint, so that a training that goes on is judged
as one that was not cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import VoxelwayError
from pipeline.training.recipe import Networks

#: Networks → samples made from fixed noise or fixed sources, and as many real ones; (N, ...).
Pair = Callable[[Networks], tuple[Tensor, Tensor]]

#: Name of the measure in the history and on the curve.
DIVERSITY = "diversity"


@dataclass(frozen=True)
class Limits:
    """Thresholds; the section ``collapse`` of a stage's ``learning``.

    Attributes:
        window: moves of the discriminator in a row, all beyond a limit, that count as collapse; 0
            does not look at the loss.
        wins: share of the loss at chance below which the discriminator has won utterly.
        loses: multiple of it above which it has lost utterly.
        diversity: share of the real samples' mean distance that made ones must keep; 0 does not
            look at them.
        checks: validations in a row with less.
        after: steps that are not judged at all, while the generator finds its feet.
    """

    window: int = 200
    wins: float = 0.005
    loses: float = 6.0
    diversity: float = 0.1
    checks: int = 2
    after: int = 200

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Limits:
        """Read a checked section."""
        return cls(**section)


@dataclass(frozen=True)
class Watch:
    """What is watched in one training.

    Attributes:
        limits: thresholds.
        chances: loss in the log, as ``critic/loss`` → its value for a discriminator that can't
            tell: 0.25 for half of the squares of :class:`~pipeline.training.losses.adversary`,
            ln 2 for cross entropy. Losses without such a value (Wasserstein) are left out.
        samples: for the diversity; None does not look at it. Called without gradients, in the mode
            of evaluation, with the trainer's seed of validations.
    """

    limits: Limits = Limits()
    chances: Mapping[str, float] = field(default_factory=dict)
    samples: Pair | None = None

    def step(self, step: int, losses: Mapping[str, float], streaks: dict[str, int]) -> None:
        """Look at the losses of a step.

        Args:
            step: number of the step.
            losses: as ``PLAYER/NAME``; those of players that did not move are absent.
            streaks: counts that the caller keeps from step to step.

        Raises:
            VoxelwayError: E-TRAIN-COLLAPSED.
        """
        if not self.limits.window or step <= self.limits.after:
            return
        for name, chance in self.chances.items():
            if name not in losses:
                continue
            share = losses[name] / chance
            for key, beyond in (("wins", share < self.limits.wins),
                                ("loses", share > self.limits.loses)):  # fmt: skip
                count = _count(streaks, f"{name} {key}", beyond)
                if count >= self.limits.window:
                    raise _lost(name, key, share, step, count)

    def diversity(self, step: int, networks: Networks, streaks: dict[str, int]) -> float | None:
        """Look at the samples of a validation.

        Returns:
            Mean distance between two made samples, over that between two real ones.

        Raises:
            VoxelwayError: E-TRAIN-COLLAPSED.
        """
        if self.samples is None or not self.limits.diversity:
            return None
        made, real = self.samples(networks)
        share = spread(made) / max(spread(real), 1e-12)
        beyond = step > self.limits.after and share < self.limits.diversity
        if _count(streaks, DIVERSITY, beyond) >= self.limits.checks:
            raise _alike(share, step, self.limits.diversity)
        return share


def spread(samples: Tensor) -> float:
    """Mean over all pairs of the root mean square difference.

    Args:
        samples: (N, ...), N at least 2.

    Raises:
        ValueError: for a single sample.
    """
    if len(samples) < 2:
        raise ValueError("the diversity needs two samples or more")
    flat = samples.detach().double().flatten(1)
    return float(torch.pdist(flat).mean()) / math.sqrt(flat.shape[1])


def _count(streaks: dict[str, int], key: str, beyond: bool) -> int:
    streaks[key] = streaks.get(key, 0) + 1 if beyond else 0
    return streaks[key]


def _lost(name: str, key: str, share: float, step: int, count: int) -> VoxelwayError:
    player, side = name.partition("/")[0], "tells all" if key == "wins" else "tells no"
    what = (
        f"{player} {side} made samples from real ones since {count} moves: "
        f"its loss at step {step} is {share:.3g} of that at chance"
    )
    slower, faster = ("lower", "raise") if key == "wins" else ("raise", "lower")
    hint = (
        f"{slower.capitalize()} the discriminator's learning rate or moves, or {faster} the "
        "generator's; more training samples and a weaker adversarial weight help too; limits "
        "are in `collapse`"
    )
    return VoxelwayError("E-TRAIN-COLLAPSED", what, hint=hint)


def _alike(share: float, step: int, limit: float) -> VoxelwayError:
    what = (
        f"The made samples look alike: at step {step} their mean distance is {share:.3g} of that "
        f"of real ones, the limit is {limit:g}"
    )
    hint = (
        "Lower the learning rates, use larger batches, or another kind of adversarial loss "
        "(wgan_gp); limits are in `collapse`"
    )
    return VoxelwayError("E-TRAIN-COLLAPSED", what, hint=hint)
