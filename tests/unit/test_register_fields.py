"""Fields and metrics of registration against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import images
from pipeline.register import fields, metrics
from pipeline.register.fields import Registration

from . import register_cases as cases

GRID = cases.oblique((9, 8, 7), (1.0, 2.0, 3.5))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-0.4, 0.4), min_size=9, max_size=9), st.floats(-3, 3))
def test_jacobian_of_a_linear_field_is_the_determinant(entries: list[float], turn: float) -> None:
    matrix = np.asarray(entries).reshape(3, 3)
    grid = sitk.Image(GRID)
    rotation = sitk.VersorTransform((0.6, 0.0, 0.8), turn)
    grid.SetDirection(rotation.GetMatrix())
    found = images.array(fields.jacobian(cases.linear_field(grid, matrix)))
    assert np.allclose(found, np.linalg.det(np.eye(3) + matrix), atol=1e-5)


def test_jacobian_where_itk_is_wrong() -> None:
    shear = np.array([[0.0, 0.9, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    field = cases.linear_field(GRID, shear)
    assert np.allclose(images.array(fields.jacobian(field)), 1.0, atol=1e-5)
    itk = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field))
    assert np.abs(itk[2:-2, 2:-2, 2:-2] - 1.0).max() > 0.1


def test_jacobian_sees_a_fold() -> None:
    flip = cases.linear_field(GRID, np.diag([-2.0, 0.0, 0.0]))
    values = images.array(fields.jacobian(flip))
    assert np.allclose(values, -1.0, atol=1e-5)
    numbers = metrics.regularity(values, np.ones(values.shape, dtype=bool))
    assert numbers["folded_share"] == 1.0


def test_log_jacobian_sd_by_hand() -> None:
    values = np.array([1.0, math.e**2, -1.0, 5.0])
    numbers = metrics.regularity(values, np.array([True, True, True, False]))
    assert numbers["folded_share"] == pytest.approx(1 / 3)
    assert numbers["log_jacobian_sd"] == pytest.approx(1.0)


def test_warp_comes_before_the_affine() -> None:
    affine = sitk.AffineTransform(3)
    affine.SetMatrix((2, 0, 0, 0, 1, 0, 0, 0, 1))
    affine.SetTranslation((0, 0, 1))
    shift = fields.field_like(np.broadcast_to([0.5, 0.0, 0.0], (7, 8, 9, 3)), GRID)
    back = fields.field_like(np.broadcast_to([-0.5, 0.0, 0.0], (7, 8, 9, 3)), GRID)
    found = Registration(affine, shift, back)
    point = (0.3, -0.4, 0.2)
    moved = fields.forward_transform(found).TransformPoint(point)
    assert moved == pytest.approx((2 * (0.3 + 0.5), -0.4, 1.2))
    assert fields.backward_transform(found).TransformPoint(moved) == pytest.approx(point)
    # the fields that were given are still there
    assert found.warp.GetSize() == GRID.GetSize()


def test_compose_adds_shifts() -> None:
    first = fields.field_like(np.broadcast_to([0.3, 0.0, 0.0], (7, 8, 9, 3)), GRID)
    second = cases.linear_field(GRID, np.diag([0.1, 0.0, 0.0]))
    inner = fields.vectors(fields.compose(first, second))[2:-2, 2:-2, 2:-2]
    x = cases.points(GRID)[2:-2, 2:-2, 2:-2, 0]
    assert np.allclose(inner[..., 0], 0.3 + 0.1 * (x + 0.3), atol=1e-9)


def test_inverse_consistency_in_mm() -> None:
    there = fields.field_like(np.broadcast_to([0.0, 0.5, 0.0], (7, 8, 9, 3)), GRID)
    back = fields.field_like(np.broadcast_to([0.0, -0.2, 0.0], (7, 8, 9, 3)), GRID)
    inside = np.zeros((7, 8, 9), dtype=bool)
    inside[3, 4, 4] = True
    errors = metrics.inverse_consistency(Registration(sitk.AffineTransform(3), there, back), inside)
    assert errors == pytest.approx([0.3])


def test_ncc_by_hand() -> None:
    a = np.array([1.0, 2.0, 3.0])
    assert metrics.ncc(a, 5 - 2 * a) == pytest.approx(-1.0)
    assert metrics.ncc(a, np.array([1.0, 3.0, 2.0])) == pytest.approx(0.5)
    assert metrics.ncc(a, np.ones(3)) is None


def test_mutual_information_of_two_values_is_ln_2() -> None:
    a = np.array([0.0, 1.0, 0.0, 1.0])
    assert metrics.mutual_information(a, 7 - a) == pytest.approx(math.log(2))
    assert metrics.mutual_information(a, np.array([0.0, 0.0, 1.0, 1.0])) == pytest.approx(0.0)
    assert metrics.mutual_information(a, np.zeros(4)) is None


def test_dice_by_hand() -> None:
    a, b = np.array([1, 1, 0, 0], dtype=bool), np.array([1, 1, 1, 1], dtype=bool)
    assert metrics.dice(a, b) == pytest.approx(2 * 2 / 6)
    assert metrics.dice(~b, ~b) == 0.0
