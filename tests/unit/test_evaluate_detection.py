"""Lesion-wise detection: by hand, edge cases, and a flood fill of our own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.evaluate.detection import detection

MASKS = arrays(np.bool_, (4, 5, 6), elements=st.integers(0, 3).map(lambda n: n == 0))


def empty() -> np.ndarray:
    return np.zeros((8, 9, 10), dtype=bool)


def lesions(*boxes: tuple[slice, slice, slice]) -> np.ndarray:
    mask = empty()
    for box in boxes:
        mask[box] = True
    return mask


A = (slice(0, 2), slice(0, 2), slice(0, 2))  # 8 voxels
B = (slice(4, 6), slice(4, 6), slice(4, 6))
C = (slice(0, 2), slice(7, 9), slice(8, 10))
CORNER_OF_A = (slice(1, 2), slice(1, 2), slice(1, 2))


def test_by_hand() -> None:
    # of A one corner is found, B is found whole, C is missed; one of three predictions is false
    reference = lesions(A, B, C)
    predicted = lesions(CORNER_OF_A, B, (slice(7, 8), slice(0, 1), slice(0, 1)))
    values = detection(predicted, reference, 0.0)
    assert values == {
        "lesion_sensitivity": pytest.approx(2 / 3),
        "lesion_precision": pytest.approx(2 / 3),
        "lesion_f1": pytest.approx(2 / 3),
        "lesions_missed": 1,
        "lesions_false": 1,
    }


@pytest.mark.parametrize(("share", "found"), [(0.0, 1.0), (0.125, 1.0), (0.126, 0.0), (1.0, 0.0)])
def test_share_that_counts_as_found(share: float, found: float) -> None:
    values = detection(lesions(CORNER_OF_A), lesions(A), share)
    assert values["lesion_sensitivity"] == found
    assert values["lesion_precision"] == 1.0  # the whole prediction is inside


def test_one_prediction_over_two_lesions_finds_both_and_two_in_one_are_true() -> None:
    bridge = lesions((slice(0, 6), slice(0, 6), slice(0, 6)))
    values = detection(bridge, lesions(A, B), 0.0)
    assert (values["lesion_sensitivity"], values["lesion_precision"]) == (1, 1)
    values = detection(lesions(A, B), bridge, 0.0)
    assert (values["lesion_sensitivity"], values["lesion_precision"]) == (1, 1)


def test_voxels_that_share_a_corner_are_one_lesion() -> None:
    diagonal = empty()
    diagonal[1, 1, 1] = diagonal[2, 2, 2] = True
    assert detection(empty(), diagonal, 0.0)["lesions_missed"] == 1
    diagonal[2, 2, 2], diagonal[3, 1, 1] = False, True
    assert detection(empty(), diagonal, 0.0)["lesions_missed"] == 2


def test_empty_masks() -> None:
    both = detection(empty(), empty(), 0.0)
    assert (both["lesions_missed"], both["lesions_false"]) == (0, 0)
    assert all(math.isnan(both[f"lesion_{n}"]) for n in ("sensitivity", "precision", "f1"))
    missed = detection(empty(), lesions(A, B), 0.0)
    assert (missed["lesion_sensitivity"], missed["lesion_f1"], missed["lesions_missed"]) == (
        0,
        0,
        2,
    )
    assert math.isnan(missed["lesion_precision"])
    false = detection(lesions(A, B), empty(), 0.0)
    assert (false["lesion_precision"], false["lesion_f1"], false["lesions_false"]) == (0, 0, 2)
    assert math.isnan(false["lesion_sensitivity"])


def test_nothing_shared_is_an_f1_of_zero() -> None:
    assert detection(lesions(A), lesions(B), 0.0)["lesion_f1"] == 0


def test_one_voxel() -> None:
    assert detection(lesions(CORNER_OF_A), lesions(CORNER_OF_A), 1.0)["lesion_f1"] == 1


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ"):
        detection(empty(), empty()[1:], 0.0)


def components(mask: np.ndarray) -> list[set[tuple[int, ...]]]:
    """Connected voxels, by a flood fill."""
    left = {tuple(int(i) for i in place) for place in np.argwhere(mask)}
    parts = []
    while left:
        border, part = [left.pop()], set()
        while border:
            here = border.pop()
            part.add(here)
            near = {p for p in left if max(abs(a - b) for a, b in zip(p, here, strict=True)) <= 1}
            left -= near
            border += near
        parts.append(part)
    return parts


@settings(max_examples=60, deadline=None)
@given(MASKS, MASKS, st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_equals_a_flood_fill(a: np.ndarray, b: np.ndarray, share: float) -> None:
    def met(mask: np.ndarray, other: np.ndarray) -> list[bool]:
        parts = components(mask)
        shared = [sum(bool(other[place]) for place in part) for part in parts]
        return [n > 0 and n >= share * len(p) for n, p in zip(shared, parts, strict=True)]

    values = detection(a, b, share)
    found, true = met(b, a), met(a, b)
    assert values["lesions_missed"] == found.count(False)
    assert values["lesions_false"] == true.count(False)
    if found:
        assert values["lesion_sensitivity"] == pytest.approx(np.mean(found))
    if true:
        assert values["lesion_precision"] == pytest.approx(np.mean(true))
    if any(found) and any(true):
        mean = 2 / (len(found) / found.count(True) + len(true) / true.count(True))
        assert values["lesion_f1"] == pytest.approx(mean)
