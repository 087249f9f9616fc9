"""Super-resolution: the forward operator by hand, consistency, grids."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import config, images
from pipeline.errors import VoxelwayError
from pipeline.superres import profile, stage
from pipeline.superres.methods import sinc
from pipeline.superres.request import Request
from pipeline.task import Task

IDENTITY = sitk.Transform(3, sitk.sitkIdentity)


def image(values: np.ndarray, spacing: tuple[float, float, float]) -> sitk.Image:
    made = sitk.GetImageFromArray(values.astype(np.float32))
    made.SetSpacing(spacing)
    return made


def params(**changes: object) -> dict:
    return {**config.section("superres", changes), "seed": 0}


@pytest.fixture
def ball() -> sitk.Image:
    """Smooth isotropic object of 1 mm, 48 voxels a side."""
    z, y, x = np.mgrid[:48, :48, :48] - 23.5
    radius = np.sqrt(x**2 + y**2 + (0.8 * z) ** 2)
    return image(
        1.0 / (1.0 + np.exp(radius - 14.0)) + 0.2 * np.cos(x / 3) * (radius < 10), (1, 1, 1)
    )


def thick(ball: sitk.Image, factor: int, shape: str = "box") -> tuple[sitk.Image, profile.Profile]:
    lattice = images.spaced_grid(ball, (1.0, 1.0, float(factor)))
    made = profile.make_profile(lattice, None, shape, 1.0)
    return profile.acquire(ball, lattice, IDENTITY, made), made


def test_box_profile_is_the_mean_over_the_slice() -> None:
    # planes 0, 1, 2, …: a 4 mm slice over planes 4..7 averages to 5.5 whatever the sampling
    planes = image(np.tile(np.arange(16.0)[:, None, None], (1, 6, 6)), (1, 1, 1))
    lattice = images.spaced_grid(planes, (1.0, 1.0, 4.0))
    made = profile.make_profile(lattice, 4.0, "box", 1.0)
    acquired = images.array(profile.acquire(planes, lattice, IDENTITY, made))
    assert made.axis == 2 and made.weights.sum() == pytest.approx(1.0)
    assert np.allclose(acquired[1:3, 3, 3], [5.5, 9.5], atol=1e-4)


def test_gaussian_profile_has_its_width_at_half_maximum() -> None:
    lattice = image(np.zeros((8, 8, 8)), (1.0, 1.0, 5.0))
    made = profile.make_profile(lattice, 5.0, "gaussian", 1.0)
    peak = made.weights.max()
    inside = made.offsets[made.weights >= peak / 2]
    assert 2 * inside.max() == pytest.approx(5.0, abs=0.7)


def test_thin_slices_need_no_profile() -> None:
    made = profile.make_profile(image(np.zeros((8, 8, 8)), (1, 1, 1)), 1.0, "gaussian", 1.0)
    assert made.weights.tolist() == [1.0]


def test_lanczos_weights_reproduce_samples_and_constants() -> None:
    weights = sinc.lanczos(np.array([0.0, 3.0, 3.5, 9.2]), 10)
    assert np.allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    assert np.allclose(weights[1], np.eye(10)[3], atol=1e-6)
    assert weights[2, 3] == pytest.approx(weights[2, 4])


@pytest.mark.parametrize("method", ["bspline", "sinc"])
@pytest.mark.parametrize("factor", [3, 6])
def test_back_projection_explains_the_slices_and_comes_closer(
    ball: sitk.Image, method: str, factor: int
) -> None:
    acquired, made = thick(ball, factor)
    truth = images.array(ball)
    errors, consistencies = [], []
    for iterations in (0, 5):
        prepared = stage.prepare(params(method=method), None)
        request = Request(acquired, ball, IDENTITY, made, 0.0, iterations)
        result = prepared.method(request).image
        errors.append(np.abs(images.array(result) - truth)[6:-6].mean())
        consistencies.append(profile.consistency(result, acquired, IDENTITY, made))
    assert errors[1] < errors[0]
    assert consistencies[1] < 0.5 * consistencies[0]


def test_noise_ends_the_back_projection(ball: sitk.Image) -> None:
    acquired, made = thick(ball, 4)
    prepared = stage.prepare(params(), None)
    plain = prepared.method(Request(acquired, ball, IDENTITY, made, 0.0, 0)).image
    noisy = prepared.method(Request(acquired, ball, IDENTITY, made, 1e3, 5)).image
    assert np.array_equal(images.array(plain), images.array(noisy))


def test_isotropic_anchor_keeps_its_lattice() -> None:
    anchor = image(np.random.default_rng(0).normal(size=(8, 8, 8)), (1.0, 1.0, 1.02))
    assert stage.common_grid(anchor, params()) is anchor
    assert stage.common_grid(anchor, params(tolerance=0.01)).GetSpacing() == (1.0, 1.0, 1.0)


def test_coarse_grid_covers_the_field_of_view() -> None:
    anchor = image(np.zeros((20, 40, 40)), (1.0, 1.0, 5.0))
    grid = stage.common_grid(anchor, params())
    assert grid.GetSize() == (40, 40, 100)
    assert grid.GetOrigin()[2] == pytest.approx(-2.0)


def test_file_form_restores_and_says_so(ball: sitk.Image, tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    acquired, _ = thick(ball, 4)
    source, output = folder / "sub-1_T2w.nii.gz", folder / "out.nii.gz"
    images.write_image(acquired, source)
    (folder / "sub-1_T2w.json").write_text('{"SliceThickness": 4.0}')
    task = Task("superres", params())
    prepared = stage.prepare(task.params, None)
    stage.run_file(task, prepared, {"input": str(source), "output": str(output)})
    made = images.read_image(output)
    assert made.GetSpacing() == pytest.approx((1.0, 1.0, 1.0))
    facts = stage._facts(output)
    assert facts["Factor"] == 4.0 and facts["LeftAlone"] is False
    assert facts["ConsistencyRMSE"] < facts["ConsistencyRMSEPlain"]


def test_far_slices_are_warned_of(ball: sitk.Image) -> None:
    acquired, _ = thick(ball, 8)
    task = Task("superres", params())
    prepared = stage.prepare(task.params, None)
    stage.restore(task, stage.Source("T2w", acquired, {}, IDENTITY), ball, prepared)
    assert any("8.0 times" in text for text in task.warnings)


def test_back_projection_does_not_ring_below_zero() -> None:
    values = np.zeros((12, 24, 24))
    values[6] = 1.0
    slices = image(values, (1, 1, 4))
    shape = profile.make_profile(slices, 4.0, "box", 1.0)
    grid = images.spaced_grid(slices, (1, 1, 1))
    request = Request(slices, grid, IDENTITY, shape, 0.0, 3)
    result = stage.create("superres", "bspline", params())(request).image
    assert images.array(images.resample(slices, grid)).min() < -0.01
    assert images.array(result).min() == 0.0


def test_automatic_grid_is_not_finer_than_asked() -> None:
    slices = image(np.random.default_rng(0).random((8, 40, 40)), (0.4, 0.4, 4.0))
    assert stage.common_grid(slices, params()).GetSpacing() == (0.8, 0.8, 0.8)
    small = image(np.random.default_rng(0).random((8, 40, 40)), (0.4, 0.4, 0.4))
    assert stage.common_grid(small, params()) is small


def test_a_grid_beyond_all_memory_is_refused() -> None:
    slices = image(np.random.default_rng(0).random((50, 256, 256)), (1.0, 1.0, 4.0))
    with pytest.raises(VoxelwayError) as caught:
        stage.common_grid(slices, params(spacing=0.2))
    assert caught.value.code == "E-CONFIG-VALUE"


@pytest.mark.parametrize("given", ["1 1", "1 1 x", "1 1 -1", "1 1 nan", [1.0, 0.0, 1.0]])
def test_spacings_that_are_none_are_refused(given: str | list[float]) -> None:
    assert stage.parse_spacing("1 2 3.5") == (1.0, 2.0, 3.5)
    with pytest.raises(VoxelwayError) as caught:
        stage.parse_spacing(given)
    assert caught.value.code == "E-USAGE"


def test_a_thickness_that_cannot_be_is_not_believed() -> None:
    slices = image(np.zeros((8, 16, 16)), (1.0, 1.0, 4.0))
    for value, wanted in ((4.0, 4.0), (5, 5.0), (0.01, None), (40.0, None), ("4", None)):
        source = stage.Source("T2w", slices, {"SliceThickness": value}, IDENTITY)
        assert stage._thickness(source) == wanted
