"""Losses of segmentation: values worked out by hand, ignored labels, absent classes, slopes."""

from __future__ import annotations

import math
from typing import Any

import monai.losses
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from pipeline.errors import VoxelwayError
from pipeline.training.losses import segmentation
from pipeline.training.losses.segmentation_terms import signed_distance

CLASSES = 3


def logits_of(probabilities: list[list[float]]) -> Tensor:
    """Four voxels in a 2x2 image, from a row of probabilities a voxel."""
    return torch.tensor(probabilities, dtype=torch.float64).log().T.reshape(1, CLASSES, 2, 2)


def value(name: str, logits: Tensor, target: Tensor, **arguments: Any) -> float:
    found = segmentation.build([{"name": name, **arguments}])([logits], target)
    assert set(found) == {"loss", name}
    assert float(found["loss"]) == pytest.approx(float(found[name]))
    return float(found["loss"])


PROBABILITIES = [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5], [0.8, 0.1, 0.1]]
LOGITS = logits_of(PROBABILITIES)
TARGET = torch.tensor([[[0, 1], [1, 0]]])
# class 1 is true in the second and third voxel: right 0.5 + 0.25, predicted 1.1, true 2
DICE_1 = 2 * 0.75 / (1.1 + 2)
# class 0 is true in the first and last: right 1.3, predicted 1.8, true 2
DICE_0 = 2 * 1.3 / (1.8 + 2)
TRUE = [0.5, 0.5, 0.25, 0.8]


def mean_log(weights: list[float]) -> float:
    pairs = zip(TRUE, weights, strict=True)
    return -sum(weight * math.log(p) for p, weight in pairs) / sum(weights)


def test_cross_entropy_by_hand() -> None:
    assert value("cross_entropy", LOGITS, TARGET) == pytest.approx(mean_log([1, 1, 1, 1]))
    weighted = value("cross_entropy", LOGITS, TARGET, weights=[1, 3, 5])
    assert weighted == pytest.approx(mean_log([1, 3, 3, 1]))


def test_dice_by_hand_leaves_out_the_absent_class() -> None:
    assert value("dice", LOGITS, TARGET) == pytest.approx(1 - DICE_1)
    both = value("dice", LOGITS, TARGET, background=True)
    assert both == pytest.approx(1 - (DICE_0 + DICE_1) / 2)


def test_tversky_by_hand() -> None:
    # class 1: right 0.75, false positives 0.35, false negatives 1.25
    wanted = 1 - 0.75 / (0.75 + 0.3 * 0.35 + 0.7 * 1.25)
    assert value("tversky", LOGITS, TARGET) == pytest.approx(wanted)
    assert value("tversky", LOGITS, TARGET, alpha=0.5, beta=0.5) == pytest.approx(1 - DICE_1)


def test_generalised_dice_by_hand() -> None:
    # both classes have two voxels, hence one weight
    wanted = 1 - 2 * (1.3 + 0.75) / (1.8 + 2 + 1.1 + 2)
    assert value("generalised_dice", LOGITS, TARGET) == pytest.approx(wanted)
    one = torch.tensor([[[0, 1], [0, 0]]])
    # weights 1/9 and 1: right 0.5 + 0.25 + 0.8 and 0.5
    right, all_ = (1.55 / 9 + 0.5), ((1.8 + 3) / 9 + 1.1 + 1)
    assert value("generalised_dice", LOGITS, one) == pytest.approx(1 - 2 * right / all_)


def test_focal_by_hand() -> None:
    wanted = -sum((1 - p) ** 2 * math.log(p) for p in TRUE) / 4
    assert value("focal", LOGITS, TARGET) == pytest.approx(wanted)
    assert value("focal", LOGITS, TARGET, gamma=0) == pytest.approx(mean_log([1, 1, 1, 1]))


