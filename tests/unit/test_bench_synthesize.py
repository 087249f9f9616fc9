"""Baselines and scores of ``make bench-synthesize``, and its table."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from pipeline.synthesize.learning.cases import Scan
from pipeline.synthesize.learning.profile import Target, delta
from tests.benchmarks.synthesize import __main__ as bench
from tests.benchmarks.synthesize import cases, methods, scores

SHAPE = (14, 14, 14)


def scan(seed: int, labels: bool = False) -> Scan:
    """A smooth T1w, and a T2w that falls where the T1w rises."""
    rng = np.random.default_rng(seed)
    noise = sitk.GetImageFromArray(rng.standard_normal(SHAPE).astype(np.float32))
    smooth = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(noise, 2.0))
    t1w = torch.from_numpy(1.0 + 0.3 * smooth / smooth.std())
    t2w = 2.0 - t1w
    inside = torch.zeros(SHAPE, dtype=torch.bool)
    inside[2:-2, 2:-2, 2:-2] = True
    numbers = torch.full(SHAPE, 3)
    numbers[4:8, 4:8, 4:8] = 4
    if labels:
        t2w = torch.where(numbers == 4, t2w + 1.0, t2w)
    return Scan(
        "a", "a", {"T1w": t1w, "T2w": t2w}, {"T2w": Target(t2w, inside, delta())}, inside, inside,
        numbers if labels else None, 2.0, {}, "train", "",
    )  # fmt: skip


def test_histogram_matching_keeps_the_order_and_takes_the_distribution() -> None:
    one = scan(0)
    made = methods.histogram([one])(one)
    inside = one.mask.numpy()
    source, target = one.contrasts["T1w"].numpy()[inside], one.contrasts["T2w"].numpy()[inside]
    assert np.sort(made[inside]) == pytest.approx(np.sort(target), abs=0.02)
    assert np.corrcoef(made[inside], source)[0, 1] > 0.99
    assert not made[~inside].any()
    assert scores.likeness(made, one)["ncc"] < -0.9


def test_patch_regression_learns_a_falling_map() -> None:
    from pipeline import config

    asked = {"steps": 500, "hidden": [16], "voxels_per_subject": 1000, "patch_step": 2.0}
    params = {**config.section("synthesize", asked), "seed": 0}
    made = methods.regression([scan(0), scan(1)], params)(scan(2))
    assert scores.likeness(made, scan(2))["ncc"] > 0.9


def test_lesion_contrast_is_that_of_the_truth_for_the_truth() -> None:
    one = scan(0, labels=True)
    truth = one.contrasts["T2w"].numpy()
    found = scores.likeness(truth, one)
    assert found["lesion"] == pytest.approx(1.0, abs=1e-3) and found["ncc"] == pytest.approx(1.0)
    white = one.mask & (one.labels == 3)
    flat = np.where(one.labels == 4, truth[white].mean(), truth).astype(np.float32)
    assert scores.likeness(flat, one)["lesion"] == pytest.approx(0.0, abs=1e-3)
    assert math.isnan(scores.likeness(truth, scan(0))["lesion"])


def test_an_image_is_moved_without_resampling() -> None:
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    image.SetSpacing((1.0, 2.0, 3.0))
    to_image = sitk.Euler3DTransform((1.0, 2.0, 3.0), 0.1, -0.2, 0.3, (4.0, 5.0, -6.0))
    moved = cases._placed(image, to_image)
    for index in ((0, 0, 0), (4, 3, 2), (1, 2, 0)):
        there = to_image.TransformPoint(moved.TransformIndexToPhysicalPoint(index))
        assert there == pytest.approx(image.TransformIndexToPhysicalPoint(index))


def test_table_has_means_and_paired_differences() -> None:
    options = bench._options([])
    rows = [
        {"case": case, "method": method, "psnr": value}
        for method, values in (("patch_regression", (20.0, 24.0)), ("pix2pix", (23.0, 25.0)))
        for case, value in zip("ab", values, strict=True)
    ]
    lines = bench.table(rows, options).splitlines()
    assert lines[0].startswith("2 phantom subjects")
    assert "| pix2pix | 2 | 24.00 ± 12.71 |" in lines[5]
    assert "| pix2pix − patch_regression | 2 | +2.00 ± 12.71 |" in lines[6]
