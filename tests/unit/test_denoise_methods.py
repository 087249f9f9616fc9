"""Denoising: every method improves what it is given, and the stage leaves clean images alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from scipy import fft, ndimage

from pipeline import config, files, images, methods, status
from pipeline.denoise import dct, noise, noise_field, stage
from pipeline.denoise.methods import nlm
from pipeline.errors import VoxelwayError
from pipeline.paths import Results, Unit, sidecar
from pipeline.runner import Setup, run_units
from pipeline.task import Task

METHODS = methods.available("denoise")
CLASSICAL = [name for name in METHODS if not methods.learned("denoise", name)]


def params(**changes: object) -> dict:
    return {**config.section("denoise", changes), "seed": 0}


def clean(side: int = 40) -> sitk.Image:
    """Smooth tissues with sharp edges, 1 mm, brain-like range 0.2..1, dark outside."""
    z, y, x = np.mgrid[:side, :side, :side] - side / 2 + 0.5
    folds = np.sin(x / 6) + np.sin(y / 7) + np.sin(z / 8)
    values = np.where(folds > 0.3, 1.0, np.where(folds > -0.8, 0.7, 0.25))
    values[x**2 + y**2 + z**2 > (0.45 * side) ** 2] = 0.0
    return sitk.GetImageFromArray(ndimage.gaussian_filter(values, 0.7).astype(np.float32))


def brain(image: sitk.Image) -> sitk.Image:
    return sitk.Cast(image > 0.1, sitk.sitkUInt8)


def rice(image: sitk.Image, sigma: float) -> sitk.Image:
    values = images.array(image)
    real, imaginary = np.random.default_rng(0).normal(0, sigma, (2, *values.shape))
    return images.like(np.hypot(values + real, imaginary).astype(np.float32), image)


def error(image: sitk.Image, truth: sitk.Image) -> float:
    inside = images.bool_array(brain(truth))
    return float(np.sqrt(np.mean((images.array(image) - images.array(truth))[inside] ** 2)))


def run(image: sitk.Image, mask: sitk.Image, **changes: object) -> stage.Denoised:
    chosen = params(**changes)
    return stage.denoise(image, mask, stage.prepare(chosen, None), "test")


@pytest.mark.parametrize("percent", [3, 9])
@pytest.mark.parametrize("method", CLASSICAL)
def test_a_method_comes_closer_to_the_truth(method: str, percent: int) -> None:
    truth = clean()
    noisy = rice(truth, percent / 100)
    result = run(noisy, brain(truth), method=method)
    assert error(result.image, truth) < 0.9 * error(noisy, truth)
    assert images.same_grid(result.image, noisy)


def test_non_local_means_is_far_better_than_the_noise() -> None:
    truth = clean()
    for sigma, share in ((0.01, 0.95), (0.03, 0.6), (0.09, 0.5)):
        noisy = rice(truth, sigma)
        assert error(run(noisy, brain(truth)).image, truth) < share * error(noisy, truth)


@pytest.mark.parametrize("method", CLASSICAL)
def test_the_strength_acts(method: str) -> None:
    truth = clean(32)
    noisy = rice(truth, 0.04)
    removed = [
        run(noisy, brain(truth), method=method, strength=strength).facts.get("RemovedSD", 0.0)
        for strength in (0.0, 0.3, 1.0)
    ]
    assert removed[0] == 0.0 < removed[1] < removed[2]


@pytest.mark.parametrize("method", CLASSICAL)
def test_thick_slices_keep_their_lattice(method: str) -> None:
    truth = clean(32)
    truth.SetSpacing((1.0, 1.0, 4.0))
    truth.SetOrigin((-3.0, 5.0, 7.0))
    noisy = rice(truth, 0.05)
    result = run(noisy, brain(truth), method=method)
    assert images.same_grid(result.image, noisy)
    assert error(result.image, truth) < error(noisy, truth)


def test_a_scale_of_the_image_scales_the_result() -> None:
    truth = clean(32)
    noisy = rice(truth, 0.04)
    thousand = sitk.Cast(noisy * 1000.0, sitk.sitkFloat32)
    one, other = run(noisy, brain(truth)), run(thousand, brain(truth))
    assert np.allclose(images.array(other.image), 1000 * images.array(one.image), atol=0.5)


def test_little_noise_is_left_alone() -> None:
    truth = clean()
    image = rice(truth, 0.002)
    result = run(image, brain(truth), threshold=1.5)
    assert result.facts["LeftAlone"] is True
    assert "below the threshold" in result.facts["Reason"]
    assert np.array_equal(images.array(result.image), images.array(image))
    assert result.facts["NoiseSigmaAfter"] == result.facts["NoiseSigma"]


def test_sidecar_says_how_much_noise_was_and_is() -> None:
    truth = clean()
    facts = run(rice(truth, 0.05), brain(truth)).facts
    assert facts["NoiseSigma"] == pytest.approx(0.05, rel=0.15)
    assert facts["NoiseSigmaAfter"] < 0.3 * facts["NoiseSigma"]
    assert facts["RemovedSD"] == pytest.approx(0.05, rel=0.2)
    assert (facts["NoiseModel"], facts["LeftAlone"]) == ("rician", False)


def test_emptied_background_stays_empty() -> None:
    truth = clean()
    inside = images.bool_array(brain(truth))
    noisy = images.like(images.array(rice(truth, 0.05)) * inside, truth)
    result = images.array(run(noisy, brain(truth)).image)
    assert (result[:1] == 0).all()
    assert (result[images.array(noisy) == 0] == 0).mean() > 0.99


def test_gaussian_images_may_be_negative() -> None:
    truth = sitk.Cast(clean() - 0.5, sitk.sitkFloat32)
    mask = brain(clean())
    noise_values = np.random.default_rng(0).normal(0, 0.05, truth.GetSize()[::-1])
    noisy = images.like((images.array(truth) + noise_values).astype(np.float32), truth)
    result = run(noisy, mask)
    assert result.facts["NoiseModel"] == "gaussian"
    inside = images.bool_array(mask)
    after = (images.array(result.image) - images.array(truth))[inside]
    assert np.sqrt(np.mean(after**2)) < 0.6 * 0.05
    assert images.array(result.image)[inside].min() < -0.2


def test_dct_basis_is_orthonormal() -> None:
    matrix = dct.basis()
    assert np.allclose(matrix @ matrix.T, np.eye(dct.BLOCK), atol=1e-5)
    # the first function is the mean of 64 voxels, times 8
    assert np.allclose(matrix[0], 1 / 8)


def test_axes_are_transformed_as_scipy_does_it_and_back() -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 8, 12)).astype(np.float32))
    for axis in range(3):
        found = dct.transformed(values, axis)
        parts = np.split(values.numpy(), values.shape[axis] // 4, axis=axis)
        wanted = np.concatenate([fft.dct(one, axis=axis, norm="ortho") for one in parts], axis=axis)
        assert np.allclose(found, wanted, atol=1e-5)
        assert torch.allclose(dct.transformed(found, axis, back=True), values, atol=1e-5)


def test_sums_over_blocks_by_hand() -> None:
    values = torch.arange(4 * 8 * 4, dtype=torch.float32).reshape(4, 8, 4)
    # the mean of the first block is that of its corners 0 and 111
    assert dct.block_sums(values).tolist() == [[[64 * 55.5], [64 * 71.5]]]
    corners = torch.zeros(6, 5, 7)
    corners[0, 0, 0], corners[2, 0, 0] = 1.0, 10.0
    covered = dct.covering(corners)
    assert covered[:, 0, 0].tolist() == [1, 1, 11, 11, 10, 10]
    assert covered[2, 3, 3] == 11 and covered[2, 4, 0] == 0 and covered[2, 0, 4] == 0


def test_hard_thresholds_are_the_mean_over_all_blocks() -> None:
    volume = np.random.default_rng(1).normal(0, 1, (6, 5, 7)).astype(np.float32)
    padded = np.pad(volume, 4, mode="symmetric")
    total, weights = np.zeros_like(padded), np.zeros_like(padded)
    for z, y, x in np.ndindex(*(n - 3 for n in padded.shape)):
        block = (slice(z, z + 4), slice(y, y + 4), slice(x, x + 4))
        found = fft.dctn(padded[block], norm="ortho")
        kept = np.abs(found) > 1.3
        kept[0, 0, 0] = True
        weight = 1.0 / kept.sum()
        total[block] += weight * fft.idctn(found * kept, norm="ortho")
        weights[block] += weight
    inner = (slice(4, -4),) * 3
    wanted = (total / weights)[inner]
    assert np.allclose(dct.hard_threshold(volume, 1.3), wanted, atol=1e-4)


def test_dct_filters_keep_what_they_must() -> None:
    rng = np.random.default_rng(0)
    volume = rng.normal(0, 1, (9, 10, 11)).astype(np.float32)
    assert np.allclose(dct.hard_threshold(volume, 0.0), volume, atol=1e-5)
    constant = np.full((7, 8, 9), 3.0, np.float32)
    assert np.allclose(dct.hard_threshold(constant, 100.0), 3.0, atol=1e-5)
    assert np.allclose(dct.wiener(constant, constant, 1.0), 3.0, atol=1e-5)
    # a guide without structure leaves the means of blocks only
    flat = dct.wiener(volume, np.zeros_like(volume), 1.0)
    assert flat.std() < 0.25 * volume.std()


def test_non_local_means_averages_like_voxels_only() -> None:
    guide = np.zeros((8, 8, 8), np.float32)
    guide[4:] = 100.0
    noisy = guide + np.where(np.indices(guide.shape).sum(axis=0) % 2, 1.0, -1.0).astype(np.float32)
    result = nlm.non_local_means(noisy, guide, 0.4, 2)
    # away from the edge all 125 neighbours are alike: 62 of one sign, 63 of the other
    assert result[0:2, 4, 4] == pytest.approx(0.0, abs=0.2)
    assert result[7, 4, 4] == pytest.approx(100.0, abs=0.2)


def test_unit_form_reads_each_mask_and_writes_sidecars(tmp_path: Path) -> None:
    results, unit = Results(tmp_path / "results"), Unit("a", "1")
    truth = clean(32)
    noisy = rice(truth, 0.04)
    task = Task("preprocess", {"seed": 0})
    for suffix, space in (("T1w", ""), ("T2w", "T2w")):
        path = results.image("preprocess", unit, suffix, desc="preproc")
        task.write(noisy, path, Anchor="T1w", SliceThickness=1.0)
        mask_path = results.image("preprocess", unit, "mask", desc="brain", space=space)
        task.write(brain(truth), mask_path)
    ended = status.Status("a", "1", "preprocess", "ok")
    status.write(results, unit, ended)
    assert run_units(stage, [unit], Setup(results, params())) == 0
    first = results.image("denoise", unit, "T1w", desc="denoised")
    second = results.image("denoise", unit, "T2w", desc="denoised")
    described = files.read_json(sidecar(first))
    assert (described["Anchor"], described["SliceThickness"]) == ("T1w", 1.0)
    assert described["NoisePercent"] > 3
    one, other = images.read_image(first), images.read_image(second)
    assert np.array_equal(images.array(one), images.array(other))


def test_file_form_writes_a_whole_result(tmp_path: Path) -> None:
    source, output = tmp_path / "in.nii.gz", tmp_path / "out.nii.gz"
    truth = clean(32)
    images.write_image(rice(truth, 0.04), source)
    task = Task("denoise", params())
    stage.run_file(task, stage.prepare(params(), None), {"input": source, "output": output})
    assert files.read_json(sidecar(output))["LeftAlone"] is False
    assert error(images.read_image(output), truth) < error(images.read_image(source), truth)


def test_mask_of_another_grid_is_refused() -> None:
    truth = clean(32)
    other = sitk.Cast(brain(truth), sitk.sitkUInt8)
    other.SetSpacing((2.0, 2.0, 2.0))
    with pytest.raises(VoxelwayError) as caught:
        run(truth, other)
    assert caught.value.code == "E-IMG-GRID"


def test_noise_facts_hold_plain_numbers() -> None:
    facts = noise.Noise(0.0123456789, 1.23456, "rician", None).facts()
    assert facts == {
        "NoiseSigma": 0.012346,
        "NoisePercent": 1.235,
        "NoiseModel": "rician",
        "NoiseSigmaBackground": None,
    }


def test_a_level_that_varies_is_found_and_an_even_one_is_not() -> None:
    truth = clean(64)
    mask = brain(truth)
    values = images.array(truth)
    slope = np.linspace(0.5, 1.5, 64, dtype=np.float32) * np.ones((64, 64, 64), np.float32)
    drawn = np.random.default_rng(0).normal(0, 0.05, (2, *values.shape))
    for factor, even in ((np.ones_like(slope), True), (slope, False)):
        level = factor * drawn
        noisy = images.like(np.hypot(values + level[0], level[1]).astype(np.float32), truth)
        found = noise_field.estimate(noisy, mask, noise.estimate(noisy, mask))
        assert (found is None) == even
        if found is not None:
            inside = images.bool_array(mask)
            # a window of 14 mm flattens the slope, it does not turn it
            assert np.corrcoef(found[inside], slope[inside])[0, 1] > 0.9


def test_uncertainty_is_the_error_that_the_method_makes_again() -> None:
    truth = clean(32)
    noisy = rice(truth, 0.04)
    result = run(noisy, brain(truth), uncertainty=2, method="curvature_flow")
    assert result.uncertainty is not None
    # the method's own error, to within what a bootstrap without the truth can know
    assert result.facts["ExpectedRMSE"] == pytest.approx(error(result.image, truth), rel=0.4)
    again = run(noisy, brain(truth), uncertainty=2, method="curvature_flow").uncertainty
    assert np.array_equal(images.array(again), images.array(result.uncertainty))
    assert run(noisy, brain(truth)).uncertainty is None
