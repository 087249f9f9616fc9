"""The Rice distribution of magnitude images: moments, correction, variance stabilisation.

All in units of sigma, the standard deviation of the complex signal's parts. Koay & Basser 2006,
"Analytically exact correction scheme for signal extraction from noisy magnitude MR signals",
J Magn Reson 179; Foi 2011, "Noise estimation and removal in MR imaging: the variance-
stabilization approach", ISBI.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ive

Floats = NDArray[np.float64]

#: Above this ratio of signal and sigma, the noise is taken as Gaussian.
LARGEST = 40.0


def moments(signal: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the magnitude, for true signals in units of sigma."""
    power = signal**2
    # ive is scaled by exp(-x), which takes up the exponential of the formula
    mean = np.sqrt(np.pi / 2.0) * (
        (1.0 + power / 2.0) * ive(0, power / 4.0) + power / 2.0 * ive(1, power / 4.0)
    )
    return mean, np.sqrt(np.maximum(2.0 + power - mean**2, 1e-12))


@dataclass(frozen=True)
class Tables:
    """Tabulated functions of the true signal and of the magnitude.

    Attributes:
        signal, mean, std: the true signal, and its magnitude's moments.
        magnitude, stable: the stabilising function, whose output has a deviation of about one.
        expected: expectation of the stabilised magnitude, for ``signal``.
    """

    signal: Floats
    mean: Floats
    std: Floats
    magnitude: Floats
    stable: Floats
    expected: Floats


@cache
def tables() -> Tables:
    """Compute the tables once a process (about 50 ms)."""
    signal = np.concatenate([np.arange(0.0, 6.0, 0.025), np.linspace(6.0, LARGEST, 681)])
    mean, std = moments(signal)
    # the stabiliser is the integral of 1 / std over the mean; below the noise floor, as at it
    floor = np.linspace(0.0, mean[0], 50)[:-1]
    magnitude = np.concatenate([floor, mean])
    slope = 1.0 / np.concatenate([np.full(floor.size, std[0]), std])
    steps = np.diff(magnitude) * 0.5 * (slope[1:] + slope[:-1])
    stable = np.concatenate([[0.0], np.cumsum(steps)])
    expected = np.array([_expectation(float(a), magnitude, stable) for a in signal])
    return Tables(signal, mean, std, magnitude, stable, expected)


def _expectation(signal: float, magnitude: Floats, stable: Floats) -> float:
    places = np.linspace(max(0.0, signal - 7.0), signal + 7.0, 1401)
    density = places * ive(0, places * signal) * np.exp(-((places - signal) ** 2) / 2.0)
    values = _extended(places, magnitude, stable)
    return float((density * values).sum() / density.sum())


def _extended(x: Floats, knots: Floats, values: Floats) -> Floats:
    """Linear interpolation, continued with slope one above the last knot."""
    inside = np.interp(x, knots, values)
    return np.asarray(np.where(x > knots[-1], x - knots[-1] + values[-1], inside))


def stabilise(magnitude: Floats) -> Floats:
    """Transform a magnitude image, in units of sigma, to noise of deviation one."""
    table = tables()
    return _extended(magnitude, table.magnitude, table.stable)


def unstabilise(stable: Floats) -> Floats:
    """Unbiased inverse: true signal whose stabilised magnitude has this expectation."""
    table = tables()
    return _extended(stable, table.expected, table.signal)


def signal_from_mean(mean: Floats) -> Floats:
    """True signal of a mean magnitude, in units of sigma (Koay & Basser's inversion)."""
    table = tables()
    return _extended(mean, table.mean, table.signal)


def sigma_from_spread(spread: float, level: float, rounds: int = 20) -> float:
    """Sigma of the complex noise from the magnitude's spread at a mean magnitude ``level``.

    The magnitude varies less than the complex signal where the signal is weak: a fixed point of
    sigma = spread / std(signal / sigma).
    """
    table = tables()
    sigma = spread
    for _ in range(rounds):
        ratio = float(signal_from_mean(np.array([level / max(sigma, 1e-12)]))[0])
        shrinkage = float(np.interp(ratio, table.signal, table.std))
        sigma = spread / shrinkage
    return sigma
