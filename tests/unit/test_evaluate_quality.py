"""Quality without a reference: answers worked out by hand, noise of known strength."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.evaluate import quality

RNG = np.random.default_rng(0)


def head(spacing: tuple[float, float, float] = (1, 1, 1)) -> tuple[sitk.Image, np.ndarray]:
    """A bright ball with a dark hole in the dark, and where the ball is."""
    z, y, x = np.ogrid[:40, :44, :48]
    radius = np.sqrt((z - 20.0) ** 2 + (y - 22.0) ** 2 + (x - 24.0) ** 2)
    ball = radius < 15
    values = np.where(ball & (radius > 6), 1.0, 0.05)
    values = values + RNG.normal(0, 0.01, values.shape)
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing(spacing)
    return image, ball


def test_tissue_by_hand() -> None:
    values = np.arange(101, dtype=float).reshape(1, 1, 101)
    found = quality.tissue(values, np.ones(values.shape, dtype=bool))
    assert (found.n, found.median) == (101, 50)
    assert found.mad == pytest.approx(25 / 0.67448975)
    assert found.stdv == pytest.approx(math.sqrt((101**2 - 1) / 12))


def test_too_few_voxels_are_undefined() -> None:
    values = np.ones((5, 5, 5))
    mask = np.zeros(values.shape, dtype=bool)
    mask[0, 0, :5] = True
    assert math.isnan(quality.snr(quality.tissue(values, mask)))


def test_formulas_by_hand() -> None:
    white = quality.Tissue(n=5, median=100, stdv=4, mad=3)
    grey = quality.Tissue(n=5, median=70, stdv=12, mad=7)
    air = quality.Tissue(n=5, median=2, stdv=3, mad=2)
    assert quality.snr(white) == pytest.approx(100 / (4 * math.sqrt(5 / 4)))
    assert quality.cnr(white, grey, air) == pytest.approx(30 / 13)
    assert quality.cjv(white, grey) == pytest.approx(10 / 30)


def test_no_contrast_is_undefined() -> None:
    same = quality.Tissue(5, 1.0, 0.0, 0.0)
    assert math.isnan(quality.cjv(same, same))
    assert math.isnan(quality.cnr(same, same, same))
    assert math.isnan(quality.snr(same))


def test_efc_has_its_ends_at_one_voxel_and_at_a_flat_image() -> None:
    spike = np.zeros((10, 10, 10))
    spike[3, 4, 5] = 7
    assert quality.efc(spike) == pytest.approx(0)
    assert quality.efc(np.full((10, 10, 10), 3.0)) == pytest.approx(1)
    assert math.isnan(quality.efc(np.zeros((4, 4, 4))))


def test_efc_of_two_voxels_by_hand() -> None:
    values = np.array([[[3.0, 4.0, 0.0, 0.0]]])
    entropy = -(0.6 * math.log(0.6) + 0.8 * math.log(0.8))
    assert quality.efc(values) == pytest.approx(entropy / (2 * math.log(2)))


def test_fber_by_hand() -> None:
    values = np.array([[[3.0, 3.0, 1.0, 2.0, 2.0]]])
    inside = np.array([[[True, True, False, False, False]]])
    assert quality.fber(values, inside, ~inside) == pytest.approx(9 / 4)
    assert math.isnan(quality.fber(values, inside, np.zeros_like(inside)))
    assert math.isnan(quality.fber(values * inside, inside, ~inside))


def ramp(sigma: float) -> tuple[sitk.Image, sitk.Image]:
    """A magnitude image with Rician noise, and a mask of all of it."""
    z, y, x = np.mgrid[:33, :32, :31]
    signal = 100.0 + 2.0 * x + y - 3.0 * z
    real, imaginary = RNG.normal(0, sigma, (2, *z.shape))
    image = sitk.GetImageFromArray(np.hypot(signal + real, imaginary).astype(np.float32))
    return image, sitk.Cast(image * 0 + 1, sitk.sitkUInt8)


@pytest.mark.parametrize("sigma", [1.0, 5.0])
def test_noise_level_of_known_noise(sigma: float) -> None:
    image, mask = ramp(sigma)
    span = np.subtract(*np.percentile(sitk.GetArrayFromImage(image), (99.5, 0.5)))
    found = quality.noise_level(image, mask, quality.noise_model(image))
    assert found == pytest.approx(100 * sigma / span, rel=0.05)
    assert quality.noise_level(image * 7, mask, "rician") == pytest.approx(found, rel=1e-3)


def test_noise_level_of_too_little_is_undefined() -> None:
    image, mask = ramp(1.0)
    assert math.isnan(quality.noise_level(image, mask * 0))
    assert math.isnan(quality.noise_level(image * 0 + 1, mask))


def test_noise_model_goes_by_the_sign() -> None:
    image, _ = ramp(1.0)
    assert quality.noise_model(image) == "rician"
    assert quality.noise_model(image - 1000.0) == "gaussian"


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 3.0)])
def test_head_mask_fills_the_hole(spacing: tuple[float, float, float]) -> None:
    image, ball = head(spacing)
    found = quality.head_mask(image)
    assert found.shape == ball.shape
    assert 2 * np.count_nonzero(found & ball) / (found.sum() + ball.sum()) > 0.9
    assert found[20, 22, 24]


@pytest.mark.parametrize("spacing", [0.05, 1.0, 50.0])
def test_head_of_a_tiny_image_has_its_shape(spacing: float) -> None:
    image = sitk.GetImageFromArray(RNG.random((4, 5, 6)).astype(np.float32))
    image.SetSpacing((spacing, spacing, 1.0))
    found, air = quality.head_and_air(image)
    assert found.shape == air.shape == (4, 5, 6)
    assert not (found & air).any()


def test_a_head_in_two_parts_is_whole() -> None:
    image, ball = head()
    values = sitk.GetArrayFromImage(image)
    z, y, x = np.ogrid[:40, :44, :48]
    radius = np.sqrt((z - 20.0) ** 2 + (y - 22.0) ** 2 + (x - 24.0) ** 2)
    values[(radius >= 15) & (radius < 17)] = 0.05  # a dark skull
    values[(radius >= 17) & (radius < 19)] = 1.0  # the scalp
    values[1:3, 1:3, 1:3] = 1.0  # a speck in the air
    found = quality.head_mask(images.like(values, image))
    assert found[(radius < 19)].mean() > 0.95
    assert not found[0:4, 0:4, 0:4].any()
    assert found[ball].all()


def test_air_leaves_padding_and_a_margin_out() -> None:
    image, ball = head()
    values = sitk.GetArrayFromImage(image)
    values[:, :, :3] = 0
    air = quality.air_mask(values, ball)
    assert not air[:, :, :3].any()
    assert air[1, 1, 10]
    assert not (air & ball).any()
    values[~ball] = 0  # a masked image: all the outside is zero, and it is the air
    assert quality.air_mask(values, ball)[1, 1, 10]
