"""Joint synthesis and segmentation: labels of one contrast for another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline import networks
from pipeline.errors import VoxelwayError
from pipeline.synthesize.learning import cycle, synseg
from pipeline.synthesize.learning.cycle import NAME
from pipeline.training.data import collate
from tests.unit import unpaired_cases as cases


def test_segmenter_learns_from_made_images_and_moves_alone() -> None:
    request = cases.request("synseg", *cases.scans())
    job = synseg.prepare(request)
    recipe = job.recipe
    assert [player.name for player in recipe.players] == ["critics", "generators", "segmenter"]
    sample = collate([job.samples[0], job.samples[1]])
    found = recipe.losses(recipe.networks, cycle.GENERATORS, sample)
    assert "segmentation" in found and found["loss"].requires_grad
    own = recipe.losses(recipe.networks, synseg.SEGMENTER, sample)
    own["loss"].backward()
    assert all(p.grad is None for p in recipe.networks[NAME].parameters())
    assert any(p.grad is not None for p in recipe.networks[synseg.SEGMENTER].parameters())


def test_labels_of_the_target_are_never_seen() -> None:
    train, validation = cases.scans()
    blind = [type(s)(**{**vars(s), "labels": s.labels if "T1w" in s.contrasts else None})
             for s in train]  # fmt: skip
    found = [synseg.prepare(cases.request("synseg", one, validation)) for one in (train, blind)]
    for number in range(3):
        first, second = (job.samples[number] for job in found)
        assert all(np.array_equal(first[key], second[key]) for key in first)


def test_unlabelled_sources_are_refused() -> None:
    train = [cases.scan(n, (s,), k, labelled=False)
             for k, (n, s) in enumerate([("a", "T1w"), ("b", "T2w")])]  # fmt: skip
    learning = cases.learning(min_subjects=1)
    request = cases.request("synseg", train, cases.scans()[1], learning=learning)
    with pytest.raises(VoxelwayError, match="labelled"):
        synseg.prepare(request)


def test_dice_of_a_segmenter_by_hand() -> None:
    job = synseg.prepare(cases.request("synseg", *cases.scans()))

    class One(nn.Module):
        divisor = (1, 1, 1)

        def forward(self, image: Tensor) -> list[Tensor]:
            # class 1 everywhere
            scores = torch.zeros(1, 8, *image.shape[2:])
            scores[:, 1] = 1.0
            return [scores]

    job.recipe.networks[synseg.SEGMENTER] = One()
    classes = torch.tensor([1, 1, 2, -1]).view(1, 1, 1, 4)
    image = torch.zeros(1, 1, 1, 1, 4)
    # class 1: 2 of 2 right, 3 said: 4 / 5; class 2 is never said
    found = job.recipe.dices(job.recipe.networks, image, classes)
    assert found == {1: pytest.approx(0.8), 2: 0.0}


def test_scale_of_made_targets_is_that_of_acquired_ones() -> None:
    train, _ = cases.scans()
    low, high = synseg.range_of([s for s in train if "T2w" in s.contrasts], "T2w")
    assert low == pytest.approx(0.77, abs=0.05) and high == pytest.approx(2.24, abs=0.05)


def test_whole_images_of_any_shape_are_segmented() -> None:
    network = networks.build("unet", {"inputs": 1, "outputs": 3, "channels": [2, 4]}).eval()
    assert synseg.logits(network, torch.randn(1, 1, 5, 6, 7), (2, 2, 2)).shape == (1, 3, 5, 6, 7)
