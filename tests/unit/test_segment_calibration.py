"""Calibration: answers worked out by hand, and drawn ones that have to come back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.segment.cascade import calibration


def test_ece_by_hand() -> None:
    # two voxels at 0.9, one of them right: off by 0.4; two at 0.6, both right: off by 0.4
    sure = np.array([[0.9, 0.9, 0.6, 0.6], [0.1, 0.1, 0.4, 0.4]])
    assert calibration.ece(sure, [0, 1, 0, 0]) == pytest.approx(0.4)
    # right 9 times of 10 at 0.9 is what it says
    many = np.tile([[0.9], [0.1]], (1, 10))
    assert calibration.ece(many, [0] * 9 + [1]) == pytest.approx(0.0, abs=1e-12)
    # overconfident and underconfident voxels of one bin make good for each other, not of two
    assert calibration.ece([[0.95, 0.95], [0.05, 0.05]], [0, 1]) == pytest.approx(0.45)


def test_ece_takes_images() -> None:
    shares = np.full((4, 2, 3, 5), 0.25)
    shares[0] += 1e-6
    assert calibration.ece(shares, np.ones((2, 3, 5))) == pytest.approx(0.25, abs=1e-5)


def test_temperature_by_hand() -> None:
    # logit gap 4, right 3 times of 4: the best share is 3/4, so that 4 / T = ln 3
    logits = np.array([[4.0] * 4, [0.0] * 4])
    assert calibration.fit_temperature(logits, [0, 0, 0, 1]) == pytest.approx(
        4 / math.log(3), rel=1e-3
    )


@given(st.floats(0.3, 5.0), st.integers(0, 1000))
def test_the_temperature_of_drawn_labels_comes_back(temperature: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    gap = draw.normal(0, 2, 4000)
    truth = (draw.random(4000) < 1 / (1 + np.exp(-gap))).astype(int)
    logits = np.stack([np.zeros_like(gap), gap]) * temperature
    found = calibration.fit_temperature(logits, truth)
    assert found == pytest.approx(temperature, rel=0.15)
    shares = np.exp(logits / found) / np.exp(logits / found).sum(axis=0)
    assert calibration.ece(shares, truth) < 0.04


def test_the_factor_is_the_conformal_quantile() -> None:
    # 19 errors of 1..19 half widths: rank ceil(20 * 0.95) = 19
    volumes = [100.0] * 19
    truths = [100.0 + number for number in range(1, 20)]
    assert calibration.interval_factor(volumes, truths, [1.0] * 19) == pytest.approx(19.0)
    assert calibration.interval_factor(volumes, truths, [2.0] * 19, 0.5) == pytest.approx(5.0)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="voxels"):
        calibration.ece(np.zeros((2, 3)), [0, 1])
    with pytest.raises(ValueError, match="voxels"):
        calibration.fit_temperature(np.zeros((2, 0)), [])
    with pytest.raises(ValueError, match="one number"):
        calibration.interval_factor([], [], [])
