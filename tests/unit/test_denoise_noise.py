"""Noise: the Rice distribution's moments, and the level of images with known noise."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.denoise import noise, rician
from pipeline.errors import VoxelwayError


def make(values: np.ndarray, spacing: tuple[float, float, float] = (1, 1, 1)) -> sitk.Image:
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing(spacing)
    return image


def head(side: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Clean image of three tissues with folds, about 0..1, and its mask."""
    z, y, x = np.mgrid[:side, :side, :side] - side / 2 + 0.5
    radius = np.sqrt(x**2 + y**2 + z**2)
    folds = np.sin(x / 4) + np.sin(y / 5) + np.sin(z / 6)
    inside = radius < side * 0.42
    values = np.where(folds > 0.3, 1.0, np.where(folds > -0.8, 0.7, 0.25))
    return values * inside, inside


def rice(values: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    real, imaginary = np.random.default_rng(seed).normal(0, sigma, (2, *values.shape))
    return np.hypot(values + real, imaginary)


def test_moments_without_signal_are_rayleighs() -> None:
    mean, std = rician.moments(np.zeros(1))
    assert mean[0] == pytest.approx(np.sqrt(np.pi / 2))
    assert std[0] == pytest.approx(np.sqrt(2 - np.pi / 2))


def test_moments_of_a_strong_signal_are_gaussian() -> None:
    mean, std = rician.moments(np.array([30.0]))
    # the mean exceeds the signal by about sigma² / 2A
    assert mean[0] == pytest.approx(30.0 + 1 / 60, abs=1e-4)
    assert std[0] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("signal", [0.0, 1.0, 2.0, 4.0, 12.0, 60.0])
def test_stabilised_noise_has_deviation_one_and_no_bias(signal: float) -> None:
    sample = rice(np.full(200_000, signal), 1.0)
    stable = rician.stabilise(sample)
    assert float(stable.std()) == pytest.approx(1.0, abs=0.13)
    restored = rician.unstabilise(np.array([stable.mean()]))
    # where the noise hides the signal, a small difference of means is a larger one of signals
    assert float(restored[0]) == pytest.approx(signal, abs=0.02 if signal >= 1 else 0.15)


@settings(max_examples=40, deadline=None)
@given(signal=st.floats(0.5, 30.0), sigma=st.floats(0.01, 100.0))
def test_sigma_comes_back_from_the_spread(signal: float, sigma: float) -> None:
    mean, std = rician.moments(np.array([signal]))
    found = rician.sigma_from_spread(float(std[0]) * sigma, float(mean[0]) * sigma, rounds=200)
    assert found == pytest.approx(sigma, rel=0.01)


@pytest.mark.parametrize("percent", [1, 2, 3, 5, 9])
def test_known_rician_noise_is_found_in_a_head(percent: int) -> None:
    values, inside = head()
    noisy = make(rice(values, percent / 100))
    found = noise.estimate(noisy, make(inside.astype(float)))
    assert found.model == "rician"
    assert found.sigma == pytest.approx(percent / 100, rel=0.12)
    assert found.background == pytest.approx(percent / 100, rel=0.12)


def test_emptied_background_does_not_matter() -> None:
    values, inside = head()
    found = noise.estimate(make(rice(values, 0.04) * inside), make(inside.astype(float)))
    assert found.sigma == pytest.approx(0.04, rel=0.12)
    assert found.background is None


def test_weak_signal_is_corrected_for_the_rice_distribution() -> None:
    # signal of 1.5 sigma: the magnitude's deviation is 17 % below sigma
    values = np.full((32, 32, 32), 1.5)
    found = noise.estimate(make(rice(values, 1.0)), make(np.ones_like(values)))
    assert found.sigma == pytest.approx(1.0, rel=0.04)


def test_thick_slices_are_measured_in_the_plane() -> None:
    rng = np.random.default_rng(1)
    # every slice another level: only the axis across is rough
    values = np.ones((20, 40, 40)) + np.arange(20)[:, None, None] % 2
    image = make(values + rng.normal(0, 0.05, values.shape), (1, 1, 5))
    assert noise.fine_axes(image) == (1, 2)
    found = noise.estimate(image, make(np.ones_like(values), (1, 1, 5)))
    assert found.sigma == pytest.approx(0.05, rel=0.05)


def test_negative_values_mean_gaussian_noise() -> None:
    values = np.random.default_rng(0).normal(0, 1, (24, 24, 24))
    found = noise.estimate(make(values), make(np.ones_like(values)))
    assert found.model == "gaussian"
    assert found.sigma == pytest.approx(1.0, rel=0.05)


def test_percent_is_of_the_robust_range() -> None:
    values = np.zeros((40, 40, 40))
    values[20:] = 200.0
    values += 100.0
    noisy = values + np.random.default_rng(0).normal(0, 4, values.shape)
    found = noise.estimate(make(noisy), make(np.ones_like(values)), "gaussian")
    # the range is 200 and a little over two deviations at each end
    assert found.percent == pytest.approx(100 * 4 / 218, rel=0.06)


def test_too_small_a_mask_is_refused() -> None:
    values, _ = head()
    mask = np.zeros_like(values)
    mask[20:26, 20:26, 20:26] = 1
    with pytest.raises(VoxelwayError) as caught:
        noise.estimate(make(values), make(mask))
    assert caught.value.code == "E-SIGNAL"


def test_foreground_is_what_is_not_empty() -> None:
    values, inside = head()
    stripped = noise.foreground(make(rice(values, 0.02) * inside))
    assert np.array_equal(sitk.GetArrayFromImage(stripped) > 0, inside)
    whole = sitk.GetArrayFromImage(noise.foreground(make(rice(values + 0.5 * inside, 0.02)))) > 0
    assert (whole == inside).mean() > 0.99


def test_a_faint_halo_is_not_foreground() -> None:
    values, inside = head()
    near = ndimage.binary_dilation(inside, iterations=4)
    halo = np.where(inside, values + 0.5, 0.01 * near)
    assert (near & ~inside).sum() > 0.3 * inside.sum() and not near.all()
    found = sitk.GetArrayFromImage(noise.foreground(make(halo))) > 0
    assert np.array_equal(found, inside)
    # few faint voxels belong to what is left
    few = values + 0.5 * inside
    few[tuple(np.argwhere(inside)[:40].T)] = 0.001
    found = sitk.GetArrayFromImage(noise.foreground(make(few))) > 0
    assert np.array_equal(found, inside)


def test_air_with_zeros_in_it_is_not_foreground() -> None:
    values, inside = head()
    # as whole numbers: the level of the noise in air is about one of them
    magnitude = np.round(rice(np.where(inside, values + 0.5, 0.0), 0.02) / 0.02 * 0.6)
    assert 0.15 < (magnitude == 0)[~inside].mean() < 0.6
    found = sitk.GetArrayFromImage(noise.foreground(make(magnitude))) > 0
    assert (found == inside).mean() > 0.99


def test_two_stripped_slices_are_their_own_foreground() -> None:
    values, inside = head()
    middle = slice(len(values) // 2, len(values) // 2 + 2)
    found = noise.foreground(make((rice(values, 0.02) * inside)[middle]))
    assert np.array_equal(sitk.GetArrayFromImage(found) > 0, inside[middle])
