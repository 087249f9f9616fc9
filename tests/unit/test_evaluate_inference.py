"""Statistics over subjects, against hand-worked numbers, enumeration and other libraries."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.evaluate import inference


def enumerated(differences: list[float]) -> float:
    """Two-sided signed-rank p-value by all 2^n signs; ranks by counting, so ties share one."""
    told = [d for d in differences if d != 0]
    sizes = [abs(d) for d in told]
    ranks = [sum(s < x for s in sizes) + (sum(s == x for s in sizes) + 1) / 2 for x in sizes]
    middle = sum(ranks) / 2
    away = abs(sum(r for r, d in zip(ranks, told, strict=True) if d > 0) - middle)
    sums = (
        sum(itertools.compress(ranks, up)) for up in itertools.product((0, 1), repeat=len(told))
    )
    return sum(abs(total - middle) >= away - 1e-9 for total in sums) / 2 ** len(told)


def test_six_rises_by_hand() -> None:
    found = inference.infer([0.0] * 6, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], seed=0)
    assert found.p == 2 / 64
    assert found.rank_biserial == 1.0
    assert (found.mean_a, found.mean_b, found.difference) == (0.0, 3.5, 3.5)
    # variance of 1..6 with n - 1 is 3.5
    assert found.dz == pytest.approx(3.5 / math.sqrt(3.5))


def test_mixed_signs_by_hand() -> None:
    # ranks 1..7, falls have 1 and 3: of 128 sign patterns, those with a sum of at most 4 are
    # {}, 1, 2, 3, 4, 1+2, 1+3: 7 each side
    found = inference.infer([0.0] * 7, [-1.0, 2, -3, 4, 5, 6, 7], seed=0)
    assert found.p == pytest.approx(14 / 128)
    assert found.rank_biserial == pytest.approx((24 - 4) / 28)


def test_five_pairs_tell_nothing() -> None:
    found = inference.infer([0.0] * 5, [1.0, 2, 3, 4, 5], seed=0)
    assert (found.n, found.changed, found.difference) == (5, 5, 3.0)
    assert {found.p, found.low, found.high, found.dz, found.rank_biserial} == {None}


def test_pairs_without_a_difference_do_not_make_a_test() -> None:
    found = inference.infer([0.0] * 9, [0.0] * 4 + [1.0, 2, 3, 4, 5], seed=0)
    assert (found.n, found.changed, found.p, found.low) == (9, 5, None, None)


def test_last_bits_do_not_break_ties() -> None:
    # 0.3 - 0.2 and 0.2 - 0.1 differ in the last bits only
    a, b = [0.2, 0.1, 0.5, 0.7, 0.8, 0.9], [0.3, 0.2, 0.4, 0.5, 0.5, 0.5]
    assert inference.infer(a, b, 0).p == pytest.approx(enumerated([1, 1, -1, -2, -3, -4]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=6, max_size=10))
def test_exact_with_ties_and_zeros(values: list[int]) -> None:
    found = inference.infer([0.0] * len(values), [float(v) for v in values], 0)
    if sum(v != 0 for v in values) < inference.FEWEST:
        assert found.p is None
    else:
        assert found.p == pytest.approx(enumerated([float(v) for v in values]))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 100), min_size=6, max_size=15), st.integers(0, 99))
def test_swapping_the_runs_turns_everything_round(percent: list[int], seed: int) -> None:
    values = [value / 100 for value in percent]
    other = list(np.random.default_rng(seed).permutation(values) + 0.01 * len(values))
    one, back = inference.infer(values, other, 0), inference.infer(other, values, 0)
    assert back.p == one.p
    assert back.difference == pytest.approx(-one.difference)
    if one.dz is not None and back.dz is not None:
        assert back.dz == pytest.approx(-one.dz)
        assert back.rank_biserial == pytest.approx(-(one.rank_biserial or 0))


def test_large_samples_agree_with_the_rank_sum_formula() -> None:
    rng = np.random.default_rng(3)
    differences = rng.normal(0.2, 1, 200)
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    n = len(differences)
    score = ranks[differences > 0].sum() - n * (n + 1) / 4
    z = score / math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    expected = math.erfc(abs(z) / math.sqrt(2))
    assert inference.wilcoxon(differences) == pytest.approx(expected, rel=1e-6)


def test_holm_by_hand_and_by_statsmodels() -> None:
    # sorted 0.01, 0.03, 0.04 times 3, 2, 1; the last may not fall below the one before
    assert inference.holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert inference.holm([None]) == [None]
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    values = list(np.random.default_rng(0).random(40) ** 3)
    expected = multitest.multipletests(values, method="holm")[1]
    np.testing.assert_allclose(np.array(inference.holm(values), dtype=float), expected)


def test_interval_is_seeded_and_follows_the_data() -> None:
    differences = np.random.default_rng(1).normal(2, 1, 40)
    low, high = inference.interval(differences, 5)
    assert (low, high) == inference.interval(differences, 5)
    half = 2.02 * differences.std(ddof=1) / math.sqrt(40)
    assert low == pytest.approx(differences.mean() - half, abs=0.1)
    assert high == pytest.approx(differences.mean() + half, abs=0.1)
    assert inference.interval(np.full(8, 0.5), 0) == (0.5, 0.5)


@pytest.mark.parametrize("n", [8, 20])
def test_interval_covers_the_truth(n: int) -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(300):
        low, high = inference.interval(rng.normal(0.3, 1, n), 0)
        covered += low <= 0.3 <= high
    # 95 % of 300, three standard deviations to either side; BCa has 88 % at n = 8
    assert 0.912 <= covered / 300 <= 0.988


def test_interval_of_few_values_is_that_of_scipy() -> None:
    # a third of the resamples of six has no 2 and no spread
    differences = np.array([1.0, 1, 1, 1, 1, 2])
    expected = stats.bootstrap((differences,), np.mean, n_resamples=inference.RESAMPLES,
                               rng=np.random.default_rng(0)).confidence_interval  # fmt: skip
    assert inference.interval(differences, 0) == pytest.approx((expected.low, expected.high))


def test_false_positives_under_the_null() -> None:
    rng = np.random.default_rng(11)
    told = sum(inference.wilcoxon(rng.normal(0, 1, 20)) <= 0.05 for _ in range(2000))
    # 5 % of 2000, four standard deviations to either side
    assert 0.03 <= told / 2000 <= 0.07


def test_false_positives_of_a_page_under_the_null() -> None:
    rng = np.random.default_rng(12)
    pages = 0
    for _ in range(300):
        p_values = [inference.wilcoxon(rng.normal(0, 1, 15)) for _ in range(10)]
        pages += any(p is not None and p <= 0.05 for p in inference.holm(p_values))
    assert pages / 300 <= 0.09


def test_smallest_p_is_what_the_test_gives() -> None:
    for n in (6, 9, 12):
        assert inference.smallest_p(n) == pytest.approx(inference.wilcoxon(np.arange(1.0, n + 1)))
