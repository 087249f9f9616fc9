"""Preprocess: intensity scale, bias field, masks and alignment, by hand and on made-up heads."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline import config, images
from pipeline.errors import VoxelwayError
from pipeline.preprocess import alignment, bias, intensity, masks

Spacing = tuple[float, float, float]


def params(section: str, **changes: object) -> dict:
    return {**config.section("preprocess")[section], **changes}


def make(values: np.ndarray, spacing: Spacing = (1, 1, 1)) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(values, dtype=np.float32))
    image.SetSpacing(spacing)
    return image


def tissues(side: int = 48, step: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels 0 air, 1..3 tissues of a lumpy ellipsoid, 4 its shell; and the inside."""
    z, y, x = (np.mgrid[:side, :side, :side] - side / 2 + 0.5) * step
    radius = np.sqrt((x / 32) ** 2 + (y / 38) ** 2 + (z / 30) ** 2)
    folds = np.sin(x / 9 + 0.3) + np.sin(y / 11) + np.sin(z / 8 + 1.0) + np.sin((x + y) / 14)
    inside = radius < 1
    labels = np.where(folds > 0.6, 3, np.where(folds > -0.9, 2, 1)) * inside
    labels[(radius >= 1.12) & (radius < 1.25)] = 4
    return labels, inside


def contrast(labels: np.ndarray, values: tuple[float, ...], step: float = 2.0) -> sitk.Image:
    smooth = ndimage.gaussian_filter(np.asarray(values)[labels], 0.5)
    return make(smooth, (step, step, step))


T1W, T2W = (0, 300, 600, 1000, 900), (0, 1000, 600, 420, 300)


def test_percentile_scale_by_hand() -> None:
    values = np.arange(1001, dtype=np.float32)
    scale = intensity.find_scale(values, "T2w", params("scale", percentile=90))
    assert scale.factor == pytest.approx(1 / 900)
    assert (scale.offset, scale.method) == (0.0, "percentile")


def test_white_stripe_finds_the_last_peak() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(300, 30, 4000), rng.normal(600, 40, 20000), rng.normal(1000, 25, 15000)]
    values = np.concatenate([*parts, rng.uniform(1200, 3000, 40)]).astype(np.float32)
    assert intensity.white_stripe(values) == pytest.approx(1000, rel=0.02)
    scale = intensity.find_scale(values, "T1w", params("scale", method="white-stripe"))
    assert scale.factor * 1000 == pytest.approx(0.8, rel=0.02)
    other = intensity.find_scale(values, "T2w", params("scale", method="white-stripe"))
    assert other.method == "percentile"


@pytest.mark.parametrize("sign", [0.0, -1.0])
def test_intensities_that_are_not_positive_are_refused(sign: float) -> None:
    with pytest.raises(VoxelwayError) as caught:
        intensity.find_scale(sign * np.arange(10, dtype=np.float32), "T2w", params("scale"))
    assert caught.value.code == "E-SIGNAL"


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-3, 1e6))
def test_the_scale_does_not_depend_on_the_unit(unit: float) -> None:
    values = np.random.default_rng(0).normal(10, 2, 5000).astype(np.float32)
    one = intensity.find_scale(values, "T1w", params("scale"))
    other = intensity.find_scale(values * np.float32(unit), "T1w", params("scale"))
    assert other.factor * unit == pytest.approx(one.factor, rel=1e-3)


def test_n4_lattice_by_hand() -> None:
    image = make(np.zeros((20, 100, 200)), (1.0, 1.0, 5.0))
    # 4 mm of 1 mm voxels is four; slices of 5 mm stay
    assert bias.shrink_factors(image, 4.0) == [4, 4, 1]
    assert bias.shrink_factors(image, 40.0) == [25, 12, 2]
    # 200, 100 and 100 mm with knots 160 mm apart: two, one and one span, and three for the degree
    assert bias.control_points(image, 160.0) == [5, 4, 4]


