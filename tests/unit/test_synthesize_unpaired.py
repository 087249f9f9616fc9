"""Unpaired translation: what its losses ask, what is drawn, and that trainings go on and end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline import networks
from pipeline.errors import VoxelwayError
from pipeline.synthesize.learning import cycle, unpaired, unpaired_draw
from pipeline.synthesize.learning.cycle import BACK, CRITIC, NAME, POOL, Cycle, Weights
from pipeline.synthesize.learning.presets import CYCLE
from pipeline.synthesize.learning.unpaired_draw import Held, Unpaired
from pipeline.training.collapse import Limits
from pipeline.training.data import collate
from pipeline.training.trainer import fit
from tests.unit import unpaired_cases as cases


class Times(nn.Module):
    """Multiplies, and expects an error of deviation one."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, sources: Tensor, given: Tensor) -> list[Tensor]:
        assert given.shape == sources.shape[:2] and bool((given == 1).all())
        return [torch.cat([self.factor * sources, torch.zeros_like(sources)], dim=1)]


class Constant(nn.Module):
    """A critic that gives everything one score."""

    def __init__(self, score: float) -> None:
        super().__init__()
        self.score = nn.Parameter(torch.tensor(score))

    def forward(self, image: Tensor) -> Tensor:
        return self.score.expand(len(image), 1)


def doubled(weights: Weights, score: float = 0.0) -> Cycle:
    """The target is twice the source, and both ways are known."""
    made = {NAME: Times(2.0), BACK: Times(0.5), CRITIC: Constant(score),
            cycle.CRITIC_BACK: Constant(score)}  # fmt: skip
    return Cycle(made, weights, 4, Limits(), batch(2), "a")


def batch(count: int = 1) -> dict[str, Tensor]:
    shape = (count, 1, 4, 4, 4)
    ones = torch.ones(shape)
    return {"source": ones, "target": 3 * ones, "source_inside": ones, "target_inside": ones}


def test_losses_of_generators_by_hand() -> None:
    recipe = doubled(Weights(2.0, 10.0, 5.0, noise=0.0))
    found = recipe.losses(recipe.networks, cycle.GENERATORS, batch())
    assert float(found["cycle"]) == pytest.approx(0.0)
    # critics say 0: half of a squared 1 each
    assert float(found["adversarial"]) == pytest.approx(1.0)
    # the target 3 becomes 6, the source 1 becomes a half
    assert float(found["identity"]) == pytest.approx(3.5)
    # deviation one and no error: logarithm and square are 0
    assert float(found["likelihood"]) == pytest.approx(0.0)
    assert found["loss"].item() == pytest.approx(2.0 * 1.0 + 5.0 * 3.5)


def test_noise_on_the_way_back_is_seen_in_the_cycle() -> None:
    torch.manual_seed(0)
    recipe = doubled(Weights(1.0, 1.0, noise=0.1))
    found = recipe.losses(recipe.networks, cycle.GENERATORS, batch(64))
    # E|n| = 0.0798 of noise of 0.1, halved one way, doubled the other
    assert float(found["cycle"]) == pytest.approx(2.5 * 0.0798, rel=0.05)


def test_losses_of_critics_by_hand() -> None:
    recipe = doubled(Weights(1.0, 1.0), score=0.5)
    found = recipe.losses(recipe.networks, cycle.CRITICS, batch())
    # half of the squares of a half, twice: a critic that can't tell is at its chance
    assert float(found["critic"]) == pytest.approx(cycle.CHANCE)
    assert found["loss"].item() == pytest.approx(2 * cycle.CHANCE)
    # what was made is in the pools: 2 of 1, and a half of 3
    assert float(recipe.networks[POOL].kept[0].max()) == pytest.approx(2.0)
    assert float(recipe.networks[cycle.POOL_BACK].kept[0].max()) == pytest.approx(1.5)


def test_outside_the_field_of_view_nothing_is_made() -> None:
    image, inside = torch.ones(1, 1, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4)
    inside[..., :2] = 1
    made = cycle.make({NAME: Times(2.0)}, NAME, image, inside)
    assert float(made[..., :2].min()) == 2.0 and float(made[..., 2:].abs().max()) == 0.0


def test_spread_learns_from_the_cycle_and_moves_no_estimate() -> None:
    torch.manual_seed(0)
    made = cases.request("cyclegan", *cases.scans())
    recipe = unpaired.prepare(made).recipe
    sample = collate([unpaired.prepare(made).samples[0]])
    inside = sample["target_inside"]
    again, log = cycle.estimate(recipe.networks, NAME, sample["target"], inside)
    cycle.likelihood(again, log.exp(), sample["target"], inside).backward()
    moved = {
        name
        for name, p in recipe.networks[NAME].named_parameters()
        if p.grad is not None and bool(p.grad.abs().sum() > 0)
    }
    assert moved == {"last.spread.weight", "last.spread.bias"}


