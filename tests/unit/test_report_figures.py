"""Cuts and colours with answers worked out by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline import images
from pipeline.labels import TISSUES
from pipeline.report.figures import (
    acquired,
    align,
    geometry,
    histogram,
    labels,
    paint,
    restore,
    sheet,
)


def block(direction: str = "LPS") -> sitk.Image:
    """8x10x12 voxels of 2 mm, dark but for one bright voxel: left, anterior, superior."""
    image = sitk.Image(8, 10, 12, sitk.sitkFloat32)
    image.SetSpacing((2.0, 2.0, 2.0))
    image[6, 1, 10] = 1.0
    return sitk.DICOMOrient(image, direction)


def brightest(values: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    return int(row), int(column)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR", "SAL"])
def test_pictures_are_radiological_whatever_the_lattice(orientation: str) -> None:
    image = geometry.upright(block(orientation))
    box = geometry.whole_box(image)
    # left is at the right, anterior and superior at the top; anterior at the left of sagittal cuts
    expected = {"axial": (20.0, (1, 6)), "coronal": (2.0, (1, 6)), "sagittal": (12.0, (1, 1))}
    for plane in geometry.PLANES:
        place, answer = expected[plane]
        where = geometry.cut(image, plane, place, box, 2.0)
        assert brightest(geometry.sample(image, where)) == answer


def test_cut_has_the_size_of_the_box() -> None:
    image = block()
    where = geometry.cut(image, "coronal", 4.0, geometry.whole_box(image), 1.0)
    assert where.size == (16, 24)


def test_cut_of_a_rotated_lattice_follows_it() -> None:
    image = block()
    turn = sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.1)
    image.SetDirection(turn.GetMatrix())
    where = geometry.cut(image, "axial", 20.0, geometry.whole_box(image), 2.0)
    values = geometry.sample(image, where, nearest=True)
    assert brightest(values) == (1, 6) and values.max() == pytest.approx(1.0)


def test_sample_through_a_transform() -> None:
    image = block()
    where = geometry.cut(image, "axial", 20.0, geometry.whole_box(image), 2.0)
    shift = sitk.TranslationTransform(3, (4.0, 0.0, 0.0))
    assert brightest(geometry.sample(image, where, shift)) == (1, 4)


def test_positions_lie_on_slices() -> None:
    box = geometry.Box((0.0, 0.0, 0.0), (20.0, 20.0, 20.0))
    assert geometry.positions(box, "axial", 1, (1, 1, 4)) == [8.0]
    assert geometry.positions(box, "axial", 3, (1, 1, 5), trim=0.0) == [0.0, 10.0, 20.0]


def test_box_of_a_mask() -> None:
    mask = sitk.Cast(block() > 0, sitk.sitkUInt8)
    box = geometry.mask_box(mask, 3.0)
    assert box.low == (8.0, -2.0, 16.0) and box.high == (16.0, 6.0, 24.0)
    empty = sitk.Image(4, 4, 4, sitk.sitkUInt8)
    assert geometry.mask_box(empty, 3.0) == geometry.whole_box(empty)


def test_grey_and_colour_scales() -> None:
    values = np.asarray([[-1.0, 0.0, 0.5, 1.0, 9.0]], dtype=np.float32)
    assert paint.grey(values, (0.0, 1.0))[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    stops = ("#000000", "#640000", "#6400C8")
    found = paint.colored(values, 0.0, 1.0, stops)[0].tolist()
    assert found == [[0, 0, 0], [0, 0, 0], [100, 0, 0], [100, 0, 200], [100, 0, 200]]


@given(st.floats(-5, 5), st.floats(-5, 5))
@settings(max_examples=50, deadline=None)
def test_diverging_scale_is_symmetric_in_lightness(a: float, b: float) -> None:
    pair = np.asarray([[-abs(a), abs(a)]], dtype=np.float32)
    left, right = paint.colored(pair, -5.0, 5.0, paint.DIVERGING)[0].astype(float)
    weights = np.asarray([0.299, 0.587, 0.114])
    assert abs(float(left @ weights) - float(right @ weights)) < 30


def test_outline_runs_along_the_border() -> None:
    mask = sitk.Image(20, 20, 4, sitk.sitkFloat32)
    mask[5:15, 5:15, :] = 1.0
    where = geometry.cut(mask, "axial", 2.0, geometry.whole_box(mask), 0.5)
    layer = paint.outlines(where, [(mask, 0.5, paint.ORANGE)])
    drawn = layer[..., 3] > 128
    # borders of voxels 5..14 lie at pixels 10 and 30
    rows, _ = np.nonzero(drawn)
    assert set(np.unique(rows)) <= set(range(9, 31)) and {9, 10} & set(rows.tolist())
    assert not drawn[14:26, 14:26].any() and drawn[20, 9:11].any()
    assert tuple(layer[20, 10 if drawn[20, 10] else 9, :3]) == paint.rgb(paint.ORANGE)


def test_otsu_separates_two_classes() -> None:
    values = np.concatenate([np.full(50, 1.0), np.full(50, 3.0)]).astype(np.float32)
    assert 1.0 < align.otsu(values) < 3.0


def test_jacobian_marks_folds() -> None:
    jac = sitk.Image(24, 24, 24, sitk.sitkFloat32) + 1.0
    jac[3, 5, 6] = -0.5  # a single voxel, on none of the cuts laid evenly
    mask = sitk.Image(24, 24, 24, sitk.sitkUInt8) + 1
    figure = align.jacobian(jac, mask)
    pixels = np.asarray(Image.open(io.BytesIO(figure.layers[0].data)).convert("RGB")).astype(int)
    yellow = np.abs(pixels - paint.rgb(paint.YELLOW)).sum(axis=2) < 90
    assert np.count_nonzero(yellow[:, :1100]) > 10


def head() -> tuple[sitk.Image, sitk.Image]:
    """A bright ball in a noisy box, and its mask."""
    z, y, x = np.mgrid[0:24, 0:28, 0:24]
    ball = ((z - 12) / 9) ** 2 + ((y - 14) / 11) ** 2 + ((x - 12) / 9) ** 2 < 1
    noise = np.random.default_rng(0).standard_normal(ball.shape) * 0.02
    image = sitk.GetImageFromArray((ball * (0.5 + 0.5 * (x > 12)) + noise).astype(np.float32))
    mask = sitk.GetImageFromArray(ball.astype(np.uint8))
    for one in (image, mask):
        one.SetSpacing((4.0, 4.0, 4.0))
    return image, mask


def test_layers_of_a_figure_share_their_size() -> None:
    image, mask = head()
    figures = [
        align.brain_mask(image, mask),
        align.contrasts(image, mask, "T1w", image, sitk.Transform(3, sitk.sitkIdentity), "T2w"),
        align.template(image, {"moved": image, "affine only": image},
                       {"brain": align.as_region(mask, paint.ORANGE)}),
        labels.coarse_box(image, (2, 2, 2), (10, 10, 10), mask),
        labels.tissues({"T1w": image, "T2w": image}, mask, TISSUES, ["T2w"]),
    ]  # fmt: skip
    for figure in figures:
        sizes = {Image.open(io.BytesIO(layer.data)).size for layer in figure.layers}
        assert sizes == {(figure.width, figure.height)}
        assert figure.bases and figure.overlays


def test_synthetic_is_burnt_into_every_made_tile() -> None:
    image, mask = head()
    figure = acquired.made("FLAIR", image, mask, None, ("T1w", image))
    pixels = np.asarray(Image.open(io.BytesIO(figure.layers[0].data)).convert("RGB")).astype(int)
    band = np.abs(pixels[-8] - paint.rgb(paint.ORANGE)).sum(axis=1) < 80
    assert band.mean() > 0.6
    upper = np.abs(pixels[: pixels.shape[0] // 2 - 4] - paint.rgb(paint.ORANGE)).sum(axis=2) < 80
    assert not upper.any()
    assert "not acquired" in figure.note


def test_residual_limit_is_robust() -> None:
    image, mask = head()
    pair = restore.Pair(image + 0.1, image, mask)
    assert restore.residual_limit(pair) == pytest.approx(0.1, abs=1e-3)
    assert restore.residual_limit(restore.Pair(image, image, mask)) > 0


def test_expected_error_is_bright_where_it_is_large_and_dark_outside_the_brain() -> None:
    image, mask = head()
    values = np.zeros(sitk.GetArrayViewFromImage(image).shape, dtype=np.float32)
    # larger towards the patient's left, which is on the right of an axial picture
    values += np.linspace(0.0, 1.0, values.shape[2], dtype=np.float32)
    doubted = restore.Pair(image, image, mask, doubt=images.like(values, image))
    figure = restore.uncertainty({"T1w": doubted, "T2w": restore.Pair(image, image, mask)})
    pixels = np.asarray(Image.open(io.BytesIO(figure.layers[0].data)).convert("RGB"), dtype=int)
    one = restore.uncertainty({"T1w": doubted})
    assert figure.height == one.height, "a contrast without a map has no row"
    quarter = figure.width // 4
    panel = pixels[24:-4, quarter : 2 * quarter].sum(axis=2)
    middle = panel.shape[1] // 2
    assert panel[:, middle:].sum() > 1.5 * panel[:, :middle].sum()


def test_through_planes_follow_the_thick_axis() -> None:
    image = sitk.Image(8, 8, 8, sitk.sitkFloat32)
    for spacing, planes in (((1, 1, 4), ("coronal", "sagittal")), ((4, 1, 1), ("axial", "coronal")),
                            ((1, 4, 1), ("axial", "sagittal"))):  # fmt: skip
        image.SetSpacing(spacing)
        assert restore.through_planes(image) == planes


def test_encoding_keeps_overlays_exact() -> None:
    picture = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
    picture.putpixel((3, 4), (230, 159, 0, 200))
    back = Image.open(io.BytesIO(sheet.encode(picture))).convert("RGBA")
    assert back.getpixel((3, 4)) == (230, 159, 0, 200)


def test_histogram_shares_are_of_all_values() -> None:
    values = np.asarray([0.5, 0.5, 1.5, 99.0], dtype=np.float32)
    found = histogram.shares(values, (0.0, float(histogram.BINS)))
    assert found[0] == 0.5 and found[1] == 0.25 and found.sum() == 0.75


def test_histogram_marks_what_was_removed_beside_the_estimated_noise() -> None:
    image, mask = head()
    noise = sitk.AdditiveGaussianNoise(image * 0.0, 0.1, 0.0, 3)
    pair = restore.Pair(image + noise, image, mask)

    def colors(sigma: float) -> tuple[int, int]:
        """Rows, from the top of the right half, where the removed and the normal curve peak."""
        figure = histogram.noise({"T1w": pair}, {"T1w": sigma})
        pixels = np.asarray(Image.open(io.BytesIO(figure.layers[0].data)).convert("RGB")).astype(
            int
        )
        right = pixels[24 : histogram.PANEL[1], sheet.WIDTH // 2 + 120 :]
        rows = []
        for color in (paint.SKY, paint.YELLOW):
            near = np.abs(right - paint.rgb(color)).sum(axis=2) < 130
            rows.append(int(np.flatnonzero(near.any(axis=1))[0]))
        return rows[0], rows[1]

    removed, normal = colors(0.1)
    assert abs(removed - normal) < 15, "the same width, the same height"
    removed, normal = colors(0.3)
    assert normal - removed > 60, "a wider bell is a lower one"


def test_histogram_without_an_estimate_or_a_difference() -> None:
    image, mask = head()
    figure = histogram.noise({"T1w": restore.Pair(image, image, mask)}, {})
    assert [text for _, text in figure.legend] == ["before", "after or removed"]
    assert figure.height == histogram.PANEL[1] + histogram.FOOT


def test_difference_of_equal_images_is_even_grey() -> None:
    image, mask = head()
    figure = align.template(image, {"moved": image}, {"brain": align.as_region(mask, paint.ORANGE)})
    layer = next(one for one in figure.bases if one.name == "difference")
    pixels = np.asarray(Image.open(io.BytesIO(layer.data)).convert("L")).astype(int)
    assert np.mean((pixels > 122) & (pixels < 134)) > 0.75
    brighter = align.template(image, {"moved": sitk.Sqrt(sitk.Abs(image))},
                              {"brain": align.as_region(mask, paint.ORANGE)})  # fmt: skip
    layer = next(one for one in brighter.bases if one.name == "difference")
    pixels = np.asarray(Image.open(io.BytesIO(layer.data)).convert("L")).astype(int)
    assert (pixels > 140).mean() > 0.1
