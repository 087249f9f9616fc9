"""The spatial transformer: shifts, flows, grids and Jacobians with known answers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.networks import spatial

SHAPE = (5, 7, 6)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def constant(z: float, y: float, x: float, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return (
        torch.tensor([float(z), float(y), float(x)])
        .view(1, 3, 1, 1, 1)
        .expand(1, 3, *shape)
        .clone()
    )


def smooth_velocity(shape: tuple[int, int, int], amplitude: float) -> Tensor:
    """Half a wave along each axis, zero at the border, so that the flow stays in the grid."""
    wave = torch.ones(1, 1, *shape)
    for axis, n in enumerate(shape):
        view = [1, 1, 1, 1, 1]
        view[axis + 2] = n
        wave = wave * torch.sin(torch.linspace(0, torch.pi, n)).view(view)
    return wave * torch.tensor([1.0, -0.7, 0.5]).view(1, 3, 1, 1, 1) * amplitude


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_no_displacement_changes_nothing(mode: str, padding: str) -> None:
    image = noise(2, 3, *SHAPE)
    moved = spatial.warp(image, torch.zeros(2, 3, *SHAPE), mode, padding)
    assert torch.allclose(moved, image, atol=1e-5)


@given(z=st.integers(-2, 2), y=st.integers(-2, 2), x=st.integers(-2, 2))
@settings(max_examples=20, deadline=None)
def test_whole_shifts_along_each_axis(z: int, y: int, x: int) -> None:
    image = noise(1, 1, *SHAPE)
    moved = spatial.warp(image, constant(z, y, x), padding="border")
    index = [
        (torch.arange(n) + shift).clamp(0, n - 1) for n, shift in zip(SHAPE, (z, y, x), strict=True)
    ]
    expected = image[:, :, index[0]][:, :, :, index[1]][..., index[2]]
    assert torch.allclose(moved, expected, atol=1e-5)


def test_outside_is_zero_or_the_border() -> None:
    image = torch.full((1, 1, *SHAPE), 4.0)
    shift = constant(0, 0, 2)
    assert spatial.warp(image, shift)[0, 0, 2, 3].tolist() == pytest.approx([4, 4, 4, 4, 0, 0])
    border = spatial.warp(image, shift, padding="border")
    assert border[0, 0, 2, 3].tolist() == pytest.approx([4.0] * 6)


def test_half_a_voxel_is_the_mean_of_two() -> None:
    image = torch.zeros(1, 1, 2, 2, 2)
    image[0, 0, 0, 0, 1] = 8.0
    field = torch.zeros(1, 3, 2, 2, 2)
    field[0, 2, 0, 0, 0] = 0.5
    assert spatial.warp(image, field)[0, 0, 0, 0, 0].item() == pytest.approx(4.0)


def test_the_moving_image_may_have_a_grid_of_its_own() -> None:
    image = noise(1, 1, 9, 8, 10)
    moved = spatial.warp(image, constant(1, 0, 3))
    assert torch.allclose(moved, image[:, :, 1:6, 0:7, 3:9], atol=1e-5)


def test_labels_and_half_precision_keep_their_dtype() -> None:
    image = noise(1, 1, *SHAPE).half()
    moved = spatial.warp(image, constant(0, 0, 1))
    assert moved.dtype == torch.float16
    assert torch.equal(moved[..., :5], image[..., 1:])


@pytest.mark.parametrize("shape", [(1, 2, *SHAPE), (3, *SHAPE), (2, 3, *SHAPE)])
def test_a_field_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        spatial.warp(noise(1, 1, *SHAPE), torch.zeros(shape))


def test_composition_of_shifts_adds_them() -> None:
    both = spatial.compose(constant(1, 0, 0.5), constant(0.25, -1, 0))
    assert torch.allclose(both, constant(1.25, -1, 0.5), atol=1e-6)


def test_composition_goes_through_the_first() -> None:
    # q = p + 1 along x; then half of q's own coordinate along z
    shape = (4, 4, 8)
    second = constant(0, 0, 0, shape)
    second[:, 0] = 0.5 * torch.arange(8.0)
    both = spatial.compose(constant(0, 0, 1, shape), second)
    assert both[0, 0, 0, 0, :6].tolist() == pytest.approx([0.5, 1, 1.5, 2, 2.5, 3], abs=1e-5)


def test_moving_twice_is_moving_by_the_composition() -> None:
    shape = (12, 10, 14)
    image = torch.arange(14.0).expand(1, 1, *shape).contiguous()
    first, second = smooth_velocity(shape, 0.5), smooth_velocity(shape, 0.8).flip(1)
    once = spatial.warp(image, spatial.compose(first, second), padding="border")
    twice = spatial.warp(spatial.warp(image, second, padding="border"), first, padding="border")
    assert torch.allclose(once, twice, atol=1e-3)


@pytest.mark.parametrize("steps", [0, 3, 7])
def test_the_flow_of_a_constant_velocity_is_a_shift(steps: int) -> None:
    velocity = constant(0.7, -1.2, 0.4)
    assert torch.allclose(spatial.integrate(velocity, steps), velocity, atol=1e-5)


def test_the_flow_of_a_linear_velocity_is_the_exponential() -> None:
    # v = 0.1 x about the centre: p ↦ p exp(0.1)
    shape = (3, 3, 21)
    velocity = constant(0, 0, 0, shape)
    along = torch.arange(21.0) - 10
    velocity[:, 2] = 0.1 * along
    displacement = spatial.integrate(velocity, 10)
    expected = along * (torch.tensor(0.1).exp() - 1)
    # the outer voxels flow out of the grid, where the field does not go on linearly
    assert torch.allclose(displacement[0, 2, 1, 1, 3:18], expected[3:18], atol=2e-3)


def test_the_flow_backwards_is_the_inverse() -> None:
    velocity = smooth_velocity((24, 20, 22), 3.0)
    there = spatial.integrate(velocity, 7)
    back = spatial.integrate(-velocity, 7)
    assert there.abs().max() > 1.0
    assert spatial.compose(there, back).abs().max() < 0.06
    assert spatial.jacobian_determinant(there).min() > 0


def test_resizing_keeps_where_points_go() -> None:
    # u = 0.5 i along x on 5 voxels is, on 9 voxels of half the size, the same slope
    field = constant(0, 0, 0, (3, 3, 5))
    field[:, 2] = 0.5 * torch.arange(5.0)
    fine = spatial.resize(field, (5, 3, 9))
    assert fine.shape == (1, 3, 5, 3, 9)
    assert fine[0, 2, 2, 1].tolist() == pytest.approx([0.5 * i for i in range(9)])
    assert torch.allclose(spatial.resize(fine, (3, 3, 5)), field, atol=1e-6)


def test_resizing_scales_each_axis_by_its_own_factor() -> None:
    fine = spatial.resize(constant(1, 1, 1, (3, 4, 5)), (5, 4, 13))
    assert fine[0, :, 1, 1, 1].tolist() == pytest.approx([2.0, 1.0, 3.0])


def test_jacobian_of_a_linear_map_is_exact() -> None:
    matrix = torch.tensor([[[1.1, 0.2, -0.1, 3.0], [0.05, 0.9, 0.3, -1.0], [0.0, -0.2, 1.3, 0.5]]])
    field = spatial.affine_displacement(matrix.double(), SHAPE)
    expected = torch.linalg.det(matrix[0, :, :3].double())
    found = spatial.jacobian_determinant(field)
    assert found.shape == (1, 1, *SHAPE)
    assert torch.allclose(found, expected.expand_as(found), atol=1e-10)


def test_jacobian_of_a_mirror_is_negative() -> None:
    mirror = torch.cat([torch.diag(torch.tensor([1.0, 1.0, -1.0])), torch.zeros(3, 1)], 1)[None]
    found = spatial.jacobian_determinant(spatial.affine_displacement(mirror, SHAPE))
    assert torch.allclose(found, torch.tensor(-1.0), atol=1e-5)


def test_affine_displacement_turns_about_the_centre() -> None:
    # z' = -y, y' = z about the centre of a 3 x 3 x 3 grid, then 0.5 along x
    matrix = torch.tensor([[[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0.5]]])
    field = spatial.affine_displacement(matrix, (3, 3, 3))
    assert field[0, :, 1, 1, 1].tolist() == [0.0, 0.0, 0.5]
    # the corner (-1, -1, 0) goes to (1, -1, 0.5)
    assert field[0, :, 0, 0, 1].tolist() == [2.0, 0.0, 0.5]


def test_affines_compose_as_matrices() -> None:
    first = torch.tensor([[[1.02, 0.03, 0, 0.2], [0, 0.97, 0, -0.1], [0.02, 0, 1, 0.1]]])
    second = torch.tensor([[[1.0, 0, 0.04, -0.2], [0.01, 1, 0, 0.2], [0, 0, 0.98, 0]]])
    both = torch.cat([second[:, :, :3] @ first[:, :, :3], torch.zeros(1, 3, 1)], 2)
    both[:, :, 3] = (second[:, :, :3] @ first[:, :, 3:])[..., 0] + second[:, :, 3]
    shape = (11, 13, 12)
    found = spatial.compose(
        spatial.affine_displacement(first, shape), spatial.affine_displacement(second, shape)
    )
    expected = spatial.affine_displacement(both, shape)
    inside = (..., slice(2, -2), slice(2, -2), slice(2, -2))
    assert torch.allclose(found[inside], expected[inside], atol=1e-4)


def test_every_operation_has_a_gradient() -> None:
    image = noise(1, 1, 4, 3, 5).double().requires_grad_()
    # away from the grid's points, where linear interpolation has a kink
    field = (noise(1, 3, 4, 3, 5, seed=1).double() * 0.4 + 0.3).requires_grad_()
    assert torch.autograd.gradcheck(spatial.warp, (image, field))
    assert torch.autograd.gradcheck(lambda v: spatial.integrate(v, 2), (field,))
    assert torch.autograd.gradcheck(spatial.jacobian_determinant, (field,))
    assert torch.autograd.gradcheck(lambda u: spatial.resize(u, (3, 5, 4)), (field,))
