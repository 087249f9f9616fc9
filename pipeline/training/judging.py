"""Scores of a training's best weights, one value a validation sample, for the model's card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from pipeline.training.bundle import Score
from pipeline.training.data import SeededSamples, collate
from pipeline.training.recipe import Recipe
from pipeline.training.trainer import Fitted

#: Networks and a batch of one sample → measures.
Judge = Callable[[Mapping[str, torch.nn.Module], Any], Mapping[str, float]]


def use(recipe: Recipe, fitted: Fitted) -> None:
    """Give the recipe's networks the best weights, on the CPU, in the mode of evaluation."""
    for name, weights in fitted.weights.items():
        network = recipe.networks[name]
        network.load_state_dict({key: torch.from_numpy(v.copy()) for key, v in weights.items()})
        network.eval().to("cpu")


def values(
    recipe: Recipe,
    fitted: Fitted,
    samples: SeededSamples,
    *,
    judge: Judge | None = None,
    label: Callable[[str, int], str] = lambda name, number: name,
) -> dict[str, list[float]]:
    """Each measure on each sample; the networks keep the best weights.

    Args:
        recipe: its networks get the weights, on the CPU.
        fitted: what the training gave.
        samples: a known number.
        judge: measures; the recipe's own ``scores`` without.
        label: name of a measure on sample ``number``.
    """
    use(recipe, fitted)
    return over(recipe.networks, samples, judge or recipe.scores, label)


def over(
    networks: Mapping[str, torch.nn.Module],
    samples: SeededSamples,
    judge: Judge,
    label: Callable[[str, int], str] = lambda name, number: name,
) -> dict[str, list[float]]:
    """Each measure of these networks on each sample.

    Args:
        networks: with the weights that are judged, in the mode of evaluation.
        samples: a known number.
        judge: measures.
        label: name of a measure on sample ``number``.
    """
    found: dict[str, list[float]] = {}
    with torch.no_grad():
        for number in range(len(samples)):
            sample = collate([samples[number]])
            for name, value in judge(networks, sample).items():
                found.setdefault(label(name, number), []).append(value)
    return found


def scores(
    recipe: Recipe,
    fitted: Fitted,
    samples: SeededSamples,
    *,
    judge: Judge | None = None,
    label: Callable[[str, int], str] = lambda name, number: name,
) -> dict[str, Score]:
    """Mean and interval of each measure over the samples; arguments as of :func:`values`."""
    found = values(recipe, fitted, samples, judge=judge, label=label)
    return {name: Score.of(one) for name, one in found.items()}