def test_combo_by_hand() -> None:
    entropy = 0.0
    for row, label in zip(PROBABILITIES, TARGET.flatten().tolist(), strict=True):
        for k, p in enumerate(row):
            entropy -= 0.7 * math.log(p) if k == label else 0.3 * math.log(1 - p)
    wanted = 0.4 * entropy / 12 + 0.6 * (1 - DICE_1)
    assert value("combo", LOGITS, TARGET, alpha=0.4, beta=0.7) == pytest.approx(wanted)


def test_exponential_logarithmic_by_hand() -> None:
    # each of the two classes has half of the voxels: weight sqrt(2)
    overlap = ((-math.log(DICE_0)) ** 0.3 + (-math.log(DICE_1)) ** 0.3) / 2
    entropy = math.sqrt(2) * sum((-math.log(p)) ** 0.3 for p in TRUE) / 4
    wanted = 0.8 * overlap + 0.2 * entropy
    assert value("exponential_logarithmic", LOGITS, TARGET) == pytest.approx(wanted)
    given_ = value("exponential_logarithmic", LOGITS, TARGET, frequencies=[3, 3, 2], dice=0)
    assert given_ == pytest.approx(0.2 * entropy / math.sqrt(2) * math.sqrt(8 / 3))


def test_boundary_by_hand() -> None:
    target = torch.tensor([[[0, 1, 1, 0]]])
    logits = torch.zeros(1, 2, 1, 4, dtype=torch.float64)
    # distances 0.5, -0.5, -0.5, 0.5: an even guess sums to nothing
    assert value("boundary", logits, target) == pytest.approx(0)
    sure = torch.stack([-40.0 * (2 * target - 1), 40.0 * (2 * target - 1)], dim=1)
    assert value("boundary", sure, target) == pytest.approx(-1.0 / 4)
    assert value("boundary", -sure, target) == pytest.approx(1.0 / 4)


def test_signed_distance_by_hand() -> None:
    line = torch.tensor([[0, 0, 1, 1, 1, 0]], dtype=torch.bool).numpy()
    assert signed_distance(line).tolist() == [[1.5, 0.5, -0.5, -1.5, -0.5, 0.5]]
    assert not signed_distance(line & False).any()
    assert not signed_distance(line | True).any()


