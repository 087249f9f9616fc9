"""CT of the phantom, and the benchmark of low-dose CT: by hand, and a small run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.phantom import anatomy, ct
from tests.benchmarks.restore import ct_heads, low_dose


@pytest.fixture(scope="module")
def head() -> sitk.Image:
    return ct.image("P001", 5, anatomy.load(), 3.0)


def test_a_head_has_the_numbers_of_its_tissues(head: sitk.Image) -> None:
    values = images.array(head)
    assert values.min() == ct.AIR and 800.0 < values.max() <= 1400.0
    # the middle of the brain is soft tissue, the corners are air
    z, y, x = (n // 2 for n in values.shape)
    middle = values[z : z + 6, y - 5 : y + 5, x - 5 : x + 5]
    assert middle.min() > -5.0 and middle.max() < 60.0
    assert (values[:5, :5, :5] == ct.AIR).all()
    soft = (values > 0) & (values < 80)
    assert 0.1 < soft.mean() < 0.4


def test_subjects_differ_and_repeat(head: sitk.Image) -> None:
    known = anatomy.load()
    again, other = (ct.image(name, 5, known, 3.0) for name in ("P001", "P003"))
    assert np.array_equal(images.array(again), images.array(head))
    assert not np.allclose(images.array(other), images.array(head), atol=50.0)


def test_errors_by_hand(head: sitk.Image) -> None:
    found = low_dose.errors(images.like(images.array(head) + 3.0, head), head)
    assert found == pytest.approx({"head": 3.0, "soft": 3.0}, abs=1e-3)


def test_fewer_photons_make_more_noise_and_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ct_heads.main([str(tmp_path / "heads"), "--subjects", "1", "--spacing", "3"])
    made = tmp_path / "heads" / "P001" / "CT.nii.gz"
    scan = low_dose.read(made, 6)
    assert scan.clean.GetSize()[2] == 6
    few, many = (low_dose.errors(scan.given(n, 0), scan.clean)["soft"] for n in (2e4, 1e6))
    assert few > 5.0 * many > 0.0
    out = tmp_path / "rows.tsv"
    low_dose.main([str(made), "--photons", "20000", "--methods", "nlm@6", "--slices", "6",
                   "--out", str(out)])  # fmt: skip
    rows = [line.split("\t") for line in out.read_text().splitlines()]
    assert [row[2] for row in rows] == ["method", "none", "nlm@6"]
    # what is smoothed is nearer to the truth than what was given
    assert float(rows[2][4]) < float(rows[1][4])
    assert "| 20000 | nlm@6 | 1 |" in capsys.readouterr().out
