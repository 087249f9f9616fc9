"""Losses of a registration: values worked out by hand, invariances, gradients, the weighted sum."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline import networks
from pipeline.errors import VoxelwayError
from pipeline.networks import spatial
from pipeline.training.losses import smoothness
from pipeline.training.losses.outcome import Outcome
from pipeline.training.losses.registry import LOSSES, build

from .loss_cases import blobs, noise

SHAPE = (6, 9, 7)


def field(*values: float, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1, 1).expand(1, 3, *shape).clone()


def outcome(**changes: Any) -> Outcome:
    fixed = noise(1, 1, *SHAPE)
    base = Outcome(
        noise(1, 1, *SHAPE, seed=1), fixed, noise(1, 1, *SHAPE, seed=2), field(0, 0, 0.0)
    )
    return dataclasses.replace(base, **changes)


def value(name: str, seen: Outcome, **arguments: Any) -> float:
    found = build([{"name": name, **arguments}])(seen)
    assert set(found) == {"loss", name}
    return found["loss"].item()


# similarity


def test_mse_and_its_mask() -> None:
    fixed = torch.tensor([0.0, 1.0, 2.0]).view(1, 1, 1, 1, 3)
    warped = torch.tensor([1.0, 1.0, 5.0]).view(1, 1, 1, 1, 3)
    seen = outcome(fixed=fixed, warped=warped)
    assert value("mse", seen) == pytest.approx(10 / 3)
    mask = torch.tensor([1.0, 1.0, 0.0]).view(1, 1, 1, 1, 3)
    assert value("mse", dataclasses.replace(seen, mask=mask)) == pytest.approx(0.5)
    assert value("mse", dataclasses.replace(seen, mask=torch.zeros_like(mask))) == 0.0


def test_lncc_follows_the_fixed_image_and_its_mask() -> None:
    total = build([{"name": "lncc", "window": 3}])
    seen = outcome()
    first = total(seen)["loss"].item()
    assert total(seen)["loss"].item() == first
    other = dataclasses.replace(seen, fixed=seen.warped.clone())
    assert total(other)["loss"].item() < 0.01
    assert total(seen)["loss"].item() == first
    mask = torch.zeros(1, 1, *SHAPE)
    mask[:, :, :2] = 1
    masked = total(dataclasses.replace(seen, mask=mask))["loss"].item()
    assert masked != first
    # changed in place: the moments kept are of no use any more
    seen.fixed.copy_(seen.warped)
    assert total(seen)["loss"].item() < 0.01


# smoothness


def test_diffusion_of_a_slope_by_hand() -> None:
    # du_x/dx = 0.5, all other of the nine derivatives zero
    slope = field(0, 0, 0.0)
    slope[:, 2] = 0.5 * torch.arange(7.0)
    assert smoothness.diffusion(slope).item() == pytest.approx(0.25 / 9)
    assert smoothness.diffusion(field(1, 2, 3.0)).item() == 0
    # voxel by voxel up and down is as rough as can be
    zigzag = field(0, 0, 0.0)
    zigzag[:, 2] = torch.arange(7.0) % 2
    assert smoothness.diffusion(zigzag).item() == pytest.approx(1 / 9)


def test_bending_of_an_affine_is_zero_and_of_a_parabola_known() -> None:
    matrix = torch.tensor([[[1.1, 0.2, -0.1, 3.0], [0.05, 0.9, 0.3, -1.0], [0.0, -0.2, 1.3, 0.5]]])
    assert smoothness.bending(spatial.affine_displacement(matrix, SHAPE)).item() < 1e-9
    parabola = field(0, 0, 0.0)
    parabola[:, 0] = torch.arange(7.0).square()  # second derivative 2, in one component of three
    assert smoothness.bending(parabola).item() == pytest.approx(4 / 3)


def test_smoothness_of_the_part_that_is_asked_for() -> None:
    rough = field(0, 0, 0.0)
    rough[:, 2] = torch.arange(7.0)
    seen = outcome(displacement=rough, velocity=2 * rough)
    assert value("diffusion", seen) == pytest.approx(1 / 9)
    assert value("diffusion", seen, of="velocity") == pytest.approx(4 / 9)
    # with an affine part, only the rest of it is to be smooth
    assert value("diffusion", dataclasses.replace(seen, warp=field(1, 1, 1.0))) == 0


def test_inverse_consistency_by_hand() -> None:
    seen = outcome(displacement=field(1, 0, 0.5), inverse=field(-1, 0, 1.5))
    assert value("inverse_consistency", seen) == pytest.approx(4.0)
    exact = outcome(displacement=field(1, 0, 0.5), inverse=field(-1, 0, -0.5))
    assert value("inverse_consistency", exact) == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize("kind", ["axis", "determinant"])
def test_anti_folding_sees_folds_only(kind: str) -> None:
    smooth = field(0, 0, 0.0)
    smooth[:, 2] = -0.9 * torch.arange(7.0)
    assert value("anti_folding", outcome(displacement=smooth), kind=kind) == 0
    # du_x/dx = -3: 1 + g = -2 along the axis, so 2 * 9, and J = -2
    folded = field(0, 0, 0.0)
    folded[:, 2] = -3.0 * torch.arange(7.0)
    expected = 18.0 if kind == "axis" else 2.0
    assert value("anti_folding", outcome(displacement=folded), kind=kind) == pytest.approx(expected)


def test_only_the_determinant_sees_a_fold_across_the_axes() -> None:
    # z and y swapped: a mirror whose own slopes are -1
    matrix = torch.tensor([[[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]])
    seen = outcome(displacement=spatial.affine_displacement(matrix, SHAPE))
    assert value("anti_folding", seen) == pytest.approx(0.0, abs=1e-6)
    assert value("anti_folding", seen, kind="determinant") == pytest.approx(1.0, abs=1e-5)


# supervision


def test_dice_by_hand() -> None:
    # structure 1: 1 of 1 and 2 voxels, Dice 2/3; structure 2: apart, 0; structure 3: in neither
    warped, fixed = torch.zeros(2, 1, 3, 2, 2, 2)
    warped[0, 0, 0, 0, 0] = 1
    fixed[0, 0, 0, 0, :] = 1
    warped[0, 1, 1, 0, 0] = fixed[0, 1, 1, 1, 1] = 1
    found = value("dice", outcome(labels_warped=warped, labels_fixed=fixed))
    assert found == pytest.approx((1 / 3 + 1 + 0) / 3, abs=1e-4)


def test_supervision_counts_where_the_mask_is() -> None:
    target = field(0, 3, 4.0)
    mask = torch.zeros(1, 1, *SHAPE)
    mask[:, :, :2] = 1
    displacement = field(0, 0, 0.0)
    displacement[:, :, 2:] = 100
    seen = outcome(displacement=displacement, target_field=target, target_mask=mask)
    assert value("supervision", seen) == pytest.approx(25.0)
    exact = dataclasses.replace(seen, displacement=target, target_mask=None)
    assert value("supervision", exact) == 0


def test_features_compare_what_the_autoencoder_sees() -> None:
    torch.manual_seed(0)
    encoder = networks.build("autoencoder", {"features": [4, 4]}).requires_grad_(False)
    fixed, warped = blobs(), blobs(1).requires_grad_()
    seen = outcome(fixed=fixed, warped=warped, networks={"autoencoder": encoder})
    total = build([{"name": "features"}])
    total(seen)["loss"].backward()
    assert warped.grad is not None and warped.grad.abs().sum() > 0
    assert total(seen)["loss"].item() > 0
    assert total(dataclasses.replace(seen, warped=fixed))["loss"].item() == 0


class Score(torch.nn.Module):
    """A critic by hand: the mean of the first channel."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :1].mean(dim=(2, 3, 4), keepdim=True)


