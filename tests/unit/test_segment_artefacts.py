"""Artefacts of training samples: ringing, spikes, low resolution, boxes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline import images
from pipeline.segment.learning import artefacts
from pipeline.segment.learning.cases import Case
from pipeline.segment.learning.scene import Scene, Variety
from tests.unit.segment_cases import label_map, picture

EDGE = 24
KINDS = {
    "gibbs": artefacts.ringing, "spikes": artefacts.spikes, "coarse": artefacts.few_voxels,
    "cutout": artefacts.cutout,
}  # fmt: skip


def block() -> Any:
    values = np.zeros((EDGE,) * 3, np.float32)
    values[8:16, 8:16, 8:16] = 1.0
    return values


def spectrum(values: Any) -> Any:
    return np.abs(np.fft.fftshift(np.fft.fftn(values)))


@pytest.mark.parametrize("name", list(KINDS))
def test_each_changes_the_image_and_repeats_itself(name: str) -> None:
    values = block()
    one, two = (KINDS[name](values, np.random.default_rng(3)) for _ in range(2))
    assert one.dtype == np.float32 and one.shape == values.shape and np.isfinite(one).all()
    assert np.array_equal(one, two) and not np.array_equal(one, values)
    assert not np.array_equal(one, KINDS[name](values, np.random.default_rng(4)))
    assert np.array_equal(values, block()), "the input stays as it is"


def test_ringing_cuts_high_frequencies_and_overshoots() -> None:
    found = artefacts.ringing(block(), np.random.default_rng(0))
    assert spectrum(found)[0, 0, 0] < 1e-3, "the corner of k-space is empty"
    assert spectrum(found)[12, 12, 12] == pytest.approx(512.0, rel=1e-4), "the mean stays"
    assert found.max() > 1.02 and found.min() < -0.02


def test_a_spike_is_one_stripe() -> None:
    values = block()
    found = artefacts.spikes(values, np.random.default_rng(1)) - values
    height = spectrum(found)
    # a real image has a spike and its mirror; all else is nothing beside them
    assert (height > 0.3 * height.max()).sum() in (1, 2)
    low, high = artefacts.SPIKE
    assert 0.2 * low < np.abs(found).max() < 2.0 * high


def test_few_voxels_are_blocks_that_were_smoothed() -> None:
    noise = np.random.default_rng(0).normal(size=(EDGE,) * 3).astype(np.float32)
    found = artefacts.few_voxels(noise, np.random.default_rng(2))
    assert np.abs(np.diff(found)).mean() < np.abs(np.diff(noise)).mean()


def test_artefacts_that_are_not_asked_for_draw_no_number() -> None:
    """A scene is the same whether a probability is 0 or its artefact is not known."""
    labels = label_map(0)
    case = Case("a", labels, (picture(labels, 0),), "")
    grid = images.spaced_grid(labels, (2.0, 2.0, 2.0))
    usual = replace(Variety.none(), noise=0.1)

    def drawn(variety: Variety) -> Any:
        rng = np.random.default_rng(5)
        pairs, learned = np.arange(10), np.array([1, 2])
        return Scene(case, rng, variety, None, pairs, learned).image(grid, rng)

    plain = drawn(usual)
    assert np.array_equal(plain, drawn(usual))
    for name in ("gibbs", "spikes", "coarse"):
        assert not np.array_equal(plain, drawn(replace(usual, **{name: 1.0})))
    # never drawn, but the number that decides it is
    assert not np.array_equal(plain, drawn(replace(usual, gibbs=1e-9)))
