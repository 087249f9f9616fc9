"""Local correlation: hand-worked windows, invariances and the analytic gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from pipeline.training.losses.similarity import LocalNCC

SHAPE = (6, 9, 7)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def plain(warped: Tensor, fixed: Tensor, window: int, signed: bool, epsilon: float) -> Tensor:
    """The definition, window by window, with nothing shared or saved."""
    radius = window // 2
    found = []
    for b in range(warped.shape[0]):
        for index in torch.cartesian_prod(*(torch.arange(n) for n in warped.shape[2:])):
            cut = tuple(slice(max(int(i) - radius, 0), int(i) + radius + 1) for i in index)
            one, two = warped[b, 0][cut], fixed[b, 0][cut]
            one, two = one - one.mean(), two - two.mean()
            spread = (one.square().mean() + epsilon) * (two.square().mean() + epsilon)
            share = (one * two).mean()
            found.append(share / spread.sqrt() if signed else share**2 / spread)
    return 1 - torch.stack(found).mean()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("window", [3, 5, 7, 9])
def test_is_the_definition(window: int, signed: bool) -> None:
    warped, fixed = noise(2, 1, *SHAPE).double(), noise(2, 1, *SHAPE, seed=1).double()
    found = LocalNCC(window, signed)(warped, fixed)
    assert found.item() == pytest.approx(plain(warped, fixed, window, signed, 1e-5).item())


def test_two_voxels_by_hand() -> None:
    # one window over (0, 1) and (0, 2): variances 1/4 and 1, covariance 1/2; epsilon 1/4
    # square 1/4 / (1/2 * 5/4) = 2/5
    warped = torch.tensor([0.0, 1.0]).view(1, 1, 1, 1, 2)
    loss = LocalNCC(3, epsilon=0.25)
    assert loss(warped, 2 * warped).item() == pytest.approx(1 - 0.4)
    signed = LocalNCC(3, signed=True, epsilon=0.25)
    assert signed(warped, -2 * warped).item() == pytest.approx(1 + 0.4**0.5)


@given(gain=st.floats(0.5, 4), offset=st.floats(-1, 1), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_gain_and_offset_change_nothing(gain: float, offset: float, seed: int) -> None:
    warped, fixed = noise(1, 1, *SHAPE, seed=seed), noise(1, 1, *SHAPE, seed=seed + 100)
    loss = LocalNCC(5)
    base = loss(warped, fixed)
    assert loss(gain * warped + offset, fixed).item() == pytest.approx(base.item(), abs=1e-3)
    assert loss(gain * fixed + offset, fixed).item() < 0.005
    assert 0 <= base.item() <= 1


def test_inverted_contrast_only_matters_to_the_signed_one() -> None:
    image = noise(1, 1, *SHAPE)
    assert LocalNCC(3)(1 - image, image).item() < 0.01
    assert LocalNCC(3, signed=True)(1 - image, image).item() > 1.99


def test_constant_windows_count_as_no_correlation() -> None:
    flat = torch.full((1, 1, *SHAPE), 0.5, requires_grad=True)
    value = LocalNCC(3)(flat, noise(1, 1, *SHAPE))
    value.backward()
    assert value.item() == pytest.approx(1.0, abs=1e-4)
    assert flat.grad is not None and torch.isfinite(flat.grad).all()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient(signed: bool, weighted: bool) -> None:
    warped = noise(2, 1, 3, 4, 5).double().requires_grad_()
    fixed = noise(2, 1, 3, 4, 5, seed=1).double()
    weight = noise(2, 1, 3, 4, 5, seed=2).double() if weighted else None
    loss = LocalNCC(3, signed)
    prepared = loss.prepare(fixed, weight)
    assert torch.autograd.gradcheck(lambda image: loss(image, prepared), (warped,))
    both = (warped, fixed.requires_grad_())
    assert torch.autograd.gradcheck(lambda one, two: loss(one, two, weight), both)


def test_gradient_of_many_slabs_is_that_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for size in (1, 200, 1 << 30):
        monkeypatch.setattr("pipeline.training.losses.similarity.SLAB", size)
        warped = noise(2, 1, *SHAPE).requires_grad_()
        value = LocalNCC(5)(warped, noise(2, 1, *SHAPE, seed=1))
        value.backward()
        assert warped.grad is not None
        found.append((value.item(), warped.grad))
    for value, gradient in found[1:]:
        assert value == pytest.approx(found[0][0], abs=1e-6)
        assert torch.allclose(gradient, found[0][1], atol=1e-7)


def test_descending_the_gradient_recovers_the_image() -> None:
    fixed = functional.avg_pool3d(noise(1, 1, 12, 12, 12), 3)
    warped = noise(1, 1, 4, 4, 4, seed=5).requires_grad_()
    loss = LocalNCC(3, signed=True)
    start = loss(warped, fixed).item()
    optimiser = torch.optim.Adam([warped], lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        loss(warped, fixed).backward()
        optimiser.step()
    assert start > 0.8
    assert loss(warped, fixed).item() < 0.2


def test_a_weight_leaves_out_what_it_does_not_cover() -> None:
    # right half equal, left half unrelated; windows of the last two planes see the right only
    fixed = noise(1, 1, 4, 4, 12)
    warped = noise(1, 1, 4, 4, 12, seed=3)
    warped[..., 6:] = fixed[..., 6:]
    weight = torch.zeros(1, 1, 4, 4, 12)
    weight[..., 8:] = 1.0
    loss = LocalNCC(3)
    assert loss(warped, fixed, weight).item() < 0.01
    assert loss(warped, fixed, 1 - weight).item() > 0.3
    assert loss(warped, fixed, torch.zeros_like(weight)).item() == 1.0


def test_half_precision_is_computed_in_full() -> None:
    warped, fixed = noise(1, 1, *SHAPE).half(), noise(1, 1, *SHAPE, seed=1).half()
    found = LocalNCC(3)(warped, fixed)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(LocalNCC(3)(warped.float(), fixed.float()).item())


@pytest.mark.parametrize("arguments", [{"window": 4}, {"window": -1}, {"epsilon": 0.0}])
def test_senseless_arguments_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"odd|above 0"):
        LocalNCC(**arguments)  # type: ignore[arg-type]


def test_images_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        LocalNCC(3)(noise(1, 1, 4, 4, 4), noise(1, 1, 4, 4, 5))
