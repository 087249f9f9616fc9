"""Lattices, deformations and acquisition of the phantom."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.phantom import acquisition, anatomy, deformation
from pipeline.phantom.acquisition import Series
from pipeline.phantom.lattice import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    Lattice,
    generator,
    sample,
    smooth_noise,
)

BOX = Lattice((24, 22, 20), (3.0, 3.0, 3.0), (-30.0, -20.0, -10.0), AXIAL)


@pytest.fixture(scope="module")
def brain() -> anatomy.Anatomy:
    return anatomy.load()


def test_lattice_points_agree_with_itk() -> None:
    direction = deformation.rotation(np.array([5.0, -7.0, 3.0])) @ SAGITTAL
    lattice = Lattice.centred((7, 6, 5), (1.0, 2.0, 3.0), np.array([3.0, -2.0, 9.0]), direction)
    image = lattice.empty()
    points = lattice.points()
    for index in ((0, 0, 0), (6, 5, 4), (2, 4, 1)):
        x, y, z = index
        expected = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(points[:, z, y, x], expected, atol=1e-4)
    back = lattice.indices(points)
    np.testing.assert_allclose(back[:, 4, 5, 6], (6, 5, 4), atol=1e-4)
    middle = image.TransformContinuousIndexToPhysicalPoint((3.0, 2.5, 2.0))
    np.testing.assert_allclose(middle, (3.0, -2.0, 9.0), atol=1e-3)


@pytest.mark.parametrize("direction", [AXIAL, SAGITTAL, CORONAL])
def test_directions_are_right_handed(direction: np.ndarray) -> None:
    assert np.linalg.det(direction) == pytest.approx(1.0)
    # DICOM: the slices' normal is the row's direction times the column's
    np.testing.assert_allclose(np.cross(direction[:, 0], direction[:, 1]), direction[:, 2])


def test_sampling_a_linear_function_is_exact() -> None:
    points = BOX.points()
    values = 2.0 * points[0] - points[1] + 0.5 * points[2] + 7.0
    asked = np.array([[1.3, -8.0], [2.0, 4.4], [0.1, 30.0]], np.float32)
    expected = 2.0 * asked[0] - asked[1] + 0.5 * asked[2] + 7.0
    np.testing.assert_allclose(sample(values, BOX, asked), expected, atol=1e-3)


def test_generators_differ_by_key_and_repeat() -> None:
    assert generator(1, "P001", "a").random() == generator(1, "P001", "a").random()
    assert generator(1, "P001", "a").random() != generator(1, "P001", "b").random()
    assert generator(11, "P001").random() != generator(1, "1P001").random()


def test_exponential_of_a_constant_velocity_is_a_shift() -> None:
    velocity = np.zeros((3, *BOX.shape), np.float32)
    velocity[1] = 4.25
    np.testing.assert_allclose(deformation.exponential(velocity, BOX), velocity, atol=1e-5)


def test_exponential_of_a_linear_velocity_is_the_exponential() -> None:
    # v(x) = a x has the flow x exp(a): u = x (exp(a) - 1)
    velocity = np.zeros((3, *BOX.shape), np.float32)
    x = BOX.points()[0]
    velocity[0] = -0.2 * x
    found = deformation.exponential(velocity, BOX)[0]
    inner = (slice(4, -4),) * 3
    np.testing.assert_allclose(found[inner], (x * (np.exp(-0.2) - 1))[inner], atol=0.1)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**16))
def test_exponentials_of_opposite_velocities_cancel(seed: int) -> None:
    velocity = 1.5 * smooth_noise(BOX, 12.0, generator(seed), 3)
    there = deformation.exponential(velocity, BOX)
    back = deformation.exponential(-velocity, BOX)
    points = BOX.points()
    moved = points + there
    again = moved + np.stack([sample(part, BOX, moved) for part in back])
    inner = (slice(None), *(slice(4, -4),) * 3)
    # they would cancel exactly but for the interpolation on a 3 mm lattice
    assert np.abs(again - points)[inner].max() < 0.1 * np.abs(there).max()


def test_jacobian_of_a_stretch() -> None:
    points = BOX.points()
    displacement = np.stack([0.1 * points[0], -0.2 * points[1], 0.0 * points[2]])
    np.testing.assert_allclose(deformation.jacobian(displacement, BOX), 1.1 * 0.8, rtol=1e-4)


def test_shape_has_no_folds_and_an_inverse(brain: anatomy.Anatomy) -> None:
    shape = deformation.draw(brain, 0, "P002")
    inner = (slice(3, -3),) * 3
    determinant = deformation.jacobian(shape.forward, shape.lattice)[inner]
    assert determinant.min() >= deformation.MIN_JACOBIAN
    length = np.sqrt((shape.forward**2).sum(axis=0))[brain.brain]
    assert 2.0 < np.sqrt((length**2).mean()) < 5.5
    assert length.max() < 13.0
    points = brain.coarse.points()[:, brain.brain][:, ::50]
    again = shape.to_template(shape.to_subject(points))
    assert np.abs(again - points).max() < 0.15
    field = shape.field()[:, brain.brain][:, ::50]
    np.testing.assert_allclose(points + field, shape.to_subject(points), atol=1e-3)


def test_fractions_of_the_template_add_up(brain: anatomy.Anatomy) -> None:
    total = brain.csf + brain.gm + brain.wm
    assert total.min() >= 0.0
    assert total.max() < 1.01
    volume = float((total > 0.5).sum()) / 1000.0
    assert 1700.0 < volume < 2000.0
    # LPS: the frontal pole lies at y = -73, the occipital one at 107
    y = brain.lattice.points()[1][total > 0.5]
    assert y.min() == pytest.approx(-73.0, abs=2.0)
    assert y.max() == pytest.approx(107.0, abs=2.0)


def test_slice_profile_is_symmetric_and_as_wide_as_the_slice() -> None:
    weights = acquisition.slice_profile()
    assert weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(weights, weights[::-1], atol=1e-6)
    count = acquisition.SUBSLICES
    assert weights[count : 2 * count].sum() > 0.9


@pytest.mark.parametrize("volumetric", [True, False])
def test_acquisition_keeps_place_and_level(volumetric: bool) -> None:
    direction = deformation.rotation(np.array([5.0, 2.0, -8.0]))
    lattice = Lattice.centred((32, 36, 20), (3.0, 3.0, 5.0), np.array([4.0, 9.0, 2.0]), direction)
    series = Series(lattice, volumetric)
    fine = acquisition.fine_lattice(lattice, volumetric=volumetric)

    def blob(points: np.ndarray) -> np.ndarray:
        offset = points - np.array([9.0, 3.0, -4.0]).reshape(3, 1, 1, 1)
        return 100.0 * np.exp(-(offset**2).sum(axis=0) / (2 * 12.0**2))

    found = acquisition.acquire(blob(fine.points()).astype(np.float32), series)
    assert found.shape == lattice.shape
    # a smooth object comes back as it is: any shift of half a voxel would differ by 5 or more
    np.testing.assert_allclose(found, blob(lattice.points()), atol=2.0)


def test_truncation_removes_what_the_samples_cannot_show() -> None:
    count, wide = 32, 96
    place = np.arange(wide) / wide
    low, high = np.cos(2 * np.pi * 5 * place), np.cos(2 * np.pi * 20 * place)
    found = acquisition.truncate((low + high).astype(np.float32)[None, None], 2, count)
    np.testing.assert_allclose(found[0, 0], low[:: wide // count], atol=1e-5)


def test_noise_is_rician() -> None:
    rng = generator("noise")
    background = acquisition.rician(np.zeros(200_000, np.float32), 10.0, rng)
    assert background.mean() == pytest.approx(10.0 * np.sqrt(np.pi / 2), rel=0.01)
    signal = acquisition.rician(np.full(200_000, 200.0, np.float32), 10.0, rng)
    assert signal.std() == pytest.approx(10.0, rel=0.02)
    assert signal.mean() == pytest.approx(200.0 + 10.0**2 / (2 * 200.0), rel=0.001)


def test_bias_field_is_smooth_and_of_the_asked_strength() -> None:
    field = acquisition.bias_field(BOX, 0.2, generator("bias"))
    middle = field[tuple(slice(n // 6, n - n // 6) for n in BOX.shape)]
    assert middle.min() == pytest.approx(0.8, abs=1e-5)
    assert middle.max() == pytest.approx(1.2, abs=1e-5)
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in range(3)) < 0.15


def test_motion_maps_points_of_the_t1w_to_the_other_series() -> None:
    moved = acquisition.motion(np.zeros(3), np.array([2.0, 0.0, 0.0]), np.zeros(3))
    assert moved.TransformPoint((1.0, 1.0, 1.0)) == pytest.approx((3.0, 1.0, 1.0))
    assert isinstance(moved, sitk.Euler3DTransform)
