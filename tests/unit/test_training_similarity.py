"""Mutual information and MIND: values worked out by hand, invariances, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.networks import spatial
from pipeline.training.losses.information import MutualInformation
from pipeline.training.losses.mind import PAIRS, Mind

from .loss_cases import blobs, noise


def test_information_of_two_separate_values() -> None:
    # moving 0 and 1 half each: the cubic windows share no bin, so it tells which of two fixed
    # values a voxel has: log 2; of a fixed image that does not depend on it, nothing
    warped = torch.tensor([0.0, 0, 1, 1]).view(1, 1, 1, 1, 4)
    loss = MutualInformation(16)
    assert loss(warped, 1 - warped).item() == pytest.approx(-math.log(2), abs=1e-6)
    apart = torch.tensor([0.0, 1, 0, 1]).view(1, 1, 1, 1, 4)
    assert loss(warped, apart).item() == pytest.approx(0.0, abs=1e-6)


@given(seed=st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_information_does_not_depend_on_inversion(seed: int) -> None:
    warped, fixed = blobs(seed), blobs(seed + 1)
    loss = MutualInformation(24)
    base = loss(warped, fixed).item()
    assert loss(1 - warped, fixed).item() == pytest.approx(base, abs=1e-4)
    assert loss(warped, 1 - fixed).item() == pytest.approx(base, abs=1e-3)
    assert loss(fixed, fixed).item() < base - 0.3


def test_information_leaves_out_what_has_no_weight() -> None:
    warped, fixed = blobs(), blobs()
    fixed[..., 6:] = noise(1, 1, 12, 14, 7)
    weight = torch.zeros_like(fixed)
    weight[..., :6] = 1
    loss = MutualInformation()
    alone = loss(warped[..., :6], fixed[..., :6]).item()
    assert loss(warped, fixed, weight).item() == pytest.approx(alone, abs=1e-5)
    assert loss(warped, fixed).item() > alone


@pytest.mark.parametrize("weighted", [False, True])
def test_information_has_the_right_gradient(weighted: bool) -> None:
    # some voxels outside 0 to 1, where the gradient is zero
    warped = (noise(2, 1, 3, 4, 5).double() * 1.2 - 0.1).requires_grad_()
    fixed = noise(2, 1, 3, 4, 5, seed=1).double()
    weight = noise(2, 1, 3, 4, 5, seed=2).double() if weighted else None
    assert torch.autograd.gradcheck(
        lambda image: MutualInformation(9)(image, fixed, weight), (warped,)
    )


def test_information_in_chunks_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for size in (100, 1 << 20):
        monkeypatch.setattr("pipeline.training.losses.information.CHUNK", size)
        warped = blobs().requires_grad_()
        loss = MutualInformation()(warped, blobs(1))
        loss.backward()
        assert warped.grad is not None
        found.append((loss.item(), warped.grad))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-8)


def test_mind_compares_twelve_pairs_and_hardly_sees_the_contrast() -> None:
    assert len(PAIRS) == 12
    image = blobs()
    same = Mind()(1 - 0.5 * image, image).item()
    curved = Mind()(image.square(), image).item()
    other = Mind()(blobs(7), image).item()
    assert same < 1e-6
    assert curved < 0.3 * other
    described = Mind().descriptor(image)
    assert described.shape == (1, 12, 12, 14, 13)
    assert described.min() >= 0
    assert torch.allclose(described.amax(1), torch.tensor(1.0))


def test_mind_of_a_flat_image_is_flat() -> None:
    flat = torch.full((1, 1, 5, 5, 5), 0.3)
    assert torch.equal(Mind().descriptor(flat), torch.ones(1, 12, 5, 5, 5))


def test_mind_in_a_flat_place_with_one_bright_neighbour() -> None:
    # radius 0, one axis of voxels: of the voxel beside the bright one, the pairs are x against z
    # or y; one neighbour is 1 (four pairs with a distance of 1), the rest is 0
    image = torch.zeros(1, 1, 1, 1, 5)
    image[..., 3] = 1.0
    found = Mind(radius=0, dilation=1).descriptor(image)[0, :, 0, 0, 2].sort().values
    assert found.tolist() == pytest.approx([math.exp(-3)] * 4 + [1.0] * 8)


@pytest.mark.parametrize("weighted", [False, True])
def test_mind_has_the_right_gradient(weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.training.losses.mind.SLAB", 40)
    warped = noise(2, 1, 4, 3, 3).double().requires_grad_()
    fixed = noise(2, 1, 4, 3, 3, seed=1).double()
    weight = noise(2, 1, 4, 3, 3, seed=2).double() if weighted else None
    loss = Mind(radius=1, dilation=1)
    assert torch.autograd.gradcheck(lambda image: loss(image, fixed, weight), (warped,))
    monkeypatch.setattr("pipeline.training.losses.mind.SLAB", 1 << 20)
    whole = (loss.descriptor(warped) - loss.descriptor(fixed)).square()
    expected = whole.mean() if weight is None else (whole * weight).sum() / (12 * weight.sum())
    assert loss(warped, fixed, weight).item() == pytest.approx(expected.item())


def test_mind_has_a_gradient_that_aligns() -> None:
    fixed = blobs()
    moving = (1 - fixed).roll(1, -1)
    # the moving image is one voxel too far along x: the loss falls towards a shift of +1
    shift = torch.zeros(1, 3, 1, 1, 1, requires_grad=True)
    moved = spatial.warp(moving, shift.expand(1, 3, 12, 14, 13), padding="border")
    Mind()(moved, fixed).backward()
    assert shift.grad is not None
    assert shift.grad[0, 2].item() < 0
    assert shift.grad[0, 2].abs() > 3 * shift.grad[0, :2].abs().max()
