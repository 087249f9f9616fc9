"""Signal equations against values worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.phantom.contrast import TISSUES, Flair, Mprage, Tissue, Tse, nulling_time


def tissue(t1: float, t2: float = 1e9, pd: float = 1.0) -> Tissue:
    return Tissue(t1, t2, pd, "")


def test_tse_by_hand() -> None:
    # TR - train = T1 and TE = T2: 0.5 (1 - 1/e) / e
    expected = 0.5 * (1 - math.exp(-1)) * math.exp(-1)
    assert Tse(1200.0, 80.0, train=200.0).signal(tissue(1000, 80, 0.5)) == pytest.approx(expected)


def test_flair_by_hand() -> None:
    # TI = T1, TR - train = 2 T1, TE = T2: |1 - 2/e + 1/e^2| / e = (1 - 1/e)^2 / e
    sequence = Flair(tr=2200.0, te=100.0, ti=1000.0, train=200.0)
    expected = (1 - math.exp(-1)) ** 2 * math.exp(-1)
    assert sequence.signal(tissue(1000.0, 100.0)) == pytest.approx(expected)


@given(st.floats(800, 4500), st.floats(5000, 12000))
def test_flair_nulls_what_it_is_set_to_null(t1: float, tr: float) -> None:
    sequence = Flair(tr, te=0.0, ti=nulling_time(t1, tr))
    assert sequence.signal(tissue(t1)) == pytest.approx(0.0, abs=1e-9)


def test_mprage_of_a_vanishing_flip_angle_is_inversion_recovery() -> None:
    # Mz(TI) = 1 - 2 exp(-TI/T1) / (1 + exp(-TR/T1)) for a perfect inversion in steady state
    tiny = 1e-4
    sequence = Mprage(2000.0, 900.0, 0.0, tiny, efficiency=1.0)
    mz = 1 - 2 * math.exp(-0.9) / (1 + math.exp(-2.0))
    found = sequence.signal(tissue(1000.0)) / math.sin(math.radians(tiny))
    assert found == pytest.approx(mz, rel=1e-6)


def test_mprage_with_one_echo_by_hand() -> None:
    # 90 degrees empty Mz; the rest of TR, 1100 ms with one echo spacing of 100 ms, fills it again
    sequence = Mprage(2000.0, 900.0, 0.0, 90.0, spacing=100.0, echoes=1, efficiency=1.0)
    before = 1 - math.exp(-1.1)
    mz = 1 - (1 + before) * math.exp(-0.9)
    assert sequence.signal(tissue(1000.0)) == pytest.approx(abs(mz))


def test_mprage_refuses_a_readout_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Mprage(1000.0, 300.0, 3.0, 9.0).signal(TISSUES["wm"])


def test_order_of_the_tissues_in_each_contrast() -> None:
    def order(sequence: Mprage | Tse | Flair, *names: str) -> list[str]:
        return sorted(names, key=lambda name: sequence.signal(TISSUES[name]))

    t1w, t2w = Mprage(2300.0, 900.0, 2.98, 9.0), Tse(5000.0, 96.0)
    flair = Flair(9000.0, 125.0, nulling_time(TISSUES["csf"].t1, 9000.0))
    assert order(t1w, "wm", "gm", "csf", "lesion") == ["csf", "gm", "lesion", "wm"]
    assert order(t2w, "wm", "gm", "csf", "lesion") == ["wm", "gm", "lesion", "csf"]
    assert order(flair, "wm", "gm", "csf", "lesion") == ["csf", "wm", "gm", "lesion"]
    for sequence in (t1w, t2w, flair):
        assert sequence.signal(TISSUES["bone"]) < 0.3 * sequence.signal(TISSUES["wm"])


def test_every_tissue_names_the_source_of_its_values() -> None:
    for values in TISSUES.values():
        assert "T1" in values.source
        assert "density" in values.source
        assert values.t2 < values.t1
