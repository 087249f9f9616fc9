"""Pictures of the segmentation: coarse box, fine contours, uncertainty."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline.images import array
from pipeline.labels import Label
from pipeline.report.figures import paint
from pipeline.report.figures.align import as_region, outline_painter
from pipeline.report.figures.geometry import Cut, mask_box, place_of, sample, upright, whole_box
from pipeline.report.figures.restore import brain_painter, grey_painter
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


def coarse_box(
    head: sitk.Image, index: Sequence[int], size: Sequence[int], coarse: sitk.Image | None
) -> Figure:
    """The box that the fine step works in, on the whole head, with the coarse tissues.

    Args:
        head: anchor on the common grid.
        index: first voxel of the box along x, y, z of that grid.
        size: voxels of the box.
        coarse: labels of the coarse step on that grid.
    """
    image = upright(head)
    block = sitk.Image(head.GetSize(), sitk.sitkUInt8)
    block.CopyInformation(head)
    block = sitk.Paste(block, sitk.Image(list(size), sitk.sitkUInt8) + 1, size, [0, 0, 0], index)
    box_lines = outline_painter([as_region(upright(block), paint.ORANGE)])
    row = [[cuts[0] for cuts in mosaic(image, whole_box(image), (1, 1, 1), 270)]]
    base = compose(tiles(row, grey_painter(image, paint.window_of(image))))
    layers = [("box", overlay(row, box_lines), True)]
    legend = [(paint.ORANGE, "box of the fine step")]
    if coarse is not None:
        brain = outline_painter([as_region(upright(coarse), paint.SKY)])
        layers.append(("coarse brain", overlay(row, brain), True))
        legend.append((paint.SKY, "coarse brain"))
    return figure("box", [("head", base)], layers, legend=legend)


def tissues(
    contrasts: Mapping[str, sitk.Image],
    labels: sitk.Image,
    names: Sequence[Label],
    synthetic: Collection[str] = (),
) -> Figure:
    """Contours of the labels on the brain in three planes; a filled layer to switch on.

    Where there is a lesion, one cut of each plane passes through its middle.

    Args:
        contrasts: suffix → image on the grid of the labels; the first is shown.
        labels: the segmentation.
        names: what the labels are called, and their colours.
        synthetic: suffixes of contrasts that were made; their tiles are stamped.
    """
    regions = upright(labels)
    colors = {label.index: label.color for label in names}
    values = sitk.GetArrayViewFromImage(regions)
    present = set(np.unique(values).tolist())
    lesion = [label.index for label in names if "lesion" in label.name]
    centre = place_of(np.isin(values, lesion), regions)
    cuts = mosaic(regions, mask_box(regions, 6.0), through=centre)
    bases = [
        (suffix, compose(tiles(cuts, brain_painter(upright(image), labels), suffix,
                               synthetic=suffix in synthetic)))
        for suffix, image in contrasts.items()
    ]  # fmt: skip
    lines = overlay(cuts, outline_painter(paint.regions_of(regions, colors), width=1.3))
    fill = overlay(cuts, _fill_painter(regions, colors))
    legend = [(label.color, label.name) for label in names if label.index in present]
    return figure("tissues", bases, [("contours", lines, True), ("filled", fill, False)],
                  legend=legend)  # fmt: skip


def _fill_painter(labels: sitk.Image, colors: Mapping[int, str]) -> Painter:
    def paint_cut(where: Cut) -> paint.Pixels:
        return paint.filled(sample(labels, where, nearest=True), colors, 0.45)

    return paint_cut


def entropy(uncertainty: sitk.Image, labels: sitk.Image) -> Figure:
    """Entropy of the label probabilities; a cut of each plane where it is largest regionally."""
    shown, regions = upright(uncertainty), upright(labels)
    inside = sitk.GetArrayViewFromImage(shown)[sitk.GetArrayViewFromImage(regions) != 0]
    top = max(float(np.percentile(inside, 99.8)) if inside.size else 0.0, 1e-3)
    around = array(sitk.SmoothingRecursiveGaussian(shown, 4.0))
    worst = place_of(around == around.max(), shown)
    cuts = mosaic(shown, mask_box(regions, 6.0), through=worst)

    def paint_cut(where: Cut) -> paint.Pixels:
        values = sample(shown, where)
        pixels = paint.colored(values, 0.0, top, paint.SEQUENTIAL)
        pixels[sample(regions, where, nearest=True) < 0.5] = 0
        return pixels

    bar = Bar(
        paint.SEQUENTIAL, ((0.0, "0"), (0.5, f"{top / 2:.2g}"), (1.0, f"{top:.2g}")), "entropy"
    )
    return figure("entropy", [("", compose(tiles(cuts, paint_cut), bar))])
