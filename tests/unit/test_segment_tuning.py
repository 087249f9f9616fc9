"""What a trained network's intervals are fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.segment.cascade.plan import Level
from pipeline.segment.learning import tuning
from pipeline.segment.learning.contrast import Contrasts
from pipeline.segment.learning.scene import Variety

LEVEL = Level("fine", (1.0,) * 3, (8, 8, 8), ((1,),))


class Told(nn.Module):
    """Logits that the image holds."""

    divisor = (1, 1, 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [torch.cat([torch.zeros_like(image), image], dim=1)]


class Samples:
    """Images of the logits ±2, and what is true there."""

    def __init__(self, truths: Sequence[int]) -> None:
        self.truths = truths

    def __len__(self) -> int:
        return len(self.truths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, target = np.full((1, 8, 8, 8), -2.0, np.float32), np.zeros((8, 8, 8), np.int64)
        image[0, :4] = 2.0
        target.ravel()[: self.truths[index]] = 1
        return {"image": image, "target": target}


def test_intervals_are_as_wide_as_what_is_expected_to_be_wrong_asks_for() -> None:
    volumes = tuning.Volumes()
    volumes.add(Told(), LEVEL, Samples([200, 256, 512]))  # type: ignore[arg-type]
    # 256 voxels are labelled; of all 512 the share 1 / (1 + e²) is expected to be wrong
    wrong = 512 / (1 + np.exp(2.0))
    assert volumes.found == [256.0] * 3 and volumes.true == [200.0, 256.0, 512.0]
    assert volumes.halves == pytest.approx([wrong] * 3, rel=1e-4)
    # three cases: the largest error decides
    assert volumes.factor() == pytest.approx(256 / wrong, rel=1e-4)


def test_an_image_that_is_seen_in_part_tells_nothing() -> None:
    class Part(Samples):
        def __getitem__(self, index: int) -> dict[str, Any]:
            sample = super().__getitem__(index)
            sample["target"][0, 0, 0] = -1
            return sample

    volumes = tuning.Volumes()
    volumes.add(Told(), LEVEL, Part([200]))  # type: ignore[arg-type]
    assert not volumes.found and volumes.factor() == 1.0


def test_ordinary_images_have_a_named_contrast() -> None:
    typical = {"T1w": {1: 0.9}, "T2w": {1: 0.2}}
    every = Contrasts(1, [], [], typical, {"random": 0.5, "T1w": 0.5, "T2w": 0.0})
    assert every.named().shares == {"T1w": 0.5}
    alone = replace(every, shares={"random": 1.0})
    assert alone.named().shares == {"random": 1.0}


def test_an_ordinary_head_stays_where_it_is() -> None:
    found = Variety.ordinary()
    moves = ("flip", "rotation", "scale", "shear", "shift", "elastic", "crop", "strip", "thick")
    assert not any(getattr(found, name) for name in moves)
    assert found.noise > 0 and found.bias > 0