def test_a_known_bias_field_is_removed() -> None:
    labels, inside = tissues()
    clean = contrast(labels, T1W)
    z, y, x = np.mgrid[-1:1:48j, -1:1:48j, -1:1:48j]
    log_field = 0.3 * x - 0.2 * y * z + 0.25 * z
    biased = images.like((images.array(clean) * np.exp(log_field)).astype(np.float32), clean)
    found = bias.correct(biased, make(inside, (2, 2, 2)), params("bias"))
    rest = (np.log(images.array(found.field)) - log_field)[inside]
    assert rest.std() < 0.25 * log_field[inside].std()
    assert np.log(images.array(found.field))[inside].mean() == pytest.approx(0.0, abs=1e-4)
    product = images.array(found.image) * images.array(found.field)
    assert np.allclose(product, images.array(biased), rtol=1e-4, atol=1e-2)


def test_skull_stripped_input_is_recognised() -> None:
    labels, inside = tissues()
    stripped = images.like(
        (images.array(contrast(labels, T1W)) * inside).astype(np.float32), contrast(labels, T1W)
    )
    # a method that misses a little, as networks do
    nearly = images.like(ndimage.binary_erosion(inside), stripped)
    brain = masks.find_brain(stripped, "fake", lambda image: nearly)
    assert brain.stripped
    assert brain.method == "non-zero region"
    assert np.array_equal(images.bool_array(brain.mask), inside)


def test_a_whole_head_in_emptied_air_is_not_skull_stripped() -> None:
    labels, inside = tissues()
    z, y, x = np.mgrid[:48, :48, :48] - 23.5
    head = make(
        np.where(labels > 0, 500.0, 0.0) + 50.0 * (np.sqrt(x**2 + y**2 + z**2) < 23), (2, 2, 2)
    )
    brain = masks.find_brain(head, "fake", lambda image: images.like(inside, image))
    assert not brain.stripped
    assert brain.method == "fake"


def test_noise_in_the_air_is_no_empty_background() -> None:
    noise = np.random.default_rng(0).rayleigh(1.0, (16, 16, 16))
    assert masks.nonzero_region(make(noise)) is None


def test_volume_by_hand_and_its_limits() -> None:
    values = np.zeros((60, 60, 60))
    values[:50, :50, :50] = 1
    # 125000 voxels of 2x2x2 mm are 1000 ml
    brain = masks.Brain(sitk.Cast(make(values, (2, 2, 2)), sitk.sitkUInt8), "fake", False)
    assert brain.millilitres == pytest.approx(1000.0)
    masks.check_volume(brain, (500, 3000), "x")
    for limits in ((1100, 3000), (100, 900)):
        with pytest.raises(VoxelwayError, match="1000 ml") as caught:
            masks.check_volume(brain, limits, "x")
        assert caught.value.code == "E-MASK-EMPTY"


def test_a_mask_is_carried_by_its_transform() -> None:
    values = np.zeros((20, 20, 20))
    values[8:12, 8:12, 8:12] = 1
    mask = sitk.Cast(make(values), sitk.sitkUInt8)
    # points of the image lie 3 mm to the left of the mask's: x + 3 is where the mask is
    shift = sitk.Euler3DTransform()
    shift.SetTranslation((3.0, 0.0, 0.0))
    carried = images.bool_array(masks.carry(mask, make(values), shift))
    assert np.array_equal(np.argwhere(carried).min(axis=0), [8, 8, 5])
    assert carried.sum() == 64


def rigid(angles: tuple[float, ...], shift: tuple[float, ...]) -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform()
    transform.SetCenter((47.0, 47.0, 47.0))
    transform.SetRotation(*np.radians(angles).tolist())
    transform.SetTranslation(shift)
    return transform


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.floats(-40, 40)] * 3),
    st.tuples(*[st.floats(-50, 50)] * 3),
    st.tuples(*[st.floats(-100, 100)] * 3),
)
def test_inverse_of_a_rigid_transform(
    angles: tuple[float, ...], shift: tuple[float, ...], point: tuple[float, ...]
) -> None:
    transform = rigid(angles, shift)
    back = alignment.inverse(transform).TransformPoint(transform.TransformPoint(point))
    assert back == pytest.approx(point, abs=1e-6)


