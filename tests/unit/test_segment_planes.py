"""Structures that a plane divides: where it lies, what is left of the posterior, who may ask."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.errors import VoxelwayError
from pipeline.segment import train
from pipeline.segment.cascade import plan as plans
from pipeline.segment.cascade import planes
from pipeline.segment.cascade.plan import Level, Plane
from pipeline.segment.cascade.run import Cascade, Options
from pipeline.segment.learning import divided
from pipeline.segment.learning.cases import Case
from pipeline.segment.learning.recipe import LevelRecipe
from tests.unit.cascade_cases import Fake, level, picture, plan
from tests.unit.segment_cases import section, write_cases

HALVED = level("fine", [[1], [2]], planes=(Plane(1, 2, 0),))
#: Shares of background, label 1 and label 2 along a line that changes its mind twice.
LINE = np.asarray(
    [
        [0.1, 0.1, 0.1, 0.1, 0.2, 0.1, 0.9],
        [0.7, 0.3, 0.8, 0.6, 0.3, 0.2, 0.0],
        [0.2, 0.6, 0.1, 0.3, 0.5, 0.7, 0.1],
    ],
    np.float32,
)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(monkeypatch)


def along(axis: int, line: np.ndarray = LINE) -> np.ndarray:
    """(3, Z, Y, X): the line along an axis of x, y, z, the same in all of a plane across it."""
    shape = [3, 2, 2, 2]
    shape[3 - axis] = line.shape[1]
    sides = [3, 1, 1, 1]
    sides[3 - axis] = line.shape[1]
    return np.ascontiguousarray(np.broadcast_to(line.reshape(sides), shape)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_plane_agrees_best_with_all_voxels(axis: int) -> None:
    # sums of label 1 less label 2: 0.5 0.2 0.9 1.2 1.0 0.5 0.4, the best cut is after four
    own = replace(HALVED, planes=(Plane(1, 2, axis),))
    given = along(axis)
    found = planes.divided(given, own)
    line = np.moveaxis(found, 3 - axis, 1)[:, :, 0, 0]
    assert line.argmax(axis=0).tolist() == [1, 1, 1, 1, 2, 2, 0]
    assert line[1].tolist() == pytest.approx([0.7, 0.6, 0.8, 0.6, 0.3, 0.2, 0.0])
    assert line[2].tolist() == pytest.approx([0.2, 0.3, 0.1, 0.3, 0.5, 0.7, 0.1])
    # what was given stays
    assert np.array_equal(given, along(axis))


def test_the_other_order_has_another_plane() -> None:
    found = planes.divided(along(0), replace(HALVED, planes=(Plane(2, 1, 0),)))
    # label 1 is above every plane
    assert found[:, 0, 0].argmax(axis=0).tolist() == [1, 1, 1, 1, 1, 1, 0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999), st.integers(0, 2))
def test_shares_only_change_places(seed: int, axis: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    given_shares = torch.rand(4, 4, 5, 6, generator=draw).softmax(dim=0).numpy()
    own = level("fine", [[1], [3], [2]], planes=(Plane(2, 1, axis),))
    found = planes.divided(given_shares, own)
    assert np.array_equal(found[[0, 2]], given_shares[[0, 2]])
    assert np.array_equal(np.sort(found, axis=0), np.sort(given_shares, axis=0))
    lower, upper = (np.moveaxis(found[n], 2 - axis, 0) for n in (3, 1))
    cuts = [n for n in range(len(lower) + 1)
            if (lower[:n] >= upper[:n]).all() and (lower[n:] <= upper[n:]).all()]  # fmt: skip
    assert len(cuts) == 1


def test_without_planes_nothing_is_copied() -> None:
    given_shares = along(0)
    assert planes.divided(given_shares, replace(HALVED, planes=())) is given_shares


class Doubtful(nn.Module):
    """Takes what is bright for a structure, and the line's word for which one."""

    divisor = (1, 1, 1)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> list[Tensor]:
        logits = self.weight * torch.from_numpy(LINE).clamp_min(1e-3).log()
        shape = (len(image), 3, *image.shape[2:])
        return [logits[None, :, None, None, :].expand(shape).clone()]


def test_an_image_is_divided(fake: Fake) -> None:
    made = plan(replace(HALVED, patch=(7, 2, 2)))
    bundle = fake(made, {"fine.0": Doubtful()})
    (found,) = Cascade(bundle, Options())([picture(np.ones((4, 4, 7)))], "made up")
    assert found.labels[1, 1].tolist() == [1, 1, 1, 1, 2, 2, 0]
    # the expected volumes are those of the divided shares
    own = found.posterior[1:].sum(axis=(1, 2, 3)) * 8.0
    assert found.samples[0].tolist() == pytest.approx(own.tolist(), rel=1e-5)


