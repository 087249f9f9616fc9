"""Muon: matrices by their directions, all else by Adam, and a training that it leads."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.training.data import SeededSamples
from pipeline.training.muon import ADAMS, Muon, orthogonal

from .training_cases import Duel, draw, plan, train


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(4, 16, 3), nn.Conv3d(16, 16, 3), nn.Conv3d(16, 2, 3))


def moved(
    module: nn.Module, optimiser: torch.optim.Optimizer, steps: int, first: int = 0
) -> list[Tensor]:
    """The parameters after steps along gradients that are drawn."""
    for step in range(first, first + steps):
        for number, parameter in enumerate(module.parameters()):
            parameter.grad = drawn(*parameter.shape, seed=100 * step + number)
        optimiser.step()
    return [parameter.detach().clone() for parameter in module.parameters()]


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXELWAY_SINGLE_PRECISION", "yes")


def test_singular_values_become_alike() -> None:
    found = orthogonal(torch.diag(torch.tensor([3.0, 1.0, 0.3])))
    # a polynomial of a diagonal matrix is diagonal
    assert torch.count_nonzero(found - torch.diag(found.diagonal())) == 0
    assert found.diagonal().min() > 0.6 and found.diagonal().max() < 1.25


@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_it_keeps_the_directions_of_any_shape(rows: int, columns: int, seed: int) -> None:
    given_matrix = drawn(rows, columns, seed=seed)
    u, s, v = torch.linalg.svd(given_matrix, full_matrices=False)
    found = u.T @ orthogonal(given_matrix) @ v.T
    counted = s > 0.01 * given_matrix.norm()
    values = found.diagonal()[counted]
    assert float(values.min()) > 0.6 and float(values.max()) < 1.25
    assert float((found - torch.diag(found.diagonal())).abs().max()) < 1e-3


def test_biases_and_thin_weights_move_as_adam_moves_them() -> None:
    ours, theirs = network(), network()
    a = moved(ours, Muon(ours.parameters(), lr=0.01, betas=(0.5, 0.9)), 3)
    b = moved(theirs, torch.optim.Adam(theirs.parameters(), lr=0.01, betas=(0.5, 0.9)), 3)
    same = [torch.equal(one, two) for one, two in zip(a, b, strict=True)]
    # two convolutions with 16 channels out; the last has 2
    assert same == [False, True, False, True, True, True]


def test_a_step_is_as_long_as_adams() -> None:
    module = network()
    before = [parameter.detach().clone() for parameter in module.parameters()]
    after = moved(module, Muon(module.parameters(), lr=0.01), 1)
    for number in (0, 2):
        length = (after[number] - before[number]).square().mean().sqrt()
        assert float(length) == pytest.approx(0.01 * ADAMS, rel=0.3)


def test_the_layout_in_memory_does_not_count() -> None:
    plain, last = network(), network()
    for parameter in last.parameters():
        if parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    pairs = [moved(one, Muon(one.parameters(), lr=0.01), 3) for one in (plain, last)]
    for one, two in zip(*pairs, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)


def test_it_goes_on_from_its_state() -> None:
    whole, cut = network(), network()
    expected = moved(whole, Muon(whole.parameters(), lr=0.01), 4)
    first = Muon(cut.parameters(), lr=0.01)
    moved(cut, first, 2)
    second = Muon(cut.parameters(), lr=0.01)
    second.load_state_dict(first.state_dict())
    for one, two in zip(expected, moved(cut, second, 2, first=2), strict=True):
        assert torch.equal(one, two)


class Wide(Duel):
    """The generator has a matrix that Muon moves."""

    def __init__(self) -> None:
        super().__init__(plain=True)
        torch.manual_seed(3)
        hidden = (nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
        self.networks["generator"] = nn.Sequential(*hidden, nn.Flatten(0))


def test_a_training_by_muon_learns_and_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    chosen = plan(optimizer="muon", steps=60, learning_rate=0.1)
    whole = train(tmp_path / "whole", chosen, Wide())
    first, last = (whole.history[i]["validation/error"] for i in (0, -1))
    assert last < 0.5 * first
    calls = iter(range(10_000))

    def cutting(rng: np.random.Generator, index: int) -> dict[str, Any]:
        if next(calls) == 4 * 33:
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(rng, index)

    data = SeededSamples(cutting, 0)
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", chosen, Wide(), data)
    resumed = train(tmp_path / "cut", chosen, Wide(), data)
    # each step's samples were drawn once
    assert next(calls) == 4 * 60
    for name, values in whole.weights["generator"].items():
        assert np.array_equal(values, resumed.weights["generator"][name])
