"""The guard against collapse: what it counts, when it stops, and that it stops the trainer."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import VoxelwayError
from pipeline.training.collapse import Limits, Watch, spread

from .training_cases import Duel, plan, train

LIMITS = Limits(window=3, wins=0.1, loses=4.0, diversity=0.5, checks=2, after=10)


def stopped_at(losses: list[float], chance: float = 0.5, first: int = 11) -> int | None:
    """Step at which a course of losses is stopped."""
    watch, streaks = Watch(LIMITS, {"critic/loss": chance}), dict[str, int]()
    for step, value in enumerate(losses, start=first):
        try:
            watch.step(step, {"critic/loss": value, "generator/loss": 0.0}, streaks)
        except VoxelwayError as error:
            assert error.code == "E-TRAIN-COLLAPSED"
            return step
    return None


def test_three_moves_in_a_row_beyond_a_limit_are_a_collapse() -> None:
    # limits: below 0.05 and above 2
    assert stopped_at([0.04, 0.04, 0.04]) == 13
    assert stopped_at([2.1, 2.1, 2.1]) == 13
    assert stopped_at([0.04, 0.04, 0.06, 0.04, 0.04]) is None
    assert stopped_at([0.04, 0.04, 2.1, 2.1]) is None
    assert stopped_at([0.04] * 20, first=1) == 13


@given(st.lists(st.floats(0.051, 1.99), max_size=40))
def test_a_balanced_duel_goes_on(losses: list[float]) -> None:
    assert stopped_at(losses) is None


def test_steps_on_which_the_critic_rests_do_not_count() -> None:
    watch, streaks = Watch(LIMITS, {"critic/loss": 0.5}), dict[str, int]()
    for step in range(11, 40):
        moved = {"critic/loss": 0.01} if step % 10 == 0 else {}
        watch.step(step, {"generator/loss": 1.0, **moved}, streaks)
    assert streaks["critic/loss wins"] == 2


def test_spread_is_the_mean_distance_of_pairs() -> None:
    # distances per voxel: 1, 3 and 2
    samples = torch.tensor([0.0, 1.0, 3.0]).reshape(3, 1, 1) * torch.ones(3, 2, 4)
    assert spread(samples) == pytest.approx(2.0)
    with pytest.raises(ValueError):
        spread(samples[:1])


def test_samples_that_look_alike_are_a_collapse() -> None:
    real = torch.tensor([[0.0], [1.0]])
    made = torch.tensor([[0.0], [0.4]])
    watch, streaks = Watch(LIMITS, samples=lambda networks: (made, real)), dict[str, int]()
    assert watch.diversity(10, {}, streaks) == pytest.approx(0.4)
    assert watch.diversity(20, {}, streaks) == pytest.approx(0.4)
    with pytest.raises(VoxelwayError, match=r"0\.4 of that of real ones"):
        watch.diversity(30, {}, streaks)


class Watched(Duel):
    """The duel; its critic's loss is far below that at chance, its samples are as told."""

    def __init__(self, limits: Limits, chances: dict[str, float], factor: float = 1.0) -> None:
        super().__init__("watched")
        self.watch = Watch(limits, chances, self.pair)
        self.factor = factor

    def pair(self, networks: Any) -> tuple[torch.Tensor, torch.Tensor]:
        assert not torch.is_grad_enabled()
        real = torch.rand(4, 3)
        return self.factor * real, real


def test_the_trainer_stops(tmp_path: Path) -> None:
    limits = Limits(window=4, after=12)
    with pytest.raises(VoxelwayError) as stopped:
        train(tmp_path / "loss", plan(), Watched(limits, {"critic/loss": 1e9}))
    # the critic moves on even steps: 14, 16, 18, 20
    assert stopped.value.code == "E-TRAIN-COLLAPSED" and "step 20 " in stopped.value.what
    with pytest.raises(VoxelwayError, match=r"E-TRAIN-COLLAPSED.*step 30 "):
        train(tmp_path / "alike", plan(), Watched(limits, {}, factor=0.05))
    done = train(tmp_path / "good", plan(), Watched(limits, {}))
    assert [row["validation/diversity"] for row in done.history] == pytest.approx([1.0] * 4)


def test_counts_go_on_after_a_cut(tmp_path: Path) -> None:
    """A training cut inside a streak stops where an uncut one does."""
    limits = Limits(window=0, after=0, checks=3)
    recipe = Watched(limits, {}, factor=0.05)
    real, calls = recipe.pair, [0]

    def cut(networks: Any) -> tuple[torch.Tensor, torch.Tensor]:
        calls[0] += 1
        if calls[0] == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(networks)

    recipe.watch = Watch(limits, {}, cut)
    with pytest.raises(SystemExit):
        train(tmp_path, plan(), recipe)
    with pytest.raises(VoxelwayError, match="step 30 "):
        train(tmp_path, plan(), recipe)
    assert calls[0] == 3
