"""Dice of a validation sample: of the image alone, and with its mirrored copy."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipeline.segment.cascade.plan import Level
from pipeline.segment.learning.recipe import LevelRecipe

#: Background, left and right structure, in the left half of the image and in the right one.
LEFT, RIGHT = (0.2, 0.7, 0.1), (0.6, 0.1, 0.3)


class OneSided(nn.Module):
    """Sure of the left structure, and not of the right one."""

    divisor = (1, 1, 1)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> list[Tensor]:
        half = image.shape[-1] // 2
        shares = torch.tensor([LEFT] * half + [RIGHT] * half).log().T
        shape = (len(image), 3, *image.shape[2:])
        return [(self.weight * shares)[None, :, None, None, :].expand(shape).clone()]


def recipe() -> LevelRecipe:
    level = Level(
        name="fine", spacing=(1.0, 1.0, 1.0), patch=(8, 8, 8), classes=((1,), (2,)),
        architecture="unet", arguments={},
    )  # fmt: skip
    return LevelRecipe("fine.0", level, OneSided(), [{"name": "dice"}], ["L", "R"], [], "x")


def test_the_mirrored_image_tells_of_the_other_side() -> None:
    made = recipe()
    target = torch.ones(1, 8, 8, 8, dtype=torch.long)
    target[..., 4:] = 2
    batch = {"image": torch.zeros(1, 1, 8, 8, 8), "target": target}
    # the right half counts as background
    assert made.judged(made.networks, batch) == {"L": 1.0, "R": 0.0}
    # there, (0.6, 0.1, 0.3) and the other half's (0.2, 0.1, 0.7) add up to the right structure
    assert made.judged(made.networks, batch, mirror=[1, 0]) == {"L": 1.0, "R": 1.0}


class Other(OneSided):
    """Takes everything for the right structure."""

    def forward(self, image: Tensor) -> list[Tensor]:
        shares = torch.tensor([0.3, 0.1, 0.6]).log()
        return [shares[None, :, None, None, None].expand(len(image), 3, *image.shape[2:]).clone()]


def test_the_mean_of_several_networks_is_judged() -> None:
    made = recipe()
    target = torch.ones(1, 8, 8, 8, dtype=torch.long)
    target[..., 4:] = 2
    batch = {"image": torch.zeros(1, 1, 8, 8, 8), "target": target}
    # each of them misses a structure
    assert made.judged({"a": OneSided()}, batch)["R"] == 0.0
    assert made.judged({"a": Other()}, batch)["L"] == 0.0
    # left (0.233, 0.5, 0.267)
    several = {"a": OneSided(), "b": Other(), "c": OneSided()}
    assert made.judged(several, batch)["L"] == 1.0
    # left (0.267, 0.3, 0.433), right (0.4, 0.1, 0.5)
    several = {"a": OneSided(), "b": Other(), "c": Other()}
    assert made.judged(several, batch) == pytest.approx({"L": 0.0, "R": 2 / 3})
    # left (0.25, 0.4, 0.35)
    assert made.judged({"a": OneSided(), "b": Other()}, batch)["L"] == 1.0


def test_what_is_not_known_is_not_judged() -> None:
    made = recipe()
    target = torch.ones(1, 8, 8, 8, dtype=torch.long)
    target[..., 4:] = -1
    batch = {"image": torch.zeros(1, 1, 8, 8, 8), "target": target}
    assert made.judged(made.networks, batch) == {"L": 1.0}
