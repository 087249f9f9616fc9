"""Multi-scale structure and gradients: windows written out, edge cases, what must hold."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import ndimage

from pipeline.evaluate import structure
from pipeline.evaluate.structure import gradient_similarity, halved, ssim, structural

SHAPE = (20, 22, 27)


def pair(seed: int, sigma: float = 0.1, shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    reference = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    reference /= np.ptp(reference)
    image = reference + sigma * rng.normal(size=shape) * np.ptp(reference)
    mask = ndimage.gaussian_filter(rng.normal(size=shape), 3) > 0
    return image, reference, mask


def windows(image: np.ndarray, reference: np.ndarray, c1: float, c2: float) -> np.ndarray:
    """(whole, contrast and structure) of each voxel, from a dense 11-wide window."""
    x = np.arange(-5, 6)
    kernel = np.exp(-(x**2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    weights = kernel[:, None, None] * kernel[None, :, None] * kernel[None, None, :]

    def mean(values: np.ndarray) -> np.ndarray:
        return ndimage.correlate(values, weights, mode="mirror")

    mean_a, mean_b = mean(image), mean(reference)
    # weighted moments about the means, not differences of means of squares
    var_a = np.maximum(mean(image**2) - mean_a**2, 0)
    var_b = np.maximum(mean(reference**2) - mean_b**2, 0)
    covariance = mean(image * reference) - mean_a * mean_b
    contrast = (2 * covariance + c2) / (var_a + var_b + c2)
    whole = contrast * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return np.stack([whole, contrast])


def pooled(values: np.ndarray) -> np.ndarray:
    size = [n // 2 for n in values.shape]
    result = np.zeros(size)
    for corner in itertools.product((0, 1), repeat=3):
        steps = zip(corner, size, strict=True)
        result += values[tuple(slice(c, c + 2 * n, 2) for c, n in steps)]
    return result / 8


@pytest.mark.parametrize("seed", range(3))
def test_scales_multiply_as_in_the_paper(seed: int) -> None:
    image, reference, mask = pair(seed)
    weights = (0.2, 0.3, 0.5)
    span = np.ptp(reference[mask])
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    expected, levels = 1.0, (image, reference, mask.astype(float))
    for step, weight in enumerate(weights):
        whole, contrast = (m[levels[2] >= 0.5].mean() for m in windows(*levels[:2], c1, c2))
        expected *= (whole if step == len(weights) - 1 else contrast) ** weight
        # the region is halved from the region, not from its shares
        levels = tuple(map(pooled, (*levels[:2], (levels[2] >= 0.5).astype(float))))
    found = structural(image, reference, mask, weights)
    assert found["ms_ssim"] == pytest.approx(expected, rel=1e-9)
    assert found["ssim"] == ssim(image, reference, mask)


def test_one_scale_is_ssim() -> None:
    image, reference, mask = pair(0)
    found = structural(image, reference, mask, (1.0,))
    assert found["ms_ssim"] == pytest.approx(found["ssim"])


def test_the_exponents_add_up_to_one() -> None:
    assert sum(structure.MS_SSIM_WEIGHTS) == pytest.approx(1, abs=2e-4)


def test_a_coarse_error_hurts_several_scales_more_than_noise_does() -> None:
    _, reference, _ = pair(0, shape=(32, 32, 32))
    mask = np.ones(reference.shape, dtype=bool)
    rng = np.random.default_rng(1)
    noisy = reference + 0.1 * rng.normal(size=reference.shape)
    found = structural(noisy, reference, mask)
    assert found["ms_ssim"] > found["ssim"]  # the mean of 8 voxels has less noise
    assert structural(noisy + 0.3 * noisy[::-1], reference, mask)["ms_ssim"] < found["ms_ssim"]


def test_identical_images() -> None:
    _, reference, mask = pair(0)
    found = structural(reference, reference, mask, (0.5, 0.5))
    assert found == {"ssim": pytest.approx(1), "ms_ssim": pytest.approx(1)}
    found = gradient_similarity(reference, reference, mask)
    assert found == {"gms": pytest.approx(1), "gmsd": pytest.approx(0, abs=1e-9)}


def test_inverted_structure_counts_as_zero() -> None:
    texture = np.random.default_rng(0).normal(size=SHAPE)
    mask = np.ones(SHAPE, dtype=bool)
    found = structural(50 - texture, 50 + texture, mask, (0.5, 0.5))
    assert found["ssim"] < 0
    assert found["ms_ssim"] == 0


@pytest.mark.parametrize("shape", [(15, 40, 40), (40, 40, 2)])
def test_too_few_voxels_for_the_scales(shape: tuple[int, int, int]) -> None:
    image, reference, _ = pair(0, shape=shape)
    found = structural(image, reference, np.ones(shape, dtype=bool))
    assert math.isnan(found["ms_ssim"])
    assert math.isfinite(found["ssim"])


def test_a_region_that_is_lost_at_the_coarsest_scale() -> None:
    image, reference, _ = pair(0, shape=(32, 32, 32))
    mask = np.zeros(image.shape, dtype=bool)
    mask[5, 5, 5] = mask[9, 9, 9] = True
    found = structural(image, reference, mask)
    assert math.isnan(found["ms_ssim"])
    assert math.isfinite(found["ssim"])


def test_one_voxel_and_a_constant_reference_have_no_range() -> None:
    image, reference, _ = pair(0)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[10, 10, 10] = True
    for region, target in ((mask, reference), (~mask, np.ones(SHAPE))):
        values = {
            **structural(image, target, region),
            **gradient_similarity(image, target, region),
        }
        assert set(values) == {"ssim", "ms_ssim", "gms", "gmsd"}
        assert all(math.isnan(value) for value in values.values())


@pytest.mark.parametrize("measure", [structural, gradient_similarity])
def test_empty_region_is_refused(measure: object) -> None:
    image, reference, mask = pair(0)
    with pytest.raises(ValueError, match="empty"):
        measure(image, reference, mask & ~mask)  # type: ignore[operator]


def test_halving_drops_an_odd_plane() -> None:
    values = np.arange(3 * 4 * 5, dtype=float).reshape(3, 4, 5)
    np.testing.assert_allclose(halved(values), pooled(values))
    assert halved(values).shape == (1, 2, 2)


def slopes(values: np.ndarray, place: tuple[int, ...]) -> float:
    """Prewitt's gradient at a voxel: mean difference of the planes on either side, mirrored."""
    padded = np.pad(values, 1, mode="reflect")
    block = padded[tuple(slice(p, p + 3) for p in place)]
    steps = [np.take(block, 2, axis).mean() - np.take(block, 0, axis).mean() for axis in range(3)]
    return math.hypot(*steps)


