"""What the card of a segmentation model tells: Dice of each structure, mirrored too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from pipeline.labels import Label
from pipeline.segment.cascade import uncertainty
from pipeline.segment.learning.recipe import LevelRecipe
from pipeline.training.judging import Judge


def of(recipe: LevelRecipe, labels: Sequence[Label]) -> Judge:
    """Dice of each structure of a sample and their mean.

    Where the level stands alone, also those of the mean with the mirrored image, as inference takes
    it by default: channels of a level before would have to change sides, too.
    """
    level = recipe.level
    pairs = {label.index: label.pair for label in labels if label.pair is not None}
    alone = not level.context and level.prior is None
    mirror = uncertainty.mirrored(level.classes, pairs) if alone else None

    def judge(networks: Mapping[str, nn.Module], batch: Any) -> dict[str, float]:
        found = _with_mean(recipe.judged(networks, batch))
        if mirror is None:
            return found
        other = _with_mean(recipe.judged(networks, batch, mirror))
        return {**found, **{f"{name}, mirrored": value for name, value in other.items()}}

    return judge


def _with_mean(found: dict[str, float]) -> dict[str, float]:
    return {**found, "all, the mean": sum(found.values()) / len(found)} if found else {}
