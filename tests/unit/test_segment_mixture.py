"""The mixture model on data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.segment import mixture

SPACING = (1.0, 1.0, 1.0)
MEANS = np.array([0.2, 0.6, 0.9], np.float32)


def blocks(noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three slabs of tissue: intensities, true classes and a full mask, (z, y, x)."""
    truth = np.repeat(np.arange(3), 6)[:, None, None] * np.ones((1, 16, 16), int)
    random = np.random.default_rng(seed)
    values = MEANS[truth] + random.normal(0, noise, truth.shape)
    return values.astype(np.float32), truth, np.ones(truth.shape, bool)


def soft_prior(truth: np.ndarray, certainty: float) -> np.ndarray:
    share = np.full((truth.size, 3), (1 - certainty) / 2, np.float32)
    share[np.arange(truth.size), truth.ravel()] = certainty
    return share


def test_separate_tissues_are_found_exactly() -> None:
    values, truth, mask = blocks(0.02)
    # slabs one behind the other look like a slope of brightness: no bias field here
    options = mixture.Settings(bias_order=0)
    found = mixture.fit(values[mask][:, None], soft_prior(truth, 0.5), mask, SPACING, options)
    assert np.array_equal(found.posterior.argmax(axis=1), truth.ravel())
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1.0, atol=1e-5)


def test_field_makes_noisy_tissues_coherent() -> None:
    values, truth, mask = blocks(0.15)
    prior = soft_prior(truth, 0.4)
    data = values[mask][:, None]
    wrong = []
    for mrf in (0.0, 0.5):
        options = mixture.Settings(mrf=mrf, mixed=(), bias_order=0)
        found = mixture.fit(data, prior, mask, SPACING, options)
        wrong.append(float((found.posterior.argmax(axis=1) != truth.ravel()).mean()))
    assert wrong[1] < 0.5 * wrong[0]


def test_mixed_voxel_belongs_to_the_tissue_it_holds_more_of() -> None:
    random = np.random.default_rng(1)
    pure = np.repeat(MEANS, 600) + random.normal(0, 0.02, 1800)
    shares = np.linspace(0.02, 0.98, 600)
    mixed = shares * MEANS[0] + (1 - shares) * MEANS[1] + random.normal(0, 0.02, 600)
    data = np.concatenate([pure, mixed]).astype(np.float32)[:, None]
    mask = np.ones((24, 10, 10), bool)
    prior = np.full((2400, 3), 1 / 3, np.float32)
    start = np.full((2400, 3), 0.1, np.float32)
    start[np.arange(1800), np.repeat(np.arange(3), 600)] = 0.8
    start[1800:, :2] = 0.45
    options = mixture.Settings(mrf=0.0, bias_order=0)
    found = mixture.fit(data, prior, mask, SPACING, options, start).posterior[1800:].argmax(axis=1)
    clear = np.abs(shares - 0.5) > 0.12
    assert np.array_equal(found[clear], np.where(shares > 0.5, 0, 1)[clear])


def test_bias_field_is_taken_up() -> None:
    random = np.random.default_rng(2)
    truth = random.integers(0, 3, (20, 20, 20))
    field = np.exp(0.3 * np.linspace(-1, 1, 20))[:, None, None]
    values = (MEANS[truth] * field + random.normal(0, 0.02, truth.shape)).astype(np.float32)
    mask = np.ones(truth.shape, bool)
    options = mixture.Settings(mrf=0.0, mixed=(), bias_order=2)
    found = mixture.fit(values[mask][:, None], soft_prior(truth, 0.5), mask, SPACING, options)
    assert (found.posterior.argmax(axis=1) == truth.ravel()).mean() > 0.995
    left = found.data[:, 0].reshape(truth.shape) / MEANS[truth]
    slopes = [float(np.median(left[z])) for z in (0, 19)]
    assert slopes[1] / slopes[0] == pytest.approx(1.0, abs=0.05)


def test_order_zero_leaves_the_data_alone() -> None:
    values, truth, mask = blocks(0.05)
    options = mixture.Settings(bias_order=0)
    found = mixture.fit(values[mask][:, None], soft_prior(truth, 0.5), mask, SPACING, options)
    assert np.array_equal(found.data[:, 0], values[mask])


def test_polynomial_terms_by_hand() -> None:
    terms = mixture.polynomial(np.ones((3, 3, 3), bool), 1)
    assert terms.shape == (27, 3)
    # order: x, y, z; the first voxel lies at -1, -1, -1, the last at 1, 1, 1
    np.testing.assert_allclose(terms[0], [-1, -1, -1])
    np.testing.assert_allclose(terms[-1], [1, 1, 1])
    np.testing.assert_allclose(terms[1], [0, -1, -1], atol=1e-7)


def test_neighbours_by_hand() -> None:
    mask = np.ones((1, 1, 3), bool)
    posterior = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    found = mixture.neighbours(posterior, mask, SPACING)
    np.testing.assert_allclose(found, [[0, 1], [2, 0], [0, 1]])
    # along x the voxels lie twice as far apart as along y: a neighbour counts half
    found = mixture.neighbours(posterior, mask, (2.0, 1.0, 1.0))
    np.testing.assert_allclose(found, [[0, 0.5], [1, 0], [0, 0.5]])


def test_two_fits_agree() -> None:
    values, truth, mask = blocks(0.1)
    prior = soft_prior(truth, 0.5)
    data = values[mask][:, None]
    first = mixture.fit(data, prior, mask, SPACING, mixture.Settings())
    second = mixture.fit(data, prior, mask, SPACING, mixture.Settings())
    assert np.array_equal(first.posterior, second.posterior)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.1, 50.0), st.integers(0, 5))
def test_brightness_does_not_matter(factor: float, seed: int) -> None:
    values, truth, mask = blocks(0.05, seed)
    prior = soft_prior(truth, 0.5)
    options = mixture.Settings(iterations=5, bias_order=0)
    data = values[mask][:, None]
    one = mixture.fit(data, prior, mask, SPACING, options).posterior
    other = mixture.fit(data * np.float32(factor), prior, mask, SPACING, options).posterior
    assert (one.argmax(axis=1) == other.argmax(axis=1)).mean() > 0.999