def test_both_sides_of_the_adversary() -> None:
    warped = torch.full((1, 1, *SHAPE), 0.25, requires_grad=True)
    fixed, moving = torch.full((1, 1, *SHAPE), 1.0), torch.full((1, 1, *SHAPE), 0.5)
    seen = outcome(warped=warped, fixed=fixed, moving=moving, networks={"critic": Score()})
    assert value("adversarial", seen) == pytest.approx(0.75**2)
    # well aligned: 0.2 of the moving in the fixed, 0.9
    assert value("critic", seen) == pytest.approx((0.1**2 + 0.25**2) / 2)
    given_pair = dataclasses.replace(seen, aligned=torch.full((1, 1, *SHAPE), 1.0))
    assert value("critic", given_pair) == pytest.approx(0.25**2 / 2)
    build([{"name": "adversarial"}])(seen)["loss"].backward()
    assert warped.grad is not None and (warped.grad < 0).all()


def test_the_critic_does_not_move_the_registration() -> None:
    torch.manual_seed(0)
    critic = networks.build("critic", {"features": [4]})
    warped = noise(1, 1, *SHAPE).requires_grad_()
    build([{"name": "critic"}])(outcome(warped=warped, networks={"critic": critic}))[
        "loss"
    ].backward()
    assert warped.grad is None
    assert all(weight.grad is not None for weight in critic.parameters())


