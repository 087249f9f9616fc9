"""Artefacts in the air: planted ones, by hand, and the density written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluate import artefacts

SHAPE = (40, 44, 48)


def scan(seed: int = 0, sigma: float = 10.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A bright ball in Rayleigh noise, where it is, and the rest."""
    z, y, x = np.ogrid[:40, :44, :48]
    ball = (z - 20) ** 2 + (y - 22) ** 2 + (x - 24) ** 2 < 12**2
    noise = np.hypot(*np.random.default_rng(seed).normal(0, sigma, (2, *SHAPE)))
    return np.where(ball, 1000.0, noise), ball, ~ball


def test_clean_air_has_no_artefacts() -> None:
    image, head, air = scan()
    assert not artefacts.artefact_mask(image, head, air).any()


def test_a_planted_ghost_is_found_voxel_for_voxel() -> None:
    image, head, air = scan()
    ghost = np.zeros(SHAPE, dtype=bool)
    ghost[:3, 4:9, 5:10] = True  # a box, whose edges the opening takes
    image[ghost] = 600.0
    found = artefacts.artefact_mask(image, head, air)
    cross = [(0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    expected = np.zeros(SHAPE, dtype=bool)
    for place in np.argwhere(ghost):
        around = [place + np.array(step) for step in cross]
        if all((p >= 0).all() and ghost[tuple(p)] for p in around):
            for p in around:
                expected[tuple(p)] = True
    assert expected.sum() > 10
    np.testing.assert_array_equal(found, expected)
    assert artefacts.qi1(found, air) == pytest.approx(expected.sum() / air.sum())


def test_beside_the_head_nothing_counts_and_single_voxels_neither() -> None:
    image, head, air = scan()
    image[18:23, 20:25, 36:39] = 600.0  # at most 3 voxels from the head, of some 35
    image[2, 2, 2] = 600.0
    found = artefacts.artefact_mask(image, head, air)
    assert not found[2, 2, 2]
    assert not found[18:23, 20:25, :38].any()


def test_artefacts_do_not_depend_on_the_scale() -> None:
    image, head, air = scan()
    image[:4, 4:9, 5:10] = 400.0
    plain, scaled = (artefacts.artefact_mask(k * image, head, air) for k in (1.0, 0.01))
    assert plain.any()
    np.testing.assert_array_equal(plain, scaled)


def test_no_air_or_an_empty_background() -> None:
    image, head, air = scan()
    nothing = np.zeros(SHAPE, dtype=bool)
    assert math.isnan(artefacts.qi1(nothing, nothing))
    assert not artefacts.artefact_mask(image, head, nothing).any()
    assert not artefacts.artefact_mask(image, nothing, air).any()
    assert not artefacts.artefact_mask(image * head, head, air).any()
    assert math.isnan(artefacts.qi2(image, nothing))
    assert math.isnan(artefacts.qi2(image * head, air))


def test_too_few_voxels_or_nearly_all_zero_have_no_fit() -> None:
    image = scan()[0]
    few = np.zeros(SHAPE, dtype=bool)
    few[0, 0, :40] = True
    assert math.isnan(artefacts.qi2(image, few))
    sparse = np.zeros((100, 100, 101))
    sparse.ravel()[:1000] = 5.0
    assert math.isnan(artefacts.qi2(sparse, np.ones(sparse.shape, dtype=bool)))


@pytest.mark.parametrize("levels", [None, 1.0])
def test_density_is_the_mean_of_one_gaussian_a_value(levels: float | None) -> None:
    values = np.random.default_rng(0).rayleigh(33.0, 3000)
    if levels:
        values = np.round(values / 7.3) * 7.3  # whole numbers, scaled
    kernel = stats.norm.pdf(artefacts.GRID[:, None], values[None], artefacts.BANDWIDTH)
    expected = kernel.mean(axis=1)
    np.testing.assert_allclose(artefacts.smoothed(values), expected, atol=1e-4 * expected.max())


def test_misfit_written_out() -> None:
    image, _, air = scan(seed=1)
    air[2:] = False
    values = image[air]
    values = values * 100 / np.percentile(values, 99)
    density = np.exp(-((artefacts.GRID[:, None] - values[None, :]) ** 2) / 32).mean(axis=1)
    density /= 4 * math.sqrt(2 * math.pi)
    fitted = stats.chi2.pdf(artefacts.GRID, *stats.chi2.fit(values, 32))
    last = max(np.flatnonzero(density > density.max() / 2))
    expected = np.abs(density - fitted)[last + 1 :].mean()
    assert artefacts.qi2(image, air) == pytest.approx(expected, rel=1e-3)
    assert artefacts.qi2(0.02 * image, air) == pytest.approx(expected, rel=1e-2)


def test_a_ghost_in_the_air_raises_the_misfit() -> None:
    image, _, air = scan()
    air[8:] = False
    clean = artefacts.qi2(image, air)
    image[:, :10] += 60.0
    assert artefacts.qi2(image, air) > 2 * clean


def test_a_large_sample_is_drawn_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    image, _, air = scan()
    air[8:] = False
    whole = artefacts.qi2(image, air)
    monkeypatch.setattr(artefacts, "MAX_VOXELS", 8_000)
    first, second = (artefacts.qi2(image, air) for _ in range(2))
    assert first == second != whole
    assert first == pytest.approx(whole, rel=0.5)