@pytest.mark.parametrize("seed", range(2))
def test_gradients_written_out(seed: int) -> None:
    image, reference, mask = pair(seed, shape=(7, 8, 9))
    constant = 0.0026 * np.ptp(reference[mask]) ** 2
    values = []
    for place in np.argwhere(mask):
        a, b = (slopes(v, tuple(place)) for v in (image, reference))
        values.append((2 * a * b + constant) / (a * a + b * b + constant))
    found = gradient_similarity(image, reference, mask)
    assert found["gms"] == pytest.approx(np.mean(values))
    assert found["gmsd"] == pytest.approx(np.std(values))


def test_gradients_of_two_ramps_by_hand() -> None:
    # slopes 1 and 2 give magnitudes 2 and 4; the range of the reference within is 2 * 7
    ramp = np.mgrid[:10, :10, :10][2].astype(float)
    mask = np.zeros(ramp.shape, dtype=bool)
    mask[1:9, 1:9, 1:9] = True
    constant = 0.0026 * 14**2
    expected = (2 * 2 * 4 + constant) / (4 + 16 + constant)
    found = gradient_similarity(ramp, 2 * ramp, mask)
    assert found == {"gms": pytest.approx(expected), "gmsd": pytest.approx(0, abs=1e-9)}


def test_blur_lowers_the_similarity_of_gradients() -> None:
    _, reference, mask = pair(0)
    less, more = (ndimage.gaussian_filter(reference, s) for s in (0.6, 2.0))
    better, worse = (gradient_similarity(image, reference, mask) for image in (less, more))
    assert better["gms"] > worse["gms"]
    assert better["gmsd"] < worse["gmsd"]
