"""Shares of classes in boxes: the same arithmetic as on all voxels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.segment.cascade import boxed
from pipeline.segment.cascade.boxed import Boxed


def drawn(seed: int) -> Tensor:
    """A background and three classes in corners of a volume, one of them nowhere."""
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand((4, 6, 7, 8), generator=generator)
    kept = torch.zeros_like(shares)
    kept[0] = shares[0]
    kept[1, 1:4, 2:5, 3:8] = shares[1, 1:4, 2:5, 3:8]
    kept[2, 3:, :4] = shares[2, 3:, :4]
    return kept


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_what_is_kept_comes_back(seed: int) -> None:
    shares = drawn(seed)
    kept = Boxed.of(shares, 0.0)
    assert torch.equal(kept.dense(), shares)
    assert torch.allclose(kept.sum(), shares.sum(dim=0))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.tuples(*[st.integers(1, 4)] * 3))
def test_a_lattice_is_every_nth_voxel(seed: int, steps: tuple[int, int, int]) -> None:
    shares = drawn(seed)
    a, b, c = steps
    found = Boxed.of(shares, 0.0).part(steps)
    assert torch.equal(found.dense(), shares[:, ::a, ::b, ::c])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_softmax_knows_no_class_outside_its_box(seed: int) -> None:
    scores = 20.0 * drawn(seed)
    kept = Boxed.of(scores, 0.0)
    outside = torch.full_like(scores, -torch.inf)
    for number, (box, one) in enumerate(kept):
        outside[number][box] = one
    wanted = torch.softmax(outside, dim=0)
    assert torch.allclose(boxed.softmax(kept).dense(), wanted, atol=1e-6)


def test_a_box_has_a_rim_as_far_as_the_volume_goes() -> None:
    mask = np.zeros((6, 7, 8), np.bool_)
    mask[2, 3:5, 7] = True
    assert boxed.around(mask) == (slice(2, 3), slice(3, 5), slice(7, 8))
    assert boxed.around(mask, 2) == (slice(0, 5), slice(1, 7), slice(5, 8))
    assert boxed.around(np.zeros_like(mask), 2) == (slice(0, 0),) * 3


def test_the_background_fills_the_volume_whatever_it_holds() -> None:
    kept = Boxed.of(torch.zeros((2, 3, 4, 5)), 0.1)
    assert kept.boxes[0] == (slice(0, 3), slice(0, 4), slice(0, 5))
    assert kept.values[1].numel() == 0 and float(kept.sum().sum()) == pytest.approx(0.0)
