"""Pictures of what lies on what: brain mask, contrasts on each other, subject on template."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import binary_dilation

from pipeline.report.figures import paint
from pipeline.report.figures.geometry import Cut, mask_box, place_of, sample, upright
from pipeline.report.figures.restore import MARGIN, brain_painter, grey_painter, mask_on
from pipeline.report.figures.sheet import (
    Bar,
    Figure,
    Painter,
    compose,
    figure,
    mosaic,
    overlay,
    tiles,
)

Regions = list[tuple[sitk.Image, float, str]]


def outline_painter(
    regions: Regions, moves: sitk.Transform | None = None, width: float = 1.7
) -> Painter:
    """Painter of contours; ``width`` of the line in pixels."""

    def paint_cut(where: Cut) -> paint.Pixels:
        return paint.outlines(where, regions, moves, width)

    return paint_cut


def as_region(mask: sitk.Image, color: str) -> tuple[sitk.Image, float, str]:
    """A mask with the colour of its contour."""
    return sitk.Cast(mask != 0, sitk.sitkFloat32), 0.5, color


def brain_mask(image: sitk.Image, mask: sitk.Image) -> Figure:
    """Contour of the brain mask on the head, in three planes."""
    head, brain = upright(image), upright(mask)
    cuts = mosaic(head, mask_box(brain, MARGIN), trim=0.13)
    base = compose(tiles(cuts, brain_painter(head, brain)))
    lines = overlay(cuts, outline_painter([as_region(brain, paint.ORANGE)]))
    return figure("mask", [("head", base)], [("brain mask", lines, True)],
                  legend=[(paint.ORANGE, "brain mask")])  # fmt: skip


def inner_edges(image: sitk.Image, mask: sitk.Image, color: str) -> tuple[sitk.Image, float, str]:
    """Contour between bright and dark tissue inside the brain (Otsu's threshold)."""
    inside = sitk.Mask(image, sitk.Cast(mask != 0, sitk.sitkUInt8))
    smooth = sitk.DiscreteGaussian(inside, variance=1.0, useImageSpacing=True)
    values = sitk.GetArrayViewFromImage(smooth)[sitk.GetArrayViewFromImage(mask) != 0]
    return smooth, otsu(values.astype(np.float32)), color


def otsu(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """Threshold between two classes of values (Otsu 1979), 64 bins."""
    counts, edges = np.histogram(values, bins=64)
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1:][int(np.nanargmax(apart))])


def contrasts(
    anchor: sitk.Image,
    mask: sitk.Image,
    suffix: str,
    other: sitk.Image,
    moves: sitk.Transform,
    name: str,
) -> Figure:
    """Edges of the anchor drawn on another contrast; the two can be flickered.

    Args:
        anchor: image that gives the space.
        mask: brain on the anchor.
        suffix: of the anchor.
        other: the other contrast on its own lattice.
        moves: maps points of the anchor's space to points of ``other``'s.
        name: suffix of the other contrast.
    """
    head, brain = upright(anchor), upright(mask)
    cuts = mosaic(head, mask_box(brain, MARGIN))
    there = sitk.Resample(other, head, moves, sitk.sitkLinear, 0.0)
    shown = grey_painter(other, paint.window_of(there, brain), moves)
    regions = [inner_edges(head, brain, paint.SKY), as_region(brain, paint.ORANGE)]
    return figure(
        "contrasts",
        [(name, compose(tiles(cuts, shown, name))),
         (suffix, compose(tiles(cuts, brain_painter(head, brain), suffix)))],
        [(f"edges of {suffix}", overlay(cuts, outline_painter(regions)), True)],
        name=name,
        legend=[(paint.ORANGE, f"brain of {suffix}"), (paint.SKY, f"tissue edge of {suffix}")],
    )  # fmt: skip


def template(
    target: sitk.Image,
    moved: Mapping[str, sitk.Image],
    regions: Mapping[str, tuple[sitk.Image, float, str]],
) -> Figure:
    """Edges of the template on the moved subject; moved, template and affine-only flicker.

    The last picture is the residual of the first: mid grey where both have one grey level.

    Args:
        target: the template's image.
        moved: name → subject's image on the template's grid, the first is shown.
        regions: name → image, level and colour of a contour of the template.
    """
    fixed = upright(target)
    brain = sitk.Cast(fixed > 0.05 * paint.window_of(fixed)[1], sitk.sitkUInt8)
    cuts = mosaic(fixed, mask_box(brain, 6.0))
    bases = [
        (name, compose(tiles(cuts, brain_painter(image, brain), name)))
        for name, image in moved.items()
    ]
    shown = compose(tiles(cuts, brain_painter(fixed, brain), "template"))
    bases.insert(1, ("template", shown))
    bases.append(
        ("difference", compose(tiles(cuts, _difference(moved, fixed, brain), "moved - template")))
    )
    lines = overlay(cuts, outline_painter(list(regions.values())))
    return figure("template", bases, [("edges of the template", lines, True)],
                  legend=[(region[2], name) for name, region in regions.items()])  # fmt: skip


def _difference(moved: Mapping[str, sitk.Image], fixed: sitk.Image, brain: sitk.Image) -> Painter:
    """Moved minus template, each in its own window of the brain, -1 to 1 from black to white."""
    image = next(iter(moved.values()))
    scales = [paint.window_of(one, mask_on(brain, one)) for one in (image, fixed)]

    def paint_cut(where: Cut) -> paint.Pixels:
        parts = [
            np.clip((sample(one, where) - low) / (high - low), 0.0, 1.0)
            for one, (low, high) in zip((image, fixed), scales, strict=True)
        ]
        return paint.grey(parts[0] - parts[1], (-1.0, 1.0))

    return paint_cut


def jacobian(determinant: sitk.Image, mask: sitk.Image, limit: float = 2.0) -> Figure:
    """Local change of volume as log2 of the Jacobian determinant inside the template's brain.

    One cut of each plane passes through the smallest value.

    Args:
        determinant: of the map template → subject: above 1 where the subject is larger.
        mask: brain of the template.
        limit: |log2 J| at the ends of the scale.
    """
    jac, brain = upright(determinant), upright(mask)
    values = np.where(sitk.GetArrayViewFromImage(brain) != 0, sitk.GetArrayViewFromImage(jac), 1.0)
    worst = place_of(values == values.min(), jac)
    cuts = mosaic(jac, mask_box(brain, 6.0), through=worst)
    inside = sitk.Cast(brain != 0, sitk.sitkFloat32)

    def paint_cut(where: Cut) -> paint.Pixels:
        values = sample(jac, where)
        pixels = paint.colored(np.log2(np.maximum(values, 1e-6)), -limit, limit, paint.DIVERGING)
        # a folded voxel is small: shown whole and a pixel wider, so that it is seen
        folds = sample(jac, where, nearest=True) <= 0
        brain_here = sample(inside, where, nearest=True) > 0.5
        pixels[binary_dilation(folds & brain_here)] = paint.rgb(paint.YELLOW)
        pixels[~brain_here] = 0
        return pixels

    folds = (("#F0E442", "J <= 0"),)
    ticks = ((0.0, f"1/{2**limit:g}"), (0.25, f"1/{2**(limit / 2):g}"), (0.5, "1"),
             (0.75, f"{2**(limit / 2):g}"), (1.0, f"{2**limit:g}"))  # fmt: skip
    bar = Bar(paint.DIVERGING, ticks, "volume x", folds)
    return figure("jacobian", [("", compose(tiles(cuts, paint_cut), bar))])
