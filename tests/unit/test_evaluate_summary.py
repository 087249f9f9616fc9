"""Means and intervals, worked out by hand."""

from __future__ import annotations

import math

import pytest

from pipeline.evaluate import summary


def row(value: str, baseline: str, label: str = "T1w") -> dict[str, str]:
    return {"stage": "denoise", "metric": "psnr", "label": label, "value": value,
            "baseline": baseline}  # fmt: skip


def test_paired_mean_and_interval() -> None:
    # differences 1, 2, 3: mean 2, standard error 1/sqrt(3), t(0.975, 2) = 4.303
    rows = [row("31", "30"), row("32", "30"), row("33", "30"), row("40", "")]
    (line,) = summary.summarise(rows)
    assert (line.cases, line.value, line.baseline, line.difference) == (3, 32.0, 30.0, 2.0)
    assert line.half_width == pytest.approx(4.3027 / math.sqrt(3), abs=1e-3)


def test_one_case_has_no_interval_and_labels_are_apart() -> None:
    lines = summary.summarise([row("2", "1"), row("5", "1", "T2w"), row("7", "1", "T2w")])
    assert [line.cases for line in lines] == [1, 2]
    assert math.isnan(lines[0].half_width)
    assert "| denoise | psnr | T2w | 2 | 6 | 1 | +5 (" in summary.table(lines)