def test_training_judges_what_is_divided_and_chooses_by_what_is_not() -> None:
    own = replace(HALVED, spacing=(1.0, 1.0, 1.0), patch=(7, 2, 2))
    made = LevelRecipe("fine.0", own, Doubtful(), [{"name": "dice"}], ["A", "P"], [], "x")
    target = torch.tensor([1, 1, 1, 1, 2, 2, 0]).expand(1, 2, 2, 7).contiguous()
    batch = {"image": torch.zeros(1, 1, 2, 2, 7), "target": target}
    assert made.judged(made.networks, batch) == {"A": 1.0, "P": 1.0}
    # 3 of 4 and of 3: 2 * 3 / 7, and 2 of 3 and of 2: 2 * 2 / 5
    undivided = {"A": 6 / 7, "P": 4 / 5}
    assert made.judged(made.networks, batch, divide=False) == pytest.approx(undivided)
    assert made.scores(made.networks, batch)["dice"] == pytest.approx((6 / 7 + 4 / 5) / 2)


# what the training cases show


def case(number: int, low: int, high: int, overlap: int = 0, axis: int = 1) -> Case:
    """A bar along an axis of x, y, z, a label on each side of its middle."""
    values = np.zeros((12, 12, 12), np.uint8)
    turned = np.moveaxis(values, 2 - axis, 0)
    turned[2:6, 4:8, 4:8] = low
    turned[6:10, 4:8, 4:8] = high
    turned[6 : 6 + overlap, 4, 4] = low
    image = sitk.GetImageFromArray(values)
    return Case(f"set/{number}", image, (), str(number))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_axis_and_order_are_those_of_the_cases(axis: int) -> None:
    found = [case(number, 5, 3, axis=axis) for number in range(3)]
    assert divided.plane((3, 5), found) == divided.plane((5, 3), found) == Plane(5, 3, axis)


def test_the_order_is_of_the_body_not_of_the_file() -> None:
    own = case(0, 1, 2)
    turned = replace(own, labels=sitk.Flip(own.labels, [False, True, False]))
    assert divided.plane((1, 2), [own]) == divided.plane((1, 2), [turned]) == Plane(1, 2, 1)


def test_a_few_voxels_over_the_plane_do_not_matter() -> None:
    assert divided.plane((1, 2), [case(0, 1, 2, overlap=1), *(case(n, 1, 2) for n in range(4))])
    # 4 of 128 voxels in slices that 1 has to itself but for one voxel: 2 * 4 / 128 = 6 %
    with pytest.raises(VoxelwayError, match=r"E-TRAIN-DATA.*No plane.*6\.2 % .*across y"):
        divided.plane((1, 2), [case(0, 1, 2, overlap=4)])


def test_labels_that_change_places_are_refused() -> None:
    mixed = [case(0, 1, 2), case(1, 2, 1)]
    with pytest.raises(VoxelwayError, match="in 50 % of the cases 1 comes first along y"):
        divided.plane((1, 2), mixed)


def test_labels_that_no_case_has_are_refused() -> None:
    with pytest.raises(VoxelwayError, match="no case has both"):
        divided.plane((1, 7), [case(0, 1, 2)])


# plans


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        (
            [level("coarse", [[1], [2]], planes=(Plane(1, 2, 0),)), level("fine", [[1], [2]])],
            "last",
        ),
        ([level("a", [[1], [2]]), level("b", [[1, 2]], planes=(Plane(1, 2, 0),))], "channel each"),
        ([level("fine", [[1], [2]], planes=(Plane(1, 1, 0),))], "channel each"),
        ([level("fine", [[1], [2]], planes=(Plane(1, 2, 3),))], "axis 0, 1 or 2"),
    ],
)
def test_planes_that_can_not_be_are_refused(levels: list[Level], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        plan(*levels)


def test_borders_that_are_drawn_again_have_no_planes() -> None:
    with pytest.raises(ValueError, match="networks"):
        plan(HALVED, appearance=plans.Appearance())


def test_a_plan_remembers_its_planes(tmp_path: Path) -> None:
    made = plan(HALVED)
    made.write(tmp_path / "plan.json")
    assert plans.read(tmp_path / "plan.json").levels[0].planes == (Plane(1, 2, 0),)
    # one that was written before there were planes
    content = made.as_json()
    del content["levels"][0]["planes"]
    assert plans.of(json.loads(json.dumps(content)), "old").levels[0].planes == ()


def test_training_finds_the_plane_and_trains_nothing_again_for_it(tmp_path: Path) -> None:
    write_cases(tmp_path, 4, with_images=True)
    params = section(tmp_path, True)
    params["learning"]["levels"] = params["learning"]["levels"][1:]
    assert train.train(params, tmp_path / "out", None) == 0
    before = (tmp_path / "out.training" / "fine.0" / "last.pt").stat().st_mtime_ns
    params["learning"]["levels"][0]["planes"] = [[2, 1]]
    assert train.train(params, tmp_path / "out", None) == 0
    assert plans.read(tmp_path / "out" / "plan.json").levels[0].planes == (Plane(1, 2, 0),)
    after = (tmp_path / "out.training" / "fine.0" / "last.pt").stat().st_mtime_ns
    assert after == before
