"""Our measures against MONAI's and SimpleITK's on random cases."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from pipeline.evaluate.detection import detection
from pipeline.evaluate.overlap import overlap
from pipeline.evaluate.registration import jacobian_statistics
from pipeline.evaluate.similarity import ncc, psnr
from pipeline.evaluate.structure import gradient_similarity, ssim, structural
from pipeline.evaluate.surface import surface_measures

torch = pytest.importorskip("torch")
metrics = pytest.importorskip("monai.metrics")

CASES = [(seed, spacing) for seed in range(6) for spacing in ((1.0, 1.0, 1.0), (3.0, 0.8, 1.3))]


def blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(20, 24, 28))
    pair = (ndimage.gaussian_filter(shared + 0.5 * rng.normal(size=shared.shape), 2) for _ in "ab")
    first, second = (field > 0.05 for field in pair)
    return first, second


def batch(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask[None, None].astype(np.float32))


@pytest.mark.parametrize("seed", range(6))
def test_overlap_equals_both(seed: int) -> None:
    a, b = blobs(seed)
    values = overlap(a, b, voxel_ml=0.001)
    found = metrics.compute_dice(batch(a), batch(b), include_background=True).item()
    assert values["dice"] == pytest.approx(found, abs=1e-6)
    names = ["sensitivity", "specificity", "precision"]
    matrix = metrics.get_confusion_matrix(batch(a), batch(b), include_background=True)
    for name in names:
        found = metrics.compute_confusion_matrix_metric(name, matrix).item()
        assert values[name] == pytest.approx(found, abs=1e-6)
    itk = sitk.LabelOverlapMeasuresImageFilter()
    itk.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (a, b)))
    assert values["dice"] == pytest.approx(itk.GetDiceCoefficient(1))
    assert values["jaccard"] == pytest.approx(itk.GetJaccardCoefficient(1))
    assert values["sensitivity"] == pytest.approx(1 - itk.GetFalseNegativeError(1))


@pytest.mark.parametrize(("seed", "spacing"), CASES)
def test_surface_distances_equal_monai(seed: int, spacing: tuple[float, float, float]) -> None:
    a, b = blobs(seed)
    values = surface_measures(a, b, spacing, 1.5)
    options = {"include_background": True, "spacing": list(spacing)}
    found = metrics.compute_hausdorff_distance(batch(a), batch(b), **options)
    assert values["hd"] == pytest.approx(found.item(), rel=1e-5)
    found = metrics.compute_hausdorff_distance(batch(a), batch(b), percentile=95, **options)
    assert values["hd95"] == pytest.approx(found.item(), rel=1e-5)
    found = metrics.compute_average_surface_distance(batch(a), batch(b), symmetric=True, **options)
    assert values["asd"] == pytest.approx(found.item(), rel=1e-5)


@pytest.mark.parametrize("shift", [(3, 0, 0), (0, 4, 0), (2, 1, 5)])
def test_hausdorff_of_a_shifted_box_equals_simpleitk(shift: tuple[int, int, int]) -> None:
    a = np.zeros((20, 20, 20), dtype=bool)
    a[3:9, 4:9, 5:9] = True
    b = np.roll(a, shift, (0, 1, 2))
    pair = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (a, b)]
    for image in pair:
        image.SetSpacing((1.3, 0.8, 3.0))
    itk = sitk.HausdorffDistanceImageFilter()
    itk.Execute(*pair)
    expected = itk.GetHausdorffDistance()
    assert surface_measures(a, b, (3.0, 0.8, 1.3), 1.0)["hd"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_psnr_and_ssim_equal_monai(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference = ndimage.gaussian_filter(rng.random((26, 27, 28)), 1)
    reference = (reference - reference.min()) / np.ptp(reference)
    image = reference + rng.normal(0, 0.1, reference.shape)
    whole = np.ones(reference.shape, dtype=bool)
    pair = [torch.from_numpy(values[None, None]) for values in (image, reference)]
    found = metrics.PSNRMetric(max_val=1.0)(*pair).item()
    assert psnr(image, reference, whole) == pytest.approx(found, rel=1e-6)
    # MONAI averages over the windows that lie inside the image
    inner = np.zeros_like(whole)
    inner[5:-5, 5:-5, 5:-5] = True
    span = float(np.ptp(reference[inner]))
    found = metrics.SSIMMetric(spatial_dims=3, data_range=span)(*pair).item()
    assert ssim(image, reference, inner) == pytest.approx(found, rel=1e-4)


def test_correlation_equals_simpleitk() -> None:
    rng = np.random.default_rng(0)
    reference = rng.random((10, 11, 12)).astype(np.float32)
    image = (reference + rng.normal(0, 0.3, reference.shape)).astype(np.float32)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetInitialTransform(sitk.TranslationTransform(3))
    pair = [sitk.GetImageFromArray(values) for values in (reference, image)]
    squared = -method.MetricEvaluate(*pair)
    found = ncc(image, reference, np.ones(reference.shape, dtype=bool))
    assert found**2 == pytest.approx(squared, rel=1e-3)


def test_folds_agree_with_simpleitk_on_an_upright_grid() -> None:
    rng = np.random.default_rng(0)
    smooth = [ndimage.gaussian_filter(rng.normal(0, 60, (16, 16, 16)), 2) for _ in range(3)]
    field = sitk.GetImageFromArray(np.stack(smooth, axis=-1), isVector=True)
    jacobian = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field))
    inside = np.zeros(jacobian.shape, dtype=bool)
    inside[2:-2, 2:-2, 2:-2] = True
    values = jacobian_statistics(jacobian, inside)
    negative = int(sitk.GetArrayFromImage(sitk.GetImageFromArray(jacobian) <= 0)[inside].sum())
    assert 0 < values["folding"] == pytest.approx(100 * negative / inside.sum())


@pytest.mark.parametrize("seed", range(3))
def test_f1_and_accuracy_equal_monai(seed: int) -> None:
    a, b = blobs(seed)
    values = overlap(a, b, voxel_ml=0.001)
    matrix = metrics.get_confusion_matrix(batch(a), batch(b), include_background=True)
    for ours, theirs in (("f1", "f1 score"), ("accuracy", "accuracy"), ("jaccard", "threat score")):
        found = metrics.compute_confusion_matrix_metric(theirs, matrix).item()
        assert values[ours] == pytest.approx(found, abs=1e-6)


@pytest.mark.parametrize(("seed", "spacing"), CASES)
def test_directed_distances_and_surface_dice_equal_monai(
    seed: int, spacing: tuple[float, float, float]
) -> None:
    a, b = blobs(seed)
    options = {"include_background": True, "spacing": list(spacing)}
    for tolerance in (0.0, 1.0, 2.0):
        values = surface_measures(a, b, spacing, tolerance)
        found = metrics.compute_surface_dice(batch(a), batch(b), [tolerance], **options)
        assert values["surface_dice"] == pytest.approx(found.item(), rel=1e-5)
    directed = [
        metrics.compute_average_surface_distance(batch(x), batch(y), **options).item()
        for x, y in ((a, b), (b, a))
    ]
    pair = [values["asd_to_reference"], values["asd_to_prediction"]]
    assert pair == pytest.approx(directed, rel=1e-5)
    assert values["mhd"] == pytest.approx(max(directed), rel=1e-5)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.8, 1.3)])
def test_distances_equal_those_of_every_pair_of_points(spacing: tuple[float, ...]) -> None:
    rng = np.random.default_rng(7)
    a, b = (rng.random((5, 6, 7)) > 0.7 for _ in "ab")

    def border(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask, 1)
        inner = np.ones_like(mask)
        for axis in range(3):
            for step in (-1, 1):
                inner &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
        return np.argwhere(mask & ~inner) * np.asarray(spacing)

    table = np.linalg.norm(border(a)[:, None] - border(b)[None], axis=-1)
    there, back = table.min(axis=1), table.min(axis=0)
    values = surface_measures(a, b, spacing, 1.0)
    assert values["mhd"] == pytest.approx(max(there.mean(), back.mean()))
    assert values["asd_to_reference"] == pytest.approx(there.mean())
    assert values["asd_to_prediction"] == pytest.approx(back.mean())
    near = np.concatenate([there, back]) <= 1.0
    assert values["surface_dice"] == pytest.approx(near.mean())


@pytest.mark.parametrize("seed", range(2))
def test_each_scale_equals_monai(seed: int) -> None:
    regression = pytest.importorskip("monai.metrics.regression")
    rng = np.random.default_rng(seed)
    reference = ndimage.gaussian_filter(rng.random((24, 26, 30)), 1)
    image = reference + rng.normal(0, 0.02, reference.shape)
    whole = np.ones(reference.shape, dtype=bool)
    weights = (0.3, 0.3, 0.4)
    expected, pair = 1.0, (image, reference)
    for scale, weight in enumerate(weights):
        # MONAI's windows lie inside the image: mirror it, and they cover every voxel
        padded = [torch.from_numpy(np.pad(v, 5, mode="reflect")[None, None]) for v in pair]
        similar, contrast = regression.compute_ssim_and_cs(
            *padded, 3, kernel_size=(11,) * 3, kernel_sigma=(1.5,) * 3,
            data_range=float(np.ptp(reference)),
        )  # fmt: skip
        assert similar.shape[2:] == pair[0].shape
        expected *= (similar if scale == 2 else contrast).mean().item() ** weight
        pooled = torch.nn.functional.avg_pool3d
        pair = tuple(pooled(torch.from_numpy(v[None, None]), 2).numpy()[0, 0] for v in pair)
    found = structural(image, reference, whole, weights)["ms_ssim"]
    assert found == pytest.approx(expected, rel=1e-4)


def test_gradient_magnitudes_equal_simpleitk() -> None:
    # Prewitt's operator as three convolutions of another library
    rng = np.random.default_rng(0)
    image, reference = rng.random((2, 9, 10, 11))
    mask = np.zeros(reference.shape, dtype=bool)
    mask[2:-2, 2:-2, 2:-2] = True

    def magnitude(values: np.ndarray) -> np.ndarray:
        squares = np.zeros(values.shape)
        for axis in range(3):
            shape = [1, 1, 1]
            shape[axis] = 3
            kernel = np.ones((3, 3, 3)) / 9 * np.array([-1.0, 0.0, 1.0]).reshape(shape)
            found = sitk.Convolution(sitk.GetImageFromArray(values), sitk.GetImageFromArray(kernel))
            squares += sitk.GetArrayFromImage(found) ** 2
        return np.sqrt(squares)

    a, b = magnitude(image), magnitude(reference)
    constant = 0.0026 * np.ptp(reference[mask]) ** 2
    expected = ((2 * a * b + constant) / (a**2 + b**2 + constant))[mask]
    found = gradient_similarity(image, reference, mask)
    assert found == {
        "gms": pytest.approx(expected.mean()),
        "gmsd": pytest.approx(expected.std()),
    }


@pytest.mark.parametrize("seed", range(4))
def test_lesions_equal_simpleitk(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (ndimage.gaussian_filter(rng.normal(size=(18, 19, 20)), 1) > 0.25 for _ in "ab")
    expected = []
    for mask, other in ((b, a), (a, b)):
        parts = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
        statistics = sitk.LabelStatisticsImageFilter()
        statistics.Execute(sitk.GetImageFromArray(other.astype(np.float32)), parts)
        lesions = [label for label in statistics.GetLabels() if label > 0]
        expected.append([statistics.GetMean(label) for label in lesions])
    assert min(map(len, expected)) > 3
    for share in (0.0, 0.2, 0.5):
        met = [np.mean([n > 0 and n >= share for n in shares]) for shares in expected]
        values = detection(a, b, share)
        assert values["lesion_sensitivity"] == pytest.approx(met[0])
        assert values["lesion_precision"] == pytest.approx(met[1])
