"""Picture of defaced heads: what is left, in the middle and from the side, and what went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline.report.figures import paint
from pipeline.report.figures.geometry import Cut, cut, positions, upright, whole_box
from pipeline.report.figures.restore import grey_painter
from pipeline.report.figures.sheet import Figure, Tile, compose, figure, overlay

#: mm a pixel.
PIXEL = 1.0


def defaced(heads: Mapping[str, tuple[sitk.Image, Sequence[float] | None]]) -> Figure:
    """A row a contrast: the sagittal middle, and the brightest voxel along each line of sight.

    Args:
        heads: suffix → the image as it was written, and the plane below which it was emptied:
            normal and offset in LPS mm, or None where it was cut by distance from the brain.
    """
    rows = [_row(suffix, upright(image)) for suffix, (image, _) in heads.items()]
    planes = [plane for _, plane in heads.values()]
    layers = []
    if any(plane is not None for plane in planes):
        side = {id(tile.where.grid): plane for row, plane in zip(rows, planes, strict=True)
                for tile in row}  # fmt: skip
        cuts = [[tile.where for tile in row] for row in rows]
        shade = overlay(cuts, lambda where: _shade(where, side[id(where.grid)]))
        layers = [("removed", shade, True)]
    legend = [(paint.ORANGE, "removed")] if layers else []
    return figure("deface", [("head", compose(rows))], layers, legend=legend)


def _row(suffix: str, head: sitk.Image) -> list[Tile]:
    box = whole_box(head)
    where = cut(head, "sagittal", positions(box, "sagittal", 1, head.GetSpacing())[0], box, PIXEL)
    beside = cut(head, "sagittal", positions(box, "sagittal", 1, head.GetSpacing())[0], box, PIXEL)
    window = paint.window_of(head)
    return [
        Tile(where, grey_painter(head, window), f"{suffix} middle"),
        Tile(beside, grey_painter(_from_the_side(head), window), "from the side"),
    ]


def _from_the_side(head: sitk.Image) -> sitk.Image:
    """Every voxel gets the largest value of its line from left to right."""
    values = sitk.GetArrayViewFromImage(head)
    largest = np.broadcast_to(values.max(axis=2, keepdims=True), values.shape)
    found = sitk.GetImageFromArray(np.ascontiguousarray(largest, dtype=np.float32))
    found.CopyInformation(head)
    return found


def _shade(where: Cut, plane: Sequence[float] | None) -> paint.Pixels:
    """Transparent, and orange below the plane."""
    width, height = where.size
    pixels = np.zeros((height, width, 4), dtype=np.uint8)
    if plane is not None:
        pixels[side_of(where, plane) < 0] = (*paint.rgb(paint.ORANGE), 70)
    return pixels


def side_of(where: Cut, plane: Sequence[float]) -> NDArray[np.float64]:
    """Distance of each pixel of a cut from a plane, (height, width): negative below it."""
    normal, offset = np.asarray(plane[:3]), float(plane[3])
    grid = where.grid
    steps = (normal @ np.reshape(grid.GetDirection(), (3, 3))) * grid.GetSpacing()
    start = float(np.asarray(grid.GetOrigin()) @ normal) - offset
    width, height = where.size
    down, right = steps[1] * np.arange(height), steps[0] * np.arange(width)
    side: NDArray[np.float64] = start + down[:, None] + right[None, :]
    return side
