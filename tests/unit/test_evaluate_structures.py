"""The stage where structures stand in the place of tissues."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import images, labels

from .evaluate_cases import Cohort, lps


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return Cohort(tmp_path)


def structures(cohort: Cohort) -> np.ndarray:
    """The true tissues as structures, left and right; lesions are white matter to them."""
    true = sitk.GetArrayFromImage(lps(cohort.labels))
    left = np.asarray([0, 24, 3, 2, 2])[true]
    right = np.asarray([0, 24, 42, 41, 41])[true]
    x = np.arange(true.shape[2])
    return np.where(x < true.shape[2] // 2, right, left).astype(np.uint8)


def labelled_with(cohort: Cohort, values: np.ndarray) -> None:
    grid = lps(cohort.labels)
    path = cohort.image("segment", images.like(values, grid), "dseg", space="T1w")
    cohort.image("segment", images.like(values, grid), "dseg", space="T1w", desc="coarse")
    labels.write_table(labels.STRUCTURES, path.with_name(path.name.replace(".nii.gz", ".tsv")))
    cohort.ok("segment")


def test_structures_are_merged_to_the_tissues_of_the_truth(cohort: Cohort) -> None:
    cohort.restored()
    cohort.isotropic()
    labelled_with(cohort, structures(cohort))
    assert cohort.evaluate().status == "ok"
    rows = cohort.rows()
    assert rows["segment", "dice", "GM"] == rows["segment", "dice", "CSF"] == (1.0, 1.0)
    true = np.bincount(sitk.GetArrayFromImage(cohort.labels).ravel())
    white = 2 * true[3] / (2 * true[3] + true[4])
    assert rows["segment", "dice", "WM"][0] == pytest.approx(white, rel=1e-5)
    assert rows["segment", "dice", "mean"][0] == pytest.approx((2 + white) / 3, rel=1e-5)
    # what it does not look for is not judged, and each structure has its volume
    assert ("segment", "dice", "lesion") not in rows
    both = sum(
        rows["segment", "volume", f"{side}-Cerebral-Cortex"][0] for side in ("Left", "Right")
    )
    assert rows["segment", "volume", "GM"][0] == pytest.approx(both, rel=1e-5)
    assert both == pytest.approx(true[2] * 0.027, rel=1e-5)


def test_structures_are_compared_by_name_with_a_truth_of_structures(cohort: Cohort) -> None:
    cohort.restored()
    cohort.isotropic()
    values = structures(cohort)
    labelled_with(cohort, values)
    # the truth has other numbers for the same names, and one side of the cortex only
    path = cohort.truth / "P001" / "dseg.nii.gz"
    true = lps(cohort.labels)
    images.write_image(
        images.like(np.where(values == 3, 7, values == 2).astype(np.uint8), true), path
    )
    table = [labels.of_row({"index": 7, "name": "Left-Cerebral-Cortex"}),
             labels.of_row({"index": 1, "name": "Left-Cerebral-White-Matter"})]  # fmt: skip
    labels.write_table(tuple(table), path.with_name("dseg.tsv"))
    assert cohort.evaluate().status == "ok"
    rows = cohort.rows()
    assert rows["segment", "dice", "Left-Cerebral-Cortex"][0] == 1.0
    assert rows["segment", "dice", "Left-Cerebral-White-Matter"][0] == 1.0
    assert ("segment", "dice", "Right-Cerebral-Cortex") not in rows
    assert ("segment", "dice", "GM") not in rows
