"""Levels that start from an atlas, laid by the centres of what the level before found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline import networks
from pipeline.bundles import read_bundle
from pipeline.errors import VoxelwayError
from pipeline.networks.prior import FLOOR
from pipeline.segment import train
from pipeline.segment.cascade import plan as plans
from pipeline.segment.cascade import prior
from pipeline.segment.cascade.plan import Level, PriorGrid
from pipeline.segment.cascade.run import Cascade, Options
from pipeline.segment.learning import atlas
from pipeline.segment.learning.cases import Case
from tests.unit.segment_cases import label_map, picture, section, write_cases

UNET = {"inputs": 4, "outputs": 3, "channels": [4, 8], "deep_supervision": True}
LEARNED = np.asarray([1, 2], np.int64)
REFERENCE = np.asarray([[0, 0, 0], [40, 0, 0], [0, 50, 0], [0, 0, 60], [20, 30, 10]], np.float64)


def test_the_prior_is_added_to_the_logits_of_every_scale() -> None:
    torch.manual_seed(0)
    leaning = networks.build("unet", {**UNET, "prior": [2, 3, 3, 3]})
    plain = networks.build("unet", UNET)
    weights = {k: v for k, v in leaning.state_dict().items() if k != "prior.shares"}
    plain.load_state_dict(weights)
    image = torch.rand(1, 4, 8, 8, 8)
    image[:, 2:] = 0.0
    image[:, 2, :4], image[:, 3, 4:] = 0.75, 0.5
    for own, bare in zip(leaning(image), plain(image), strict=True):
        half = own.shape[2] // 2
        added = (own - bare)[0].mean(dim=(2, 3))
        first = np.log(np.asarray([0.25, 0.75, 0.0]) + FLOOR)
        second = np.log(np.asarray([0.5, 0.0, 0.5]) + FLOOR)
        assert added[:, :half].T.detach().numpy() == pytest.approx(np.tile(first, (half, 1)), 1e-4)
        assert added[:, half:].T.detach().numpy() == pytest.approx(np.tile(second, (half, 1)), 1e-4)


def test_a_prior_without_a_size_is_refused() -> None:
    with pytest.raises(VoxelwayError) as caught:
        networks.build("unet", {**UNET, "prior": [2, 3]})
    assert caught.value.code == "E-MODEL-INPUT"


@given(
    st.floats(0.7, 1.4),
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.tuples(*[st.floats(-50, 50)] * 3),
    st.sampled_from([[], [0], [1, 4]]),
)
def test_turned_shifted_and_scaled_centres_are_met_exactly(
    scale: float,
    angles: tuple[float, float, float],
    shift: tuple[float, float, float],
    lacking: list[int],
) -> None:
    turn = Rotation.from_euler("xyz", angles).as_matrix()
    # of fewer than four centres no scale is taken
    scale = scale if len(REFERENCE) - len(lacking) >= prior.ENOUGH else 1.0
    found = scale * REFERENCE @ turn.T + shift
    transform_of = found.copy()
    transform_of[lacking] = np.nan
    transform = prior.affine(REFERENCE, transform_of)
    moved = np.asarray([transform.TransformPoint(point) for point in REFERENCE])
    assert moved == pytest.approx(found, abs=1e-3)


def test_a_centre_that_does_not_fit_the_others_hardly_counts() -> None:
    corners = 40.0 * np.stack(np.meshgrid(*[[-1, 1]] * 3), axis=-1).reshape(8, 3)
    points = np.vstack([corners, 0.5 * corners])
    found = points + 5.0
    found[2, 0] += 60.0
    transform = prior.affine(points, found)
    moved = np.asarray([transform.TransformPoint(point) for point in points])
    assert np.abs(np.delete(moved - points - 5.0, 2, axis=0)).max() < 2.0


def test_one_centre_shifts_and_none_leaves_the_atlas() -> None:
    found = np.full((5, 3), np.nan)
    assert prior.affine(REFERENCE, found).GetInverse().TransformPoint((1, 2, 3)) == (1, 2, 3)
    found[1] = (43.0, 5.0, -2.0)
    assert prior.affine(REFERENCE, found).TransformPoint((0, 0, 0)) == (3, 5, -2)


def test_centres_are_of_the_largest_whole_part_in_mm() -> None:
    grid = sitk.Image(16, 14, 12, sitk.sitkUInt8)
    grid.SetSpacing((2, 2, 2))
    grid.SetOrigin((10, 0, 0))
    channels = np.zeros((12, 14, 16), np.int64)
    for number in range(4):
        channels[2:4, 2:4, 2 + 3 * number : 4 + 3 * number] = number + 1
    channels[8:10, 8:10, 3:4] = 1  # a smaller part elsewhere
    channels[6:, 6:, 12:] = 5  # reaches three faces
    channels[0, 0, :3] = 6  # too few
    found = prior.centres(channels, 7, grid)
    assert found[0].tolist() == [15, 5, 5] and found[3].tolist() == [33, 5, 5]
    assert np.isnan(found[4:]).all()
    channels[channels == 4] = 0
    assert prior.centres(channels, 7, grid)[4] == pytest.approx([37, 19, 17]), "too few are whole"


def test_an_atlas_moves_with_the_centres() -> None:
    place = PriorGrid((-10, -10, -10), (2, 2, 2), (12, 12, 12), ((0.0, 0.0, 0.0),))
    shares = np.zeros((2, 12, 12, 12), np.float32)
    shares[1, 5, 5, 5] = 1.0  # at the origin of the atlas
    target = sitk.Image(9, 8, 7, sitk.sitkUInt8)
    target.SetOrigin((20, 20, 20))
    laid = prior.laid(shares, place, np.asarray([[23.0, 24.0, 25.0]]), target)
    assert laid.shape == (2, 7, 8, 9) and not laid[0].any()
    assert np.unravel_index(laid[1].argmax(), laid[1].shape) == (5, 4, 3)
    assert laid[1].max() == 1.0 and laid[1, 5, 4, 4] == 0.5


def levels() -> tuple[Level, Level]:
    coarse = Level("coarse", (2.0, 2.0, 2.0), (16, 16, 16), ((1,), (2,)))
    fine = Level("fine", (1.0, 1.0, 1.0), (16, 16, 16), ((1,), (2,)), crop=(1, 2))
    return coarse, fine


def cases(count: int) -> list[Case]:
    found = []
    for number in range(count):
        labels = label_map(number)
        labels.SetOrigin((50.0 * number, -3.0, 7.0))
        found.append(Case(f"set/{number}", labels, (), str(number)))
    return found


def test_a_case_does_not_see_itself_in_the_atlas() -> None:
    coarse, fine = levels()
    found = cases(3)
    level = replace(fine, prior=atlas.place(found, fine, coarse, LEARNED))
    made = atlas.Atlas(found, level, coarse, LEARNED)
    two = atlas.Atlas(found[1:], level, coarse, LEARNED)
    assert made.without(found[0]) == pytest.approx(two.shares, abs=1e-5)
    strange = Case("other/0", found[0].labels, (), "x")
    assert made.without(strange) == pytest.approx(made.shares)
    # wherever the cases lie and however their blobs do, they meet: 800 mm3 a blob
    volume = made.shares.sum(axis=(1, 2, 3)) * atlas.SPACING**3
    assert volume == pytest.approx([800, 800], rel=0.5)
    assert made.shares.max() > 0.6


def test_a_case_does_not_see_another_session_of_its_subject() -> None:
    coarse, fine = levels()
    found = [replace(one, subject="one") if n < 2 else one for n, one in enumerate(cases(4))]
    level = replace(fine, prior=atlas.place(found, fine, coarse, LEARNED))
    made = atlas.Atlas(found, level, coarse, LEARNED)
    others = atlas.Atlas(found[2:], level, coarse, LEARNED)
    assert made.without(found[0]) == pytest.approx(others.shares, abs=1e-5)


def test_an_atlas_needs_what_it_is_laid_by() -> None:
    coarse, fine = levels()
    with pytest.raises(VoxelwayError) as caught:
        atlas.place(cases(2), fine, replace(coarse, classes=((1,), (7,))), LEARNED)
    assert caught.value.code == "E-TRAIN-DATA"


def test_a_cascade_with_a_prior_from_cases_to_labels(tmp_path: Path) -> None:
    write_cases(tmp_path, 4, with_images=True)
    params = section(tmp_path, True, half=True)
    params["learning"]["levels"][1]["prior"] = True
    assert train.train(params, tmp_path / "out", None) == 0
    plan = plans.read(tmp_path / "out" / "plan.json")
    place = plan.levels[1].prior
    assert place is not None and plan.inputs(1) == 1 + 2 + 2
    shares = read_bundle(tmp_path / "out", "segment").tensors["fine.0/prior.shares"]
    assert shares.dtype == np.uint8 and shares.shape == (2, *place.size[::-1])
    assert shares.max() > 100
    cascade = Cascade(tmp_path / "out", Options(mirror=True))
    labels = label_map(9)
    found = cascade([picture(labels, 9)], "a new case")[-1]
    assert found.posterior.shape[0] == 3 and np.isfinite(found.posterior).all()


def test_a_first_level_has_nothing_to_lay_an_atlas_by(tmp_path: Path) -> None:
    write_cases(tmp_path, 3, with_images=True)
    params = section(tmp_path, True)
    params["learning"]["levels"][0]["prior"] = True
    with pytest.raises(VoxelwayError) as caught:
        train.train(params, tmp_path / "out", None)
    assert caught.value.code == "E-CONFIG-VALUE"