# the sum


def test_the_sum_is_weighted_and_each_term_is_logged() -> None:
    rough = field(0, 0, 0.0)
    rough[:, 2] = torch.arange(7.0)
    seen = outcome(displacement=rough.requires_grad_())
    total = build(
        [
            {"name": "mse", "weight": 2},
            {"name": "diffusion", "weight": 0.5},
            {"name": "diffusion", "weight": 0},
        ]
    )
    found = total(seen)
    assert list(found) == ["loss", "mse", "diffusion", "diffusion_2"]
    assert found["loss"].item() == pytest.approx(2 * found["mse"].item() + 0.5 / 9)
    found["loss"].backward()
    assert not found["diffusion"].requires_grad
    assert rough.grad is not None and rough.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [{}],
        [{"name": "no_such_loss"}],
        [{"name": "lncc", "window": 4}],
        [{"name": "lncc", "size": 9}],
        [{"name": "mse", "weight": -1}],
        [{"name": "diffusion", "of": "image"}],
        [{"name": "anti_folding", "kind": "both"}],
        [{"name": "mutual_information", "bins": 2}],
        [{"name": "mind", "dilation": 0}],
        [{"name": "critic", "blend": 2}],
    ],
)
def test_a_senseless_sum_is_refused(entries: list[dict[str, Any]]) -> None:
    with pytest.raises(VoxelwayError) as caught:
        build(entries)
    assert caught.value.code == "E-CONFIG-VALUE"


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("dice", "labels_warped"),
        ("supervision", "target_field"),
        ("inverse_consistency", "inverse"),
        ("features", "autoencoder"),
        ("adversarial", "critic"),
        ("critic", "critic"),
    ],
)
def test_a_loss_says_what_it_lacks(name: str, missing: str) -> None:
    with pytest.raises(VoxelwayError, match=missing) as caught:
        build([{"name": name}])(outcome())
    assert caught.value.code == "E-CONFIG-VALUE"


def test_every_loss_gives_a_finite_scalar() -> None:
    torch.manual_seed(0)
    models = {
        "autoencoder": networks.build("autoencoder", {}),
        "critic": networks.build("critic", {}),
    }
    labels = noise(1, 2, *SHAPE)
    seen = outcome(
        inverse=field(0, 0, 0.0),
        velocity=field(0, 0, 0.0),
        labels_warped=labels,
        labels_fixed=labels.round(),
        target_field=field(0, 1, 0.0),
        networks=models,
    )
    for name in LOSSES:
        found = build([{"name": name}])(seen)["loss"]
        assert found.shape == () and torch.isfinite(found), name