def test_distance_of_distributions() -> None:
    a = torch.linspace(0, 1, 1000)
    assert cycle.apart(a, a[torch.randperm(1000)]) == 0.0
    assert cycle.apart(a, a + 0.25) == pytest.approx(0.25, abs=1e-6)
    # the quantiles of a and 2 a differ by the quantile: a half in the mean
    assert cycle.apart(a, 2 * a) == pytest.approx(0.5, abs=0.01)


def test_steepness_of_a_ramp() -> None:
    ramp = 0.3 * torch.arange(6.0).view(1, 1, 1, 1, 6).expand(1, 1, 5, 5, 6)
    inside = torch.ones_like(ramp)
    inside[..., 5] = 0
    found = cycle.steepness(ramp, inside)
    # inner voxels of 5 x 5 x 5
    assert len(found) == 27 and torch.allclose(found, torch.tensor(0.3))


def test_scores_need_no_pair() -> None:
    recipe = doubled(Weights(1.0, 1.0))
    found = recipe.scores(recipe.networks, batch())
    # made is 2, the other's target 3; no edges; the cycle closes
    assert found["intensities"] == pytest.approx(1.0)
    assert found["mismatch"] == pytest.approx(1.0)
    assert found["edges"] == 0.0 and found["cycle"] == 0.0


@pytest.mark.parametrize(
    "entries",
    [
        [{"name": "cycle"}],
        [{"name": "adversarial"}],
        [*CYCLE, {"name": "l1"}],
        [*CYCLE, {"name": "gradient_consistency", "size": 3}],
    ],
)
def test_losses_that_are_refused(entries: list[dict[str, Any]]) -> None:
    with pytest.raises(VoxelwayError, match="E-CONFIG-VALUE"):
        Weights.of(entries)


def test_arguments_of_losses() -> None:
    found = Weights.of([{"name": "adversarial", "weight": 3, "pool": 7},
                        {"name": "cycle", "noise": 0.0}])  # fmt: skip
    assert found == Weights(adversarial=3.0, cycle=1.0, pool=7, noise=0.0)


# gradient consistency


def test_samples_are_never_of_one_person() -> None:
    both = [cases.scan(name, ("T1w", "T2w"), k) for k, name in enumerate("ab")]
    marked = []
    for number, one in enumerate(both):
        values = {s: torch.where(one.mask, 1.0 + number, 0.0) for s in one.contrasts}
        marked.append(type(one)(**{**vars(one), "contrasts": values}))
    draw = Unpaired(marked, "T1w", "T2w", 8)
    for number in range(30):
        sample = draw(np.random.default_rng([0, number]), number)
        source, target = (round(float(sample[key].max())) for key in ("source", "target"))
        assert {source, target} == {1, 2}


def test_samples_repeat_and_hold_no_classes_unless_asked() -> None:
    train, _ = cases.scans()
    draw = Unpaired(train, "T1w", "T2w", 8)
    first, again = (draw(np.random.default_rng(3), 0) for _ in range(2))
    assert set(first) == {"source", "target", "source_inside", "target_inside"}
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert first["source"].shape == (1, 8, 8, 8)


def test_classes_lie_on_their_source() -> None:
    train, _ = cases.scans()
    draw = Unpaired(train, "T1w", "T2w", 8, np.arange(4))
    for number in range(10):
        sample = draw(np.random.default_rng([1, number]), number)
        assert "target_classes" not in sample
        classes, values = sample["source_classes"], sample["source"][0]
        for label, value in enumerate(cases.VALUES["T1w"], start=1):
            here = values[classes == label]
            assert not len(here) or abs(float(here.mean()) - value) < 0.15 * value
        assert not values[classes == 0].any()


def test_a_field_of_view_that_ends_is_left_out() -> None:
    one = cases.scan("a", ("T1w",), 1)
    one.contrasts["T1w"][:8] = 0.0
    draw = Unpaired([one, cases.scan("b", ("T2w",), 2)], "T1w", "T2w", 6)
    for number in range(10):
        sample = draw(np.random.default_rng(number), number)
        assert sample["source"][0, 3, 3, 3] != 0
        assert not (sample["source"] * (1 - sample["source_inside"])).any()


@pytest.mark.parametrize(
    "train",
    [
        [cases.scan("a", ("T1w", "T2w"), 1)],
        [cases.scan("a", ("T1w",), 1), cases.scan("b", ("T1w",), 2)],
        [],
    ],
)
def test_too_few_subjects_are_refused(train: list[Any]) -> None:
    with pytest.raises(VoxelwayError, match="E-TRAIN-DATA"):
        unpaired_draw.check(train, "T1w", "T2w", 1)


def test_validation_takes_another_subjects_target() -> None:
    train, validation = cases.scans()
    held = Held(validation, train, "T1w", "T2w", 16)
    sample = held(np.random.default_rng(0), 0)
    assert held.count == 1 and {"truth", "truth_inside"} <= set(sample)
    assert not np.array_equal(sample["truth"], sample["target"])
    assert np.allclose(sample["source"][0], validation[0].contrasts["T1w"].numpy())


