"""Similarity: answers worked out by hand, invariance, regions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluate.similarity import fit_linear, ncc, nrmse, psnr, similarity
from pipeline.evaluate.structure import ssim


def ramp() -> np.ndarray:
    return np.linspace(0, 1, 1000).reshape(10, 10, 10)


def everywhere(like: np.ndarray) -> np.ndarray:
    return np.ones(like.shape, dtype=bool)


def noisy(sigma: float, seed: int = 0) -> np.ndarray:
    return ramp() + np.random.default_rng(seed).normal(0, sigma, (10, 10, 10))


def test_psnr_and_nrmse_by_hand() -> None:
    reference = np.array([[[0.0, 4.0]]])
    image = np.array([[[1.0, 3.0]]])  # error 1 everywhere, range 4
    mask = everywhere(reference)
    assert psnr(image, reference, mask) == pytest.approx(20 * math.log10(4))
    assert nrmse(image, reference, mask) == pytest.approx(0.25)


def test_psnr_looks_at_the_region_only() -> None:
    reference, image = ramp(), ramp() + 0.1
    mask = everywhere(reference)
    mask[0] = False
    image[0] = 1e6
    assert nrmse(image, reference, mask) == pytest.approx(0.1 / (1 - reference[1:].min()))


def test_fit_finds_gain_and_offset() -> None:
    gain, offset = fit_linear(ramp() * 4 - 3, ramp(), everywhere(ramp()))
    assert (gain, offset) == pytest.approx((0.25, 0.75))


def test_fit_of_a_constant_image_is_the_mean() -> None:
    reference = ramp()
    assert fit_linear(np.full_like(reference, 7), reference, everywhere(reference)) == (
        0.0,
        pytest.approx(reference.mean()),
    )


@given(st.floats(0.1, 50), st.floats(-20, 20), st.booleans())
def test_measures_do_not_depend_on_the_scale(gain: float, offset: float, inverted: bool) -> None:
    image, reference = noisy(0.05), ramp()
    mask = everywhere(reference)
    sign = -1 if inverted else 1
    scaled = similarity(sign * gain * image + offset, reference, mask)
    plain = similarity(image, reference, mask)
    for name in ("psnr", "ssim", "nrmse"):
        assert scaled[name] == pytest.approx(plain[name], rel=1e-6)
    assert scaled["ncc"] == pytest.approx(sign * plain["ncc"])


def test_more_noise_is_worse() -> None:
    reference = ramp()
    mask = everywhere(reference)
    less, more = (similarity(noisy(s), reference, mask) for s in (0.02, 0.2))
    assert less["psnr"] > more["psnr"]
    assert less["ssim"] > more["ssim"]
    assert less["ncc"] > more["ncc"]
    assert less["nrmse"] < more["nrmse"]


def test_psnr_of_known_noise() -> None:
    rng = np.random.default_rng(1)
    reference = rng.random((40, 40, 40))
    image = reference + rng.normal(0, 0.01, reference.shape)
    assert psnr(image, reference, everywhere(reference)) == pytest.approx(40, abs=0.1)


def test_identical_images() -> None:
    values = similarity(ramp(), ramp(), everywhere(ramp()), fit=False)
    assert values["psnr"] == math.inf
    assert values["ssim"] == pytest.approx(1)
    assert values["ncc"] == pytest.approx(1)
    assert values["nrmse"] == 0


@pytest.mark.parametrize("fit", [False, True])
def test_constant_reference_is_undefined(fit: bool) -> None:
    reference = np.ones((10, 10, 10))
    values = similarity(ramp(), reference, everywhere(reference), fit=fit)
    assert all(math.isnan(value) for value in values.values())


def test_ssim_of_a_shift_by_hand() -> None:
    # variances and covariance are those of the same image: only the luminance differs
    reference = np.full((12, 12, 12), 1.0)
    reference[0, 0, 0] = 0.0  # far from the region; gives the range 1
    image = reference + 0.5
    mask = np.zeros(reference.shape, dtype=bool)
    mask[8:, 8:, 8:] = True
    mask[0, 0, 0] = True
    value = ssim(image, reference, mask)
    c1 = 0.01**2
    luminance = (2 * 1.5 * 1.0 + c1) / (1.5**2 + 1.0**2 + c1)
    inner = (value * mask.sum() - _corner(image, reference)) / (mask.sum() - 1)
    assert inner == pytest.approx(luminance, abs=1e-9)


def _corner(image: np.ndarray, reference: np.ndarray) -> float:
    """Similarity of the corner voxel, from the same window written out."""
    x = np.arange(-5, 6)
    kernel = np.exp(-(x**2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    weights = kernel[:, None, None] * kernel[None, :, None] * kernel[None, None, :]
    a, b = (np.pad(v, 5, mode="reflect")[:11, :11, :11] for v in (image, reference))
    mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
    var_a = (weights * a * a).sum() - mean_a**2
    var_b = (weights * b * b).sum() - mean_b**2
    covariance = (weights * a * b).sum() - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return float(luminance * (2 * covariance + c2) / (var_a + var_b + c2))


def test_ssim_of_a_box_equals_that_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    reference = rng.random((30, 30, 30))
    image = reference + rng.normal(0, 0.1, reference.shape)
    mask = np.zeros(reference.shape, dtype=bool)
    mask[12:18, 12:18, 12:18] = True
    part = tuple(slice(4, 26) for _ in range(3))
    assert ssim(image, reference, mask) == pytest.approx(
        ssim(image[part], reference[part], mask[part])
    )


@pytest.mark.parametrize("measure", [psnr, nrmse, ncc, ssim])
def test_empty_region_is_refused(measure: object) -> None:
    with pytest.raises(ValueError, match="empty"):
        measure(ramp(), ramp(), np.zeros((10, 10, 10), dtype=bool))  # type: ignore[operator]


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ"):
        similarity(ramp(), ramp()[:5], everywhere(ramp()))
