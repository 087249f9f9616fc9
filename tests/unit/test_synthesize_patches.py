"""Patches, the network and its training, against values worked out by hand and torch."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import config, images
from pipeline.errors import VoxelwayError
from pipeline.synthesize import fit, network, patches

from . import register_cases as spaces

PARAMS = {**config.section("synthesize", {"steps": 400, "hidden": [16], "weight_decay": 0.0})}


def test_offsets() -> None:
    found = patches.offsets(2.0)
    assert found.shape == (33, 3)
    assert sorted(map(tuple, found.tolist())) == sorted(set(map(tuple, found.tolist())))
    assert np.abs(found[:27]).max() == 2.0
    assert np.allclose(np.linalg.norm(found[27:], axis=1), 6.0)
    assert np.allclose(found.sum(axis=0), 0.0)


def test_patches_are_in_patient_space() -> None:
    """The image x + 2y - z has the same patches on every lattice."""
    for grid in (sitk.Image(20, 22, 24, sitk.sitkFloat32), spaces.oblique((30, 24, 16), (1, 2, 3))):
        p = spaces.points(grid)
        ramp = images.like((p @ [1.0, 2.0, -1.0]).astype("f4"), grid)
        center = np.asarray([grid.TransformContinuousIndexToPhysicalPoint((10.0, 11.0, 8.0))])
        expected = (center + patches.offsets(0.5)) @ [1.0, 2.0, -1.0]
        assert np.allclose(patches.features([ramp], center, 0.5)[0], expected, atol=1e-4)


def test_voxel_points_agree_with_itk() -> None:
    grid = spaces.oblique((5, 6, 7), (1.0, 2.0, 3.0))
    inside = np.zeros((7, 6, 5), dtype=bool)
    inside[6, 2, 3] = True
    found = patches.voxel_points(grid, inside)
    assert np.allclose(found, [grid.TransformIndexToPhysicalPoint((3, 2, 6))])


def test_outside_the_image_is_zero() -> None:
    image = images.like(np.ones((4, 4, 4), np.float32), sitk.Image(4, 4, 4, sitk.sitkFloat32))
    assert patches.sample(image, np.array([[50.0, 0.0, 0.0], [1.0, 1.0, 1.0]])).tolist() == [0, 1]


def test_rim_is_measured_in_mm() -> None:
    mask = sitk.Image(11, 11, 11, sitk.sitkUInt8)
    mask.SetSpacing((1.0, 1.0, 3.0))
    mask[5, 5, 5] = 1
    found = images.bool_array(patches.grown(mask, 3.0))
    assert found[5, 5].sum() == 7 and found[:, 5, 5].sum() == 3


def test_level_is_the_brains_median() -> None:
    image = images.like(np.arange(64, dtype=np.float32).reshape(4, 4, 4), sitk.Image(4, 4, 4, 1))
    mask = image > 60.5
    assert patches.level(image, mask, "x") == 62.0
    with pytest.raises(VoxelwayError, match="E-SIGNAL"):
        patches.level(image * -1.0, mask, "x")


def test_network_by_hand() -> None:
    weights = {
        "center": np.array([1.0], np.float32),
        "scale": np.array([2.0], np.float32),
        "hidden0.weight": np.array([[3.0]], np.float32),
        "hidden0.bias": np.array([-1.0], np.float32),
        "mean.weight": np.array([[2.0]], np.float32),
        "mean.bias": np.array([0.5], np.float32),
        "variance.weight": np.array([[0.0]], np.float32),
        "variance.bias": np.array([0.0], np.float32),
    }
    mean, spread = network.predict(weights, np.array([[3.0]], np.float32))
    hidden = 2.0 / (1.0 + np.exp(-2.0))  # SiLU of 3 * (3 - 1) / 2 - 1 = 2
    assert mean[0] == pytest.approx(2 * hidden + 0.5)
    assert spread[0] == pytest.approx(np.exp(0.5 * -6.5))


def make_samples(profile: int) -> fit.Samples:
    """The value is the mean over the profile of |x|, which no function of the mean of x gives."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (4000, profile, 3)).astype("f4")
    return fit.Samples(x, np.abs(x[..., 0]).mean(axis=1))


@pytest.mark.parametrize("profile", [1, 3])
def test_training_looks_through_the_slice_profile(profile: int) -> None:
    weights = fit.fit(make_samples(profile), 1, {**PARAMS, "gain_jitter": 0.0}, 1)
    x = np.random.default_rng(1).uniform(-0.9, 0.9, (500, 3)).astype("f4")
    mean, spread = network.predict(weights, x)
    # thin values are found, although only thick ones were shown
    assert np.sqrt(np.mean((mean - np.abs(x[:, 0])) ** 2)) < 0.08
    assert (spread > 0).all() and np.median(spread) < 0.2


def test_training_twice_gives_the_same_weights() -> None:
    first, second = (fit.fit(make_samples(2), 1, PARAMS, 7) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    other = fit.fit(make_samples(2), 1, PARAMS, 8)
    assert not np.array_equal(first["mean.weight"], other["mean.weight"])


def test_spread_follows_the_noise() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, (6000, 1, 2)).astype("f4")
    noise = np.where(x[:, 0, 0] > 0, 0.3, 0.03)
    values = (0.5 + noise * rng.standard_normal(6000)).astype("f4")
    weights = fit.fit(fit.Samples(x, values), 1, PARAMS, 0)
    _, spread = network.predict(weights, np.array([[0.7, 0.0], [-0.7, 0.0]], np.float32))
    assert 0.2 < spread[0] < 0.4 and 0.015 < spread[1] < 0.08
