"""Pictures of what was acquired, and of what was made because it was not."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from pipeline.report.figures import paint
from pipeline.report.figures.geometry import (
    PLANES,
    Cut,
    cut,
    mask_box,
    positions,
    sample,
    upright,
    whole_box,
)
from pipeline.report.figures.restore import grey_painter
from pipeline.report.figures.sheet import (
    Bar,
    Figure,
    Tile,
    compose,
    figure,
    mosaic,
    tiles,
)

#: mm a pixel of the overview of acquired series.
OVERVIEW_PIXEL = 1.15


def series(acquired: Mapping[str, sitk.Image]) -> Figure:
    """The middle of each acquired series in three planes, all at one scale."""
    rows = []
    for suffix, image in acquired.items():
        head = upright(image)
        box = whole_box(head)
        # voxels as they are, unless the picture is coarser than they: then it would alias
        as_is = min(head.GetSpacing()) >= OVERVIEW_PIXEL
        painter = grey_painter(head, paint.window_of(head), nearest=as_is)
        rows.append([
            Tile(cut(head, plane, positions(box, plane, 1, head.GetSpacing())[0], box,
                     OVERVIEW_PIXEL), painter, suffix if plane == "axial" else "")
            for plane in PLANES
        ])  # fmt: skip
    return figure("series", [("", compose(rows))])


def made(
    suffix: str,
    synthetic: sitk.Image,
    mask: sitk.Image,
    acquired: sitk.Image | None,
    source: tuple[str, sitk.Image],
) -> Figure:
    """A made contrast beside the acquired one, or beside a source when none was acquired.

    Args:
        suffix: of the made contrast.
        synthetic: the made image; every tile of it is stamped SYNTHETIC.
        mask: brain on the same grid.
        acquired: the acquired image of the same contrast, if there is one.
        source: suffix and image of an acquired contrast that it was made from.
    """
    fake, brain = upright(synthetic), upright(mask)
    window = paint.window_of(fake, brain)
    cuts = mosaic(fake, mask_box(brain, 6.0), (6, 0, 0))[0]
    name, beside = (suffix, acquired) if acquired is not None else source
    other = upright(beside)
    shown = window if acquired is not None else paint.window_of(other, brain)
    real = grey_painter(other, shown)
    note = "" if acquired is not None else f"{suffix} was not acquired; above is {name}."
    rows = [
        [Tile(where, real, f"{name} acquired" if c == 0 else "") for c, where in enumerate(cuts)],
        [Tile(where, grey_painter(fake, window), f"{suffix} made" if c == 0 else "", True)
         for c, where in enumerate(cuts)],
    ]  # fmt: skip
    return figure("made", [("", compose(rows))], name=suffix, note=note)


def spread(suffix: str, deviation: sitk.Image, mask: sitk.Image) -> Figure:
    """Where the made contrast is uncertain: its expected error on a sequential scale."""
    values, brain = upright(deviation), upright(mask)
    inside = sitk.GetArrayViewFromImage(values)[sitk.GetArrayViewFromImage(brain) != 0]
    top = max(float(np.percentile(inside, 99.5)) if inside.size else 0.0, 1e-6)
    cuts = mosaic(values, mask_box(brain, 6.0), (6, 0, 0))

    def paint_cut(where: Cut) -> paint.Pixels:
        pixels = paint.colored(sample(values, where), 0.0, top, paint.SEQUENTIAL)
        pixels[sample(brain, where, nearest=True) < 0.5] = 0
        return pixels

    ticks = ((0.0, "0"), (0.5, f"{top / 2:.2g}"), (1.0, f"{top:.2g}"))
    bar = Bar(paint.SEQUENTIAL, ticks, "spread")
    return figure("spread", [("", compose(tiles(cuts, paint_cut), bar))], name=suffix)


def thumbnail(image: sitk.Image, outline: sitk.Image | None, width: int = 96) -> bytes:
    """The axial middle of a head with a contour, for the row of the cohort page (WebP)."""
    head = upright(image)
    region = mask_box(upright(outline), 10.0) if outline is not None else whole_box(head)
    pixel = region.extent(0) / width
    where = cut(head, "axial", positions(region, "axial", 1, head.GetSpacing())[0], region, pixel)
    brain = upright(outline) if outline is not None else None
    picture = Image.fromarray(grey_painter(head, paint.window_of(head, brain))(where))
    if outline is not None:
        edge = sitk.Cast(outline != 0, sitk.sitkFloat32)
        lines = Image.fromarray(paint.outlines(where, [(edge, 0.5, paint.ORANGE)], width=1.0))
        picture.paste(lines, (0, 0), lines)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=60)
    return buffer.getvalue()
