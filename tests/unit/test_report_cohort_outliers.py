"""Outliers: by one measure against hand-made answers, by the forest against planted sessions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.report import outliers

LIMITS: dict[str, Any] = {"fewest": 10, "robust_z": 3.5, "forest_score": 0.6}
NAN = float("nan")


def test_robust_z_by_hand() -> None:
    # median 6, absolute deviations 0 1 1 2 2 3 3 4 4 5 94: their median is 3
    values = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100], dtype=float)
    found = outliers.robust_z(values)
    assert found[5] == 0
    assert found[10] == pytest.approx(94 / (1.4826 * 3))
    assert found[0] == pytest.approx(-5 / (1.4826 * 3))


def test_more_than_half_equal_takes_the_mean_deviation() -> None:
    # ten zeros and two twos: median 0, MAD 0, mean absolute deviation 4 / 12
    values = np.array([0.0] * 10 + [2.0, 2.0])
    assert outliers.robust_z(values)[-1] == pytest.approx(2 / (1.253314 / 3))


@pytest.mark.parametrize("value", [0.0, 7.3, 1e9 / 3])
def test_a_constant_measure_tells_nothing(value: float) -> None:
    assert not outliers.robust_z(np.full(20, value)).any()
    jitter = np.full(20, value) * (1 + 1e-15 * np.arange(20))
    assert not outliers.robust_z(jitter).any()


def test_too_few_values_tell_nothing() -> None:
    values = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 90] + [NAN] * 20)
    assert np.isnan(outliers.robust_z(values)).all()


def test_missing_values_stay_missing() -> None:
    values = np.array([*range(12), NAN], dtype=float)
    found = outliers.robust_z(values)
    assert np.isnan(found[-1]) and np.isfinite(found[:-1]).all()


@given(
    arrays(np.float64, 25, elements=st.floats(-1e3, 1e3).map(lambda v: round(v, 3))),
    st.floats(0.1, 100), st.floats(-1000, 1000),
)  # fmt: skip
def test_robust_z_does_not_depend_on_the_unit(values: Any, scale: float, shift: float) -> None:
    one, other = outliers.robust_z(values), outliers.robust_z(values * scale + shift)
    assert np.allclose(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("way", "expected"),
    [("higher", [True, False]), ("lower", [False, True]), ("none", [True, True])],
)
def test_only_the_worse_side_counts(way: Any, expected: list[bool]) -> None:
    column = np.array([-50.0, *np.linspace(0, 1, 20), 50.0])
    found = outliers.find(column[:, None], [way], LIMITS)
    assert [bool(found[0].far), bool(found[-1].far)] == expected


def test_of_errors_around_zero_the_nearer_ones_are_never_far() -> None:
    # median 5: an error of 0 is unusual here, and still the best there can be
    column = np.array([0.0, *np.linspace(4.9, 5.1, 20), 12.0])
    found = outliers.find(column[:, None], ["zero"], LIMITS)
    assert not found[0].far and found[-1].far


def cohort(sessions: int = 200, measures: int = 30, seed: int = 1) -> Any:
    return np.random.default_rng(seed).standard_normal((sessions, measures))


WAYS: Any = ["none"] * 30


def test_a_planted_session_is_found_with_its_measures() -> None:
    table = cohort()
    table[17, 4:16] += 7.0
    found = outliers.find(table, WAYS, LIMITS)
    assert [n for n, one in enumerate(found) if one.forest] == [17]
    assert {column for column, _ in found[17].causes} <= set(range(4, 16))
    assert all(fall > 0 for _, fall in found[17].causes) and found[17].causes
    assert {column for column, _ in found[17].far} >= set(range(6, 12))


def test_a_normal_cohort_has_no_unusual_session_as_a_whole() -> None:
    for seed in range(3):
        assert not any(one.forest for one in outliers.find(cohort(seed=seed), WAYS, LIMITS))


def test_same_seed_same_scores() -> None:
    one, other = (outliers.find(cohort(60), WAYS, LIMITS, seed=3) for _ in range(2))
    assert one == other
    assert one != outliers.find(cohort(60), WAYS, LIMITS, seed=4)


def test_few_sessions_are_silent() -> None:
    assert outliers.find(cohort(9), WAYS, LIMITS) == []
    assert len(outliers.find(cohort(10), WAYS, LIMITS)) == 10


def test_a_contrast_that_was_not_acquired_makes_nobody_unusual() -> None:
    table = cohort()
    table[::5, 10:25] = NAN
    found = outliers.find(table, WAYS, LIMITS)
    scores = np.array([one.score for one in found])
    assert not any(one.forest for one in found)
    assert np.median(scores[::5]) < np.median(np.delete(scores, np.s_[::5])) + 0.01


def test_columns_that_are_mostly_missing_or_constant_are_left_out_of_the_forest() -> None:
    table = cohort(40)
    table[:30, 0] = NAN
    table[:, 1] = 3.0
    table[35, 0] = 1e6
    forest = outliers.Forest.fit(
        np.column_stack([outliers.robust_z(column) for column in table.T]), 0
    )
    assert 0 not in forest.owners and 1 not in forest.owners and 2 in forest.owners


def test_nothing_but_missing_values_is_no_error() -> None:
    found = outliers.find(np.full((12, 3), NAN), ["none"] * 3, LIMITS)
    assert not any(one.unusual for one in found)