def drawn(seed: int, shape: tuple[int, ...] = (2, 4, 6, 4)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((shape[0], CLASSES, *shape[1:]), generator=generator)
    return logits, torch.randint(0, CLASSES, shape, generator=generator)


def test_values_are_those_of_monai_where_it_has_the_same() -> None:
    logits, target = drawn(0)
    told = target[:, None]
    shared: dict[str, Any] = {"to_onehot_y": True, "softmax": True, "smooth_nr": 0, "smooth_dr": 0}
    dice = monai.losses.DiceLoss(**shared, include_background=False, batch=True)
    tversky = monai.losses.TverskyLoss(**shared, alpha=0.3, beta=0.7, batch=True)
    generalised = monai.losses.GeneralizedDiceLoss(**shared, batch=True)
    focal = monai.losses.FocalLoss(gamma=2, to_onehot_y=True, use_softmax=True)
    assert value("dice", logits, target) == pytest.approx(float(dice(logits, told)), abs=1e-5)
    ours = value("tversky", logits, target, background=True)
    assert ours == pytest.approx(float(tversky(logits, told)), abs=1e-5)
    ours = value("generalised_dice", logits, target)
    assert ours == pytest.approx(float(generalised(logits, told)), abs=1e-5)
    # MONAI divides by the number of classes as well
    ours = value("focal", logits, target)
    assert ours == pytest.approx(CLASSES * float(focal(logits, told)), abs=1e-5)


def test_dice_by_image_or_by_batch() -> None:
    logits, target = drawn(1)
    target[0][target[0] == 2] = 0
    alone = [value("dice", logits[k : k + 1], target[k : k + 1]) for k in (0, 1)]
    # the first image has one class that counts, the second two
    wanted = (alone[0] + 2 * alone[1]) / 3
    assert value("dice", logits, target, batch=False) == pytest.approx(wanted, abs=1e-6)
    joined = value("dice", logits.transpose(0, 1).flatten(1, 2)[None], target.flatten(0, 1)[None])
    assert value("dice", logits, target) == pytest.approx(joined, abs=1e-6)


@pytest.mark.parametrize("name", segmentation.LOSSES)
def test_ignored_voxels_count_nowhere(name: str) -> None:
    logits, target = drawn(2)
    target[:, :, 4:] = -1
    before = value(name, logits, target)
    changed = logits.clone()
    changed[..., 4:, :] = 30 * torch.randn(changed[..., 4:, :].shape)
    assert value(name, changed, target) == pytest.approx(before, abs=1e-6)
    if name != "boundary":
        cut = value(name, logits[..., :4, :], target[:, :, :4])
        assert before == pytest.approx(cut, abs=1e-6)


@pytest.mark.parametrize("name", segmentation.LOSSES)
def test_nothing_known_is_no_loss_and_no_gradient(name: str) -> None:
    logits, target = drawn(3)
    logits.requires_grad_()
    loss = segmentation.build([{"name": name}])([logits], torch.full_like(target, -1))["loss"]
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("name", ["dice", "tversky", "boundary"])
def test_a_batch_without_any_structure_is_no_loss(name: str) -> None:
    logits, target = drawn(4)
    assert value(name, logits, torch.zeros_like(target)) == 0


@pytest.mark.parametrize("name", segmentation.LOSSES)
@pytest.mark.parametrize("scale", [0.0, 3.0, 200.0, 1e4])
def test_slopes_are_finite_at_the_best_and_the_worst_prediction(name: str, scale: float) -> None:
    target = drawn(5)[1]
    best = functional.one_hot(target, CLASSES).movedim(-1, 1).float()
    values = []
    for sign in (1, -1):
        logits = (sign * scale * best).requires_grad_()
        loss = segmentation.build([{"name": name}])([logits], target)["loss"]
        loss.backward()
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()
        assert torch.isfinite(loss)
        values.append(float(loss.detach()))
    assert values[0] <= values[1]


@pytest.mark.parametrize("name", segmentation.LOSSES)
def test_following_the_slope_finds_the_labels(name: str) -> None:
    target = torch.zeros(1, 6, 6, 6, dtype=torch.int64)
    target[:, 1:4, 1:4, 1:4], target[:, 4:, 3:, 2:] = 1, 2
    logits = torch.zeros(1, CLASSES, 6, 6, 6, requires_grad=True)
    steps = torch.optim.Adam([logits], 0.3)
    loss = segmentation.build([{"name": name}, {"name": "cross_entropy", "weight": 1e-3}])
    for _ in range(60):
        steps.zero_grad()
        loss([logits], target)["loss"].backward()
        steps.step()
    assert torch.equal(logits.argmax(dim=1), target)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), name=st.sampled_from(sorted(segmentation.LOSSES)))
def test_the_order_of_the_batch_does_not_matter(seed: int, name: str) -> None:
    logits, target = drawn(seed)
    assert value(name, logits, target) == pytest.approx(
        value(name, logits.flip(0), target.flip(0)), abs=1e-5
    )


def test_coarser_outputs_weigh_half_and_see_every_second_label() -> None:
    logits, target = drawn(6, (2, 8, 8, 8))
    outputs = [logits, logits[..., ::2, ::2, ::2] * 2, logits[..., ::4, ::4, ::2] * 3]
    shrunk = [target, target[:, ::2, ::2, ::2], target[:, ::4, ::4, ::2]]
    loss = segmentation.build([{"name": "dice"}, {"name": "cross_entropy", "weight": 2}])
    alone = [loss([one], labels) for one, labels in zip(outputs, shrunk, strict=True)]
    found = loss(outputs, target)
    for key in ("loss", "dice", "cross_entropy"):
        wanted = (4 * alone[0][key] + 2 * alone[1][key] + alone[2][key]) / 7
        assert float(found[key]) == pytest.approx(float(wanted), abs=1e-6)
    assert float(found["loss"]) == pytest.approx(
        float(found["dice"] + 2 * found["cross_entropy"]), abs=1e-6
    )


