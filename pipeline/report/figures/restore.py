"""Pictures of bias correction, denoising and resolution: what went in, what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pipeline.images import bool_array, same_grid
from pipeline.report.figures import paint
from pipeline.report.figures.geometry import (
    AXES,
    Box,
    Cut,
    Plane,
    cut,
    mask_box,
    positions,
    sample,
    upright,
)
from pipeline.report.figures.sheet import GAP, WIDTH, Figure, Painter, Tile, compose, figure

#: mm around the brain that pictures of the brain show.
MARGIN = 14.0


#: Planes that show slices edge on, by the axis along which the slices lie.
THROUGH: tuple[tuple[Plane, Plane], ...] = (
    ("axial", "coronal"),
    ("axial", "sagittal"),
    ("coronal", "sagittal"),
)


@dataclass(frozen=True)
class Pair:
    """An image before and after a step; ``mask`` is the brain on any lattice.

    ``moves`` maps points of the mask's and of ``after``'s space to points of ``before``'s;
    ``doubt`` is the standard deviation of each voxel of ``after``, where the method told it.
    """

    before: sitk.Image
    after: sitk.Image
    mask: sitk.Image
    moves: sitk.Transform | None = None
    doubt: sitk.Image | None = None


def grey_painter(
    image: sitk.Image,
    window: tuple[float, float],
    moves: sitk.Transform | None = None,
    *,
    nearest: bool = False,
) -> Painter:
    """Painter of an image in grey."""

    def paint_cut(where: Cut) -> paint.Pixels:
        return paint.grey(sample(image, where, moves, nearest=nearest), window)

    return paint_cut


def brain_painter(image: sitk.Image, mask: sitk.Image) -> Painter:
    """Painter in grey whose window is that of the brain; the scalp may be brighter than white."""
    return grey_painter(image, paint.window_of(image, mask_on(mask, image)))


def bias(pairs: Mapping[str, Pair]) -> Figure:
    """Before and after bias correction, and the field that was taken out, a row a contrast."""
    rows = []
    for suffix, pair in pairs.items():
        before, after = upright(pair.before), upright(pair.after)
        brain = mask_on(pair.mask, after)
        box = mask_box(brain, MARGIN)
        painters: list[tuple[str, Painter]] = [
            (f"{suffix} before", brain_painter(before, pair.mask)),
            ("after", brain_painter(after, pair.mask)),
            ("field", _field_painter(before, after, brain)),
        ]
        rows.append(_row(after, box, ("axial", "coronal"), painters))
    return figure("bias", [("", compose(rows))])


def mask_on(mask: sitk.Image, reference: sitk.Image) -> sitk.Image:
    """A mask on the lattice of another image of the same space."""
    if same_grid(mask, reference):
        return mask
    identity = sitk.Transform(3, sitk.sitkIdentity)
    return sitk.Resample(mask, reference, identity, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)


def _row(
    image: sitk.Image, box: Box, planes: tuple[Plane, ...], painters: list[tuple[str, Painter]]
) -> list[Tile]:
    span = sum(box.extent(AXES[plane][0][0]) for plane in planes) * len(painters)
    pixel = span / (WIDTH - GAP * len(planes) * len(painters))
    cuts = [
        cut(image, plane, positions(box, plane, 1, image.GetSpacing())[0], box, pixel)
        for plane in planes
    ]
    return [Tile(where, painter, label) for where in cuts for label, painter in painters]


def _field_painter(before: sitk.Image, after: sitk.Image, brain: sitk.Image) -> Painter:
    inside = sitk.GetArrayViewFromImage(brain) != 0
    top = sitk.GetArrayViewFromImage(after)[inside]
    floor = 0.1 * float(np.percentile(top, 99)) if top.size else 0.0
    # the ratio is known up to a factor, so its median is set to one
    ratio = _log_ratio(
        sitk.GetArrayFromImage(before)[inside], sitk.GetArrayFromImage(after)[inside], floor
    )
    centre = float(np.nanmedian(ratio)) if np.isfinite(ratio).any() else 0.0

    def paint_cut(where: Cut) -> paint.Pixels:
        values = _log_ratio(sample(before, where), sample(after, where), floor) - centre
        known = np.isfinite(values)
        # dark voxels tell nothing: fill them from their neighbours, the field is smooth
        weight = gaussian_filter(known.astype(np.float32), 3.0)
        smooth = gaussian_filter(np.where(known, values, 0.0), 3.0) / np.maximum(weight, 1e-3)
        pixels = paint.colored(smooth, -0.8, 0.8, paint.DIVERGING)
        pixels[sample(brain, where, nearest=True) < 0.5] = 0
        return pixels

    return paint_cut


def _log_ratio(
    before: NDArray[np.float32], after: NDArray[np.float32], floor: float
) -> NDArray[np.float32]:
    """log2 of before over after; NaN where either is too dark to tell."""
    valid = (after > floor) & (before > 0)
    result = np.full(after.shape, np.nan, dtype=np.float32)
    result[valid] = np.log2(before[valid] / after[valid])
    return result


def denoise(pairs: Mapping[str, Pair]) -> Figure:
    """Before, after, what was taken away on a symmetric scale, and a zoom, a row a contrast."""
    rows = []
    for suffix, pair in pairs.items():
        before, after = upright(pair.before), upright(pair.after)
        box = mask_box(mask_on(pair.mask, after), 6.0)
        limit = residual_limit(pair)
        window = paint.window_of(before, mask_on(pair.mask, before))
        parts = [(f"{suffix} before", grey_painter(before, window, nearest=True)),
                 ("after", grey_painter(after, window, nearest=True)),
                 (f"removed, ±{limit:.2g}", _residual_painter(before, after, limit))]  # fmt: skip
        place = positions(box, "axial", 1, after.GetSpacing())[0]
        pixel = 5 * box.extent(0) / (WIDTH - 4 * GAP)
        where = cut(after, "axial", place, box, pixel)
        close = cut(after, "axial", place, _middle(box, 2.4), pixel / 2.4)
        rows.append([Tile(where, painter, label) for label, painter in parts]
                    + [Tile(close, parts[0][1], "before, closer"),
                       Tile(close, parts[1][1], "after, closer")])  # fmt: skip
    return figure("denoise", [("", compose(rows))])


def residual_limit(pair: Pair) -> float:
    """Largest difference shown: the 99.5th percentile of its size inside the mask."""
    inside = bool_array(mask_on(pair.mask, pair.after))
    difference = sitk.GetArrayFromImage(pair.before) - sitk.GetArrayFromImage(pair.after)
    sizes = np.abs(difference[inside] if inside.any() else difference)
    limit = float(np.percentile(sizes, 99.5))
    return limit if limit > 0 else 1e-3


def _residual_painter(before: sitk.Image, after: sitk.Image, limit: float) -> Painter:
    def paint_cut(where: Cut) -> paint.Pixels:
        values = sample(before, where, nearest=True) - sample(after, where, nearest=True)
        return paint.grey(values, (-limit, limit))

    return paint_cut


def uncertainty(pairs: Mapping[str, Pair]) -> Figure:
    """The denoised image beside its expected error, a row a contrast that has a map of it."""
    rows = []
    for suffix, pair in pairs.items():
        if pair.doubt is None:
            continue
        after, doubt = upright(pair.after), upright(pair.doubt)
        brain = mask_on(upright(pair.mask), after)
        values = sitk.GetArrayViewFromImage(doubt)[bool_array(brain)]
        limit = max(float(np.percentile(values, 99.5)) if values.size else 0.0, 1e-6)
        painters: list[tuple[str, Painter]] = [
            (suffix, brain_painter(after, brain)),
            (f"expected error, 0 to {limit:.2g}", _doubt_painter(doubt, brain, limit)),
        ]
        rows.append(_row(after, mask_box(brain, 6.0), ("axial", "coronal"), painters))
    return figure("uncertainty", [("", compose(rows))])


def _doubt_painter(doubt: sitk.Image, brain: sitk.Image, limit: float) -> Painter:
    def paint_cut(where: Cut) -> paint.Pixels:
        pixels = paint.colored(sample(doubt, where), 0.0, limit, paint.SEQUENTIAL)
        pixels[sample(brain, where, nearest=True) < 0.5] = 0
        return pixels

    return paint_cut


def _middle(box: Box, factor: float) -> Box:
    low = tuple((a + b) / 2 - (b - a) / 2 / factor for a, b in zip(box.low, box.high, strict=True))
    high = tuple((a + b) / 2 + (b - a) / 2 / factor for a, b in zip(box.low, box.high, strict=True))
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def resolution(pairs: Mapping[str, Pair]) -> Figure:
    """Acquired voxels as they are, beside the isotropic image, seen through the slices."""
    rows = []
    for suffix, pair in pairs.items():
        after = upright(pair.after)
        box = mask_box(upright(pair.mask), 6.0)
        window = paint.window_of(after, upright(pair.mask))
        painters: list[tuple[str, Painter]] = [
            (f"{suffix} acquired", grey_painter(pair.before, window, pair.moves, nearest=True)),
            ("isotropic", grey_painter(after, window)),
        ]
        if pair.doubt is not None:
            # a tenth of the image's window is white: doubt of one contrast compares with another's
            scale = (0.0, 0.1 * (window[1] - window[0]))
            painters.append(("uncertainty", grey_painter(upright(pair.doubt), scale)))
        rows.append(_row(after, box, through_planes(pair.before), painters))
    return figure("resolution", [("", compose(rows))])


def through_planes(image: sitk.Image) -> tuple[Plane, Plane]:
    """The two planes that show the slices of an image edge on."""
    lattice = upright(image)
    thick = int(np.argmax(lattice.GetSpacing()))
    return THROUGH[thick]
