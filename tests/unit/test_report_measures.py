"""Numbers as pages show them, and JSON that can stand in a page."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report import measures, render
from pipeline.report.measures import Number


@pytest.mark.parametrize(
    ("text", "shown"),
    [("0", "0"), ("0.93456", "0.9346"), ("31.4159", "31.42"), ("1499.6", "1500"),
     ("-2.34567", "-2.346"), ("0.000123456", "0.00012"), ("", ""), ("n/a", "n/a")],
)  # fmt: skip
def test_short(text: str, shown: str) -> None:
    assert measures.short(text) == shown


@given(st.floats(-1e6, 1e6, allow_nan=False))
def test_short_is_close_to_the_value(value: float) -> None:
    assert float(measures.short(f"{value:.6g}")) == pytest.approx(value, rel=6e-2, abs=6e-4)


def number(metric: str, value: str, baseline: str = "") -> Number:
    return Number("segment", metric, "GM", value, baseline, "")


def test_change_follows_the_direction_of_the_measure() -> None:
    assert number("dice", "0.9", "0.8").change == "better"
    assert number("hd95", "3", "2").change == "worse"
    assert number("volume_error", "-1", "2").change == "better"
    assert number("volume", "10", "20").change == ""
    assert number("dice", "0.9").change == ""
    assert number("made_up", "1", "2").change == ""


def test_which_numbers_need_a_reference() -> None:
    assert number("dice", "1").against_reference
    assert number("tre", "1").against_reference
    assert number("surface_dice", "1").against_reference
    assert number("lesions_false", "1").against_reference
    assert number("ms_ssim", "1").against_reference
    assert not number("qi1", "1").against_reference
    assert not number("jacobian_min", "1").against_reference
    assert not number("ncc", "1").against_reference
    assert not number("folding", "1").against_reference


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400))
def test_thinned_keeps_both_ends_and_the_order(values: list[float]) -> None:
    ordered = sorted(values)
    kept = measures.thinned(ordered, 101)
    assert len(kept) == min(len(values), 101)
    assert kept == sorted(kept) and {kept[0], kept[-1]} == {ordered[0], ordered[-1]}
    assert len(values) > 101 or kept == ordered


def test_thinned_is_evenly_spaced() -> None:
    assert measures.thinned([float(n) for n in range(1001)], 101) == list(range(0, 1001, 10))


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_in_a_script_can_not_close_it(value: object) -> None:
    text = render.script_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value