def test_ignored_labels_stay_ignored_on_coarser_grids() -> None:
    target = torch.tensor([[[-1, 2, 1, 1], [0, 0, -1, 2]]])
    assert segmentation.shrunk(target, (1, 2)).tolist() == [[[-1, 1]]]
    assert segmentation.shrunk(target, (2, 4)) is target


def test_half_precision_is_summed_in_single() -> None:
    logits, target = drawn(7, (1, 32, 48, 48))
    names = [{"name": name} for name in segmentation.LOSSES if name != "boundary"]
    full = segmentation.build(names)([logits.bfloat16().float()], target)
    half = segmentation.build(names)([logits.bfloat16()], target)
    assert half["loss"].dtype == torch.float32
    assert {key: float(one) for key, one in half.items()} == {
        key: float(one) for key, one in full.items()
    }


def test_sums_over_a_million_voxels_are_exact_enough() -> None:
    # 0.97 added a million times in single precision goes astray by percents
    target = torch.ones(1, 100, 100, 100, dtype=torch.int64)
    odds = math.log(0.97 / 0.03)
    logits = torch.stack([torch.zeros_like(target), torch.ones_like(target)], dim=1) * odds
    wanted = 1 - 2 * 0.97 / 1.97
    assert value("dice", logits.float(), target) == pytest.approx(wanted, abs=1e-5)


def test_a_loss_may_come_twice() -> None:
    entries = [{"name": "dice"}, {"name": "dice", "background": True, "weight": 0}]
    logits, target = drawn(8)
    found = segmentation.build(entries)([logits], target)
    assert set(found) == {"loss", "dice", "dice_2"}
    assert found["loss"] == found["dice"]
    assert found["dice"] != found["dice_2"]


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [{"name": "hausdorff"}],
        [{"weight": 1}],
        [{"name": "dice", "weight": -1}],
        [{"name": "dice", "smooth": 1}],
        [{"name": "focal", "gamma": -1}],
        [{"name": "combo", "alpha": 1.5}],
        [{"name": "tversky", "alpha": 0, "beta": 0}],
        [{"name": "cross_entropy", "weights": [0, 0]}],
        [{"name": "cross_entropy", "weights": [1, -1]}],
        [{"name": "exponential_logarithmic", "frequencies": [1, 0]}],
    ],
)
def test_configurations_that_make_no_loss(entries: list[dict[str, Any]]) -> None:
    with pytest.raises(VoxelwayError) as caught:
        segmentation.build(entries)
    assert caught.value.code == "E-CONFIG-VALUE"


def test_labels_that_do_not_fit_the_logits_are_refused() -> None:
    logits, target = drawn(9)
    loss = segmentation.build([{"name": "dice"}])
    for wrong in (target + 1, target - 2, target[:, :2], target[:1]):
        with pytest.raises(ValueError, match="labels"):
            loss([logits], wrong)
    with pytest.raises(ValueError, match="outputs"):
        loss([], target)


@pytest.mark.parametrize(
    "name, key",
    [
        ("cross_entropy", "weights"),
        ("focal", "weights"),
        ("exponential_logarithmic", "frequencies"),
    ],
)
def test_weights_that_are_not_as_many_as_the_classes(name: str, key: str) -> None:
    logits, target = drawn(9)
    with pytest.raises(VoxelwayError, match="3 classes") as caught:
        value(name, logits, target, **{key: [1, 2]})
    assert caught.value.code == "E-CONFIG-VALUE"