def test_cubes_at_borders_and_of_small_images() -> None:
    values = np.arange(27).reshape(3, 3, 3)
    assert np.array_equal(unpaired_draw.cut(values, np.array([0, 0, 0]), 2), values[:2, :2, :2])
    wide = unpaired_draw.cut(values, np.array([1, 1, 1]), 5)
    assert wide.shape == (5, 5, 5) and wide.sum() == values.sum()


# networks and trainings


@pytest.mark.parametrize("dimensions", ["3", "2.5"])
@pytest.mark.parametrize("normalisation", ["none", "instance"])
def test_generator_keeps_any_shape(dimensions: str, normalisation: str) -> None:
    arguments = {"inputs": 1, "targets": 1, "features": 2, "blocks": 1, "dimensions": dimensions,
                 "normalisation": normalisation}  # fmt: skip
    network = networks.build("resnet_generator", arguments)
    (found,) = network(torch.randn(2, 1, 5, 9, 11), torch.ones(2, 1))
    assert found.shape == (2, 2, 5, 9, 11)


def test_generator_in_planes_sees_its_neighbours_only() -> None:
    torch.manual_seed(0)
    network = networks.build("resnet_generator", {"inputs": 1, "targets": 1, "features": 2,
                                                  "blocks": 1, "dimensions": "2.5"})  # fmt: skip
    image = torch.randn(1, 1, 6, 8, 8)
    other = image.clone()
    other[:, :, 5] += 1.0
    before, after = (network(one, torch.ones(1, 1))[0] for one in (image, other))
    changed = (before - after).abs().amax(dim=(0, 1, 3, 4)) > 1e-7
    assert changed.tolist() == [False, False, False, False, True, True]


@pytest.mark.parametrize("method", ["gradient_cyclegan"])
def test_training_goes_on_as_if_it_had_not_been_cut(
    method: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = trained(method, tmp_path / "whole", steps=4)
    cut = cases.request(method, *cases.scans(), steps=4)
    job = unpaired.prepare(cut)
    losses, moves = job.recipe.losses, []

    def until(networks: Mapping[str, nn.Module], player: str, batch: Any) -> dict[str, Tensor]:
        moves.append(player)
        if moves.count(cycle.CRITICS) > 3:
            raise KeyboardInterrupt
        return losses(networks, player, batch)

    job.recipe.losses = until  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        fit(job.recipe, job.samples, job.validation, cut.plan, tmp_path / "cut")
    capfd.readouterr()
    again = trained(method, tmp_path / "cut", steps=4)
    assert "going on after step 2" in capfd.readouterr().err
    for name in (NAME, BACK, CRITIC, POOL):
        for key, values in whole.weights[name].items():
            assert np.array_equal(values, again.weights[name][key]), (name, key)
    assert whole.weights[POOL]["count"] == 3


def trained(method: str, folder: Path, steps: int) -> Any:
    request = cases.request(method, *cases.scans(), steps=steps)
    job = unpaired.prepare(request)
    return fit(job.recipe, job.samples, job.validation, request.plan, folder)


def test_card_measures_compare_with_the_truth() -> None:
    truth = torch.rand(1, 1, 12, 12, 12) + 0.5
    inside = torch.ones_like(truth)
    same = unpaired.against(truth, truth, inside)
    assert same["SSIM"] == pytest.approx(1.0) and same["NCC"] == pytest.approx(1.0)
    assert same["PSNR, dB"] > 100
    # an error of a tenth of the range is 20 dB
    width = float(torch.quantile(truth, 0.995))
    shifted = unpaired.against(truth + 0.1 * width, truth, inside)
    assert shifted["PSNR, dB"] == pytest.approx(20.0, abs=1e-3)
    assert shifted["NCC"] == pytest.approx(1.0)


@pytest.mark.parametrize("contrasts", [("T1w", "FLAIR"), ("T2w",)])
def test_one_source_and_one_target(contrasts: tuple[str, ...]) -> None:
    request = cases.request("cyclegan", *cases.scans(), contrasts=contrasts)
    with pytest.raises(VoxelwayError, match="E-CONFIG-VALUE"):
        unpaired.prepare(request)


def test_a_cycle_has_no_segmenter() -> None:
    request = cases.request("cyclegan", *cases.scans(), preset=cases.preset("synseg"))
    with pytest.raises(VoxelwayError, match="synseg"):
        unpaired.prepare(request)


def test_no_validation_subject_with_the_source() -> None:
    train, _ = cases.scans()
    request = cases.request("cyclegan", train, [cases.scan("e", ("T2w",), 5, "val")])
    with pytest.raises(VoxelwayError, match="E-TRAIN-DATA"):
        unpaired.prepare(request)


def test_collapse_stops_the_training(tmp_path: Path) -> None:
    # critics that lose as soon as they are worse than chance
    limits = {"window": 1, "loses": 1.0, "after": 0, "diversity": 0.0}
    request = cases.request("cyclegan", *cases.scans(), learning=cases.learning(collapse=limits))
    job = unpaired.prepare(request)
    with pytest.raises(VoxelwayError, match="E-TRAIN-COLLAPSED"):
        fit(job.recipe, job.samples, job.validation, request.plan, tmp_path)


# joint synthesis and segmentation