def test_similarity_of_the_same_and_of_unrelated_images() -> None:
    labels, inside = tissues()
    anchor, mask = contrast(labels, T1W), make(inside, (2, 2, 2))
    still = rigid((0, 0, 0), (0, 0, 0))
    assert alignment.similarity(anchor, mask, anchor, still) == pytest.approx(1.0, abs=1e-6)
    unrelated = make(np.random.default_rng(0).random(labels.shape), (2, 2, 2))
    assert alignment.similarity(anchor, mask, unrelated, still) < 0.02
    inverted = contrast(labels, T2W)
    moved = rigid((0, 0, 0), (6, 0, 0))
    good, bad = (alignment.similarity(anchor, mask, inverted, t) for t in (still, moved))
    assert good > 2 * bad


def test_overlap_by_hand() -> None:
    values = np.ones((10, 10, 10))
    brain, other = sitk.Cast(make(values), sitk.sitkUInt8), make(values)
    still = sitk.Euler3DTransform()
    assert alignment.overlap(brain, other, still) == 1.0
    still.SetTranslation((4.0, 0.0, 0.0))
    # points 0..9 go to 4..13: six of ten stay inside
    assert alignment.overlap(brain, other, still) == pytest.approx(0.6)


@pytest.mark.parametrize("factor", [1, 3])
def test_a_known_movement_is_found_across_contrasts(factor: int) -> None:
    labels, inside = tissues()
    anchor = contrast(labels, T1W)
    truth = rigid((3.0, -2.0, 4.0), (3.0, -4.0, 2.5))
    whole = contrast(labels, T2W)
    lattice = images.spaced_grid(whole, (2.0, 2.0, 2.0 * factor))
    # the other image at a point is the head at the inverse of that point
    moved = images.resample(whole, lattice, alignment.inverse(truth), order=1)
    found = alignment.align(anchor, make(inside, (2, 2, 2)), moved, params("alignment"))
    points = np.argwhere(inside)[::500, ::-1] * 2.0
    errors = [
        np.subtract(found.transform.TransformPoint(p), truth.TransformPoint(p))
        for p in points.tolist()
    ]
    assert np.linalg.norm(errors, axis=1).max() < 0.5
    assert found.similarity > found.initial
    assert (found.overlap, found.searched) == (pytest.approx(1.0, abs=0.02), False)


def test_aligned_images_stay_and_twice_is_the_same() -> None:
    labels, inside = tissues()
    anchor, other, mask = contrast(labels, T1W), contrast(labels, T2W), make(inside, (2, 2, 2))
    one, two = (alignment.align(anchor, mask, other, params("alignment")) for _ in range(2))
    assert one.shift < 0.1
    assert one.degrees < 0.1
    assert one.transform.GetParameters() == two.transform.GetParameters()


def test_fields_of_view_apart_are_refused() -> None:
    labels, inside = tissues()
    anchor, other = contrast(labels, T1W), contrast(labels, T2W)
    other.SetOrigin((300.0, 0.0, 0.0))
    with pytest.raises(VoxelwayError) as caught:
        alignment.align(anchor, make(inside, (2, 2, 2)), other, params("alignment"), where="u")
    assert caught.value.code == "E-OVERLAP"


def test_dilation_counts_in_millimetres() -> None:
    values = np.zeros((9, 9, 9))
    values[4, 4, 4] = 1
    wide = images.bool_array(
        alignment.dilate(sitk.Cast(make(values, (1, 1, 4)), sitk.sitkUInt8), 2.0)
    )
    # two voxels in the plane, none across slices of 4 mm
    assert np.argwhere(wide).min(axis=0).tolist() == [4, 2, 2]
    assert np.argwhere(wide).max(axis=0).tolist() == [4, 6, 6]
