"""Batch effects and trends, against answers worked out by hand and planted effects."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from pipeline.report.cohort import batch

NAN = float("nan")


def test_share_of_variance_by_hand() -> None:
    # ranks 1-5 and 6-10: H = 12 / (10 * 11) * (15**2 / 5 + 40**2 / 5) - 3 * 11 = 6.8182
    values = np.arange(10.0)
    (effect,) = batch.effects([values], ["a"] * 5 + ["b"] * 5)
    assert effect.share == pytest.approx((6.818182 - 1) / 8, abs=1e-6)
    assert effect.p == pytest.approx(0.009023, abs=1e-5)
    assert effect.groups == (("b", 5, 7.0), ("a", 5, 2.0))


def test_small_groups_and_unknown_ones_are_left_out() -> None:
    values = np.arange(18.0)
    names = ["a"] * 5 + ["b"] * 5 + ["c"] * 4 + [""] * 4
    (effect,) = batch.effects([values], names)
    assert [name for name, _, _ in effect.groups] == ["b", "a"]
    assert batch.effects([values], ["a"] * 14 + ["c"] * 4) == []


def test_missing_values_do_not_count_for_a_group() -> None:
    values = np.array([*range(5), 10, 11, 12, 13, NAN], dtype=float)
    assert batch.effects([values], ["a"] * 5 + ["b"] * 5) == []


def test_no_effect_has_no_share_and_constants_are_skipped() -> None:
    alike = np.array([1.0, 2, 3, 4, 5] * 2)
    found = batch.effects([alike, np.ones(10)], ["a"] * 5 + ["b"] * 5)
    assert [(effect.column, effect.share) for effect in found] == [(0, 0.0)]


def test_p_values_are_corrected_for_their_number() -> None:
    rng = np.random.default_rng(0)
    names = ["a"] * 20 + ["b"] * 20
    values = [rng.standard_normal(40) for _ in range(50)]
    values[7][20:] += 3
    found = batch.effects(values, names)
    assert [effect.column for effect in found if effect.holm < 0.05] == [7]
    assert found[0].column == 7 and found[0].holm == pytest.approx(50 * found[0].p)


def days(count: int, step: int = 30) -> list[str]:
    first = datetime.date(2020, 1, 1)
    return [(first + datetime.timedelta(days=step * n)).isoformat() for n in range(count)]


def test_slope_of_a_line_is_exact_whatever_one_value_does() -> None:
    dates = days(24)
    values = 5.0 + 2.0 * np.arange(24) * 30 / 365.25
    values[3] = 900.0
    (trend,) = batch.trends([values], dates)
    assert trend.slope == pytest.approx(2.0)
    assert trend.low <= 2.0 <= trend.high and trend.subjects == 24
    assert trend.rho > 0.7 and trend.p < 0.001


def test_long_cohorts_are_thinned_and_keep_the_slope() -> None:
    dates = days(1500, 1)
    rng = np.random.default_rng(0)
    values = -3.0 * np.arange(1500) / 365.25 + 0.1 * rng.standard_normal(1500)
    (trend,) = batch.trends([values], dates)
    assert trend.slope == pytest.approx(-3.0, abs=0.05) and trend.subjects == 1500


def test_a_trend_needs_dates() -> None:
    values = np.arange(20.0)
    assert batch.trends([values], [""] * 20) == []
    assert batch.trends([values], ["2020-01-01"] * 10 + ["2020-02-01"] * 10) == []
    assert batch.trends([values], [*days(9), *["no date"] * 11]) == []
