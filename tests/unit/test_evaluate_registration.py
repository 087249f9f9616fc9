"""Errors of transforms and statistics of Jacobians, by hand and against SimpleITK's mapping."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline.evaluate import geometry, registration


def oblique_mask() -> sitk.Image:
    values = np.zeros((5, 6, 7), dtype=np.uint8)
    values[1:4, 2:5, 1:6] = 1
    image = sitk.GetImageFromArray(values)
    rotation = sitk.Euler3DTransform()
    rotation.SetRotation(0.3, -0.2, 0.5)
    image.SetDirection(rotation.GetMatrix())
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetOrigin((-10.0, 5.0, 20.0))
    return image


def rigid() -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform((1.0, 2.0, 3.0))
    transform.SetRotation(0.1, 0.2, -0.1)
    transform.SetTranslation((3.0, -4.0, 12.0))
    return transform


def test_points_are_where_sitk_says() -> None:
    mask = oblique_mask()
    points = registration.points_in(mask)
    expected = [
        mask.TransformIndexToPhysicalPoint((int(x), int(y), int(z)))
        for z, y, x in np.argwhere(sitk.GetArrayFromImage(mask))
    ]
    np.testing.assert_allclose(points, expected, atol=1e-9)


def test_linear_transform_of_all_points_at_once() -> None:
    points = registration.points_in(oblique_mask())
    composite = sitk.CompositeTransform([rigid(), rigid()])
    for transform in (rigid(), composite):
        expected = [transform.TransformPoint(tuple(point)) for point in points]
        np.testing.assert_allclose(registration.apply_linear(transform, points), expected)


def test_a_deformation_is_no_linear_transform() -> None:
    field = sitk.Image((4, 4, 4), sitk.sitkVectorFloat64)
    with pytest.raises(ValueError, match="not linear"):
        registration.apply_linear(sitk.DisplacementFieldTransform(field), np.zeros((1, 3)))


def test_any_transform_on_the_voxels_of_a_mask() -> None:
    mask = oblique_mask()
    found = registration.apply_on_grid(rigid(), mask)
    expected = registration.apply_linear(rigid(), registration.points_in(mask))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_error_of_a_known_shift() -> None:
    true = np.random.default_rng(0).normal(0, 50, (200, 3))
    values = registration.target_registration_error(true + np.array((2, -3, 6)), true)
    assert values == {"tre": pytest.approx(7), "tre_p95": pytest.approx(7)}


def test_error_by_hand() -> None:
    true = np.zeros((3, 3))
    found = np.array([[0, 0, 0], [1, 0, 0], [0, 3, 4.0]])
    values = registration.target_registration_error(found, true)
    assert values["tre"] == pytest.approx(2)
    assert values["tre_p95"] == pytest.approx(1 + 0.9 * 4)
    assert math.isnan(registration.target_registration_error(true[:0], true[:0])["tre"])


def test_jacobian_by_hand() -> None:
    jacobian = np.array([[[math.e, 1 / math.e, 0.0, -2.0, 99.0]]])
    mask = np.array([[[True, True, True, True, False]]])
    values = registration.jacobian_statistics(jacobian, mask)
    assert values == {
        "folding": pytest.approx(50),
        "sd_log_jacobian": pytest.approx(1),
        "jacobian_min": -2,
        "jacobian_mean": pytest.approx((math.e + 1 / math.e - 2) / 4),
        "jacobian_max": pytest.approx(math.e),
    }


def test_jacobian_of_nothing_and_of_folds_only() -> None:
    jacobian = np.full((2, 2, 2), -1.0)
    everywhere = np.ones((2, 2, 2), dtype=bool)
    values = registration.jacobian_statistics(jacobian, everywhere)
    assert values["folding"] == 100
    assert math.isnan(values["sd_log_jacobian"])
    nothing = registration.jacobian_statistics(jacobian, ~everywhere)
    assert set(nothing) == set(values)
    assert all(math.isnan(value) for value in nothing.values())


def test_labels_at_points_are_those_of_simpleitk() -> None:
    mask = oblique_mask()
    values = np.random.default_rng(0).integers(1, 9, (5, 6, 7)).astype(np.uint16)
    labels = sitk.GetImageFromArray(values)
    labels.CopyInformation(mask)
    rng = np.random.default_rng(1)
    corner = np.asarray(mask.TransformContinuousIndexToPhysicalPoint((-2.0, -2.0, -2.0)))
    other = np.asarray(mask.TransformContinuousIndexToPhysicalPoint((8.0, 7.0, 6.0)))
    points = corner + rng.random((300, 3)) * (other - corner)
    found = registration.labels_at(labels, points)
    expected = []
    for point in points:
        index = labels.TransformPhysicalPointToIndex(point.tolist())
        inside = all(0 <= i < n for i, n in zip(index, labels.GetSize(), strict=True))
        expected.append(labels[index] if inside else 0)
    np.testing.assert_array_equal(found, expected)
    assert 0 < np.count_nonzero(found) < 300


def test_flipped_reference_comes_back_without_interpolation() -> None:
    image = sitk.Cast(oblique_mask(), sitk.sitkFloat32)
    values = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    original = sitk.GetImageFromArray(values)
    original.CopyInformation(image)
    turned = sitk.DICOMOrient(original, "SRP")
    assert turned.GetSize() != original.GetSize()
    back = geometry.onto(turned, original)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), values)


def test_other_lattices_are_interpolated() -> None:
    values = np.fromfunction(lambda z, y, x: x, (8, 8, 8)).astype(np.float32)
    image = sitk.GetImageFromArray(values)
    grid = sitk.Image((4, 4, 4), sitk.sitkUInt8)
    grid.SetOrigin((2.5, 2, 2))
    found = sitk.GetArrayFromImage(geometry.onto(image, grid))
    np.testing.assert_allclose(found[0, 0], [2.5, 3.5, 4.5, 5.5], atol=0.05)
    found = sitk.GetArrayFromImage(geometry.onto(image, grid, labels=True))
    assert set(np.unique(found)) <= set(range(8))
