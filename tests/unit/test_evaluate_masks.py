"""Overlap and surface distance: answers worked out by hand, and what must hold for any masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.evaluate.overlap import overlap
from pipeline.evaluate.surface import (
    DISTANCES,
    surface_distances,
    surface_measures,
    surface_voxels,
)

MASKS = arrays(np.bool_, (4, 5, 6))


def empty() -> np.ndarray:
    return np.zeros((6, 7, 8), dtype=bool)


def box(*spans: tuple[int, int]) -> np.ndarray:
    mask = empty()
    mask[tuple(slice(*span) for span in spans)] = True
    return mask


def test_overlap_of_two_boxes_by_hand() -> None:
    # 8 and 12 voxels, 4 shared, of 336
    predicted, reference = box((0, 2), (0, 2), (0, 2)), box((1, 2), (0, 2), (0, 6))
    values = overlap(predicted, reference, voxel_ml=0.5)
    assert values["dice"] == pytest.approx(8 / 20)
    assert values["jaccard"] == pytest.approx(4 / 16)
    assert values["sensitivity"] == pytest.approx(4 / 12)
    assert values["precision"] == pytest.approx(4 / 8)
    assert values["specificity"] == pytest.approx((336 - 16) / (336 - 12))
    assert values["f1"] == pytest.approx(2 / (12 / 4 + 8 / 4))
    assert values["accuracy"] == pytest.approx((4 + 336 - 16) / 336)
    assert values["volume_error"] == pytest.approx(-2.0)
    assert values["volume_error_percent"] == pytest.approx(-100 / 3)


def test_both_empty_is_undefined_but_for_what_is_known() -> None:
    values = overlap(empty(), empty(), 1.0)
    undefined = ("dice", "f1", "jaccard", "sensitivity", "precision", "volume_error_percent")
    assert all(math.isnan(values[name]) for name in undefined)
    assert (values["specificity"], values["accuracy"]) == (1.0, 1.0)
    assert values["volume_error"] == 0.0


def test_empty_prediction_scores_zero() -> None:
    values = overlap(empty(), box((0, 1), (0, 1), (0, 5)), 1.0)
    assert (values["dice"], values["jaccard"], values["sensitivity"]) == (0, 0, 0)
    assert math.isnan(values["precision"])
    assert values["volume_error_percent"] == -100.0


def test_empty_reference_scores_zero() -> None:
    values = overlap(box((0, 1), (0, 1), (0, 5)), empty(), 1.0)
    assert (values["dice"], values["jaccard"], values["precision"]) == (0, 0, 0)
    assert math.isnan(values["sensitivity"])
    assert math.isnan(values["volume_error_percent"])
    assert values["volume_error"] == 5.0


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ"):
        overlap(empty(), np.zeros((2, 2, 2), dtype=bool), 1.0)
    with pytest.raises(ValueError, match="differ"):
        surface_distances(empty(), np.zeros((2, 2, 2), dtype=bool), (1, 1, 1))


@given(MASKS, MASKS)
def test_overlap_is_symmetric_and_consistent(a: np.ndarray, b: np.ndarray) -> None:
    there, back = overlap(a, b, 1.0), overlap(b, a, 1.0)
    for name, other in (("dice", "dice"), ("sensitivity", "precision")):
        assert there[name] == back[other] or (math.isnan(there[name]) and math.isnan(back[other]))
    if a.any() or b.any():
        assert there["dice"] == pytest.approx(2 * there["jaccard"] / (1 + there["jaccard"]))


def test_surface_of_a_box_is_its_shell() -> None:
    mask = box((1, 4), (1, 5), (1, 6))
    assert surface_voxels(mask).sum() == 3 * 4 * 5 - 1 * 2 * 3


def test_border_of_the_image_is_outside() -> None:
    assert surface_voxels(np.ones((3, 3, 3), dtype=bool)).sum() == 26


def test_one_voxel_each_with_anisotropic_spacing() -> None:
    a, b = empty(), empty()
    a[1, 1, 1] = b[2, 3, 4] = True
    # one step of 4 mm, two of 2 mm, three of 1 mm
    values = surface_measures(a, b, (4.0, 2.0, 1.0), 1.0)
    expected = math.sqrt(16 + 16 + 9)
    assert [values[name] for name in DISTANCES] == pytest.approx([expected] * len(DISTANCES))
    assert values["surface_dice"] == 0
    assert surface_measures(a, b, (4.0, 2.0, 1.0), expected)["surface_dice"] == 1


def test_directed_distances_by_hand() -> None:
    # a point against a rod of 5 voxels that begins at it, 2 mm apart along the rod
    point, rod = box((0, 1), (0, 1), (0, 1)), box((0, 1), (0, 1), (0, 5))
    there, back = surface_distances(point, rod, (1, 1, 2))
    assert there.tolist() == [0]
    assert sorted(back.tolist()) == [0, 2, 4, 6, 8]
    values = surface_measures(point, rod, (1, 1, 2), 4.0)
    assert values["hd"] == 8
    assert values["hd95"] == pytest.approx(7.6)  # linear between 6 and 8
    assert values["asd"] == pytest.approx(20 / 6)
    assert (values["asd_to_reference"], values["asd_to_prediction"], values["mhd"]) == (0, 4, 4)
    # the point, and 0, 2 and 4 mm of the rod, of 6 voxels
    assert values["surface_dice"] == pytest.approx(4 / 6)


@pytest.mark.parametrize("swap", [False, True])
def test_surface_of_nothing_is_undefined(swap: bool) -> None:
    pair = (empty(), box((1, 3), (1, 3), (1, 3)))
    values = surface_measures(*(pair[::-1] if swap else pair), (1, 1, 1), 1.0)
    assert values.pop("surface_dice") == 0
    assert set(values) == set(DISTANCES)
    assert all(math.isnan(value) for value in values.values())
    neither = surface_measures(empty(), empty(), (1, 1, 1), 1.0)
    assert all(math.isnan(value) for value in neither.values())


@settings(max_examples=40)
@given(MASKS, MASKS, st.tuples(*[st.floats(0.3, 5)] * 3))
def test_surface_measures_are_symmetric_ordered_and_scale(
    a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    values, back = (surface_measures(*pair, spacing, 1.0) for pair in ((a, b), (b, a)))
    if not a.any() or not b.any():
        assert math.isnan(values["hd"])
        return
    assert values["asd_to_reference"] == back.pop("asd_to_prediction")
    assert values["asd_to_prediction"] == back.pop("asd_to_reference")
    assert {name: values[name] for name in back} == pytest.approx(back)
    assert values["asd"] <= values["mhd"] + 1e-9 <= values["hd"] + 2e-9
    assert values["hd95"] <= values["hd"] + 1e-9
    doubled = surface_measures(a, b, tuple(2 * s for s in spacing), 2.0)
    for name in DISTANCES:
        assert doubled[name] == pytest.approx(2 * values[name])
    assert doubled["surface_dice"] == values["surface_dice"]
    assert surface_measures(a, b, spacing, values["hd"])["surface_dice"] == 1


@given(MASKS)
def test_a_mask_is_at_no_distance_from_itself(mask: np.ndarray) -> None:
    values = surface_measures(mask, mask, (1, 2, 3), 0.0)
    if mask.any():
        assert values.pop("surface_dice") == 1
        assert set(values.values()) == {0.0}
