"""From values on a cut to coloured pixels: grey and colour scales, contours, text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import contourpy
import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.report.figures.geometry import LETTERS, Cut, sample

Pixels = NDArray[np.uint8]

# Palette of Okabe and Ito, told apart by the colour-blind.
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

#: Blue, pale, orange-brown: lightness falls evenly to both ends.
DIVERGING = ("#08306B", "#2166AC", "#67A9CF", "#D1E5F0", "#F7F7F7", "#FDDBC7", "#EF8A62", "#B2182B",
             "#67001F")  # fmt: skip
#: Cividis, readable without colour vision.
SEQUENTIAL = ("#00204C", "#123570", "#3B496C", "#575C6D", "#707173", "#8A8678", "#A59C74",
              "#C3B369", "#E1CC55", "#FFEA46")  # fmt: skip

_SUPERSAMPLING = 2
#: Voxels that tell a percentile of the brain's grey levels closely enough for a window.
_ENOUGH = 100_000


def rgb(color: str) -> tuple[int, int, int]:
    """``#RRGGBB`` as numbers."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def robust_window(
    values: NDArray[np.float32], low: float = 0.5, high: float = 99.7
) -> tuple[float, float]:
    """Grey window between two percentiles of the values that are not zero."""
    filled = values[values != 0]
    if not filled.size:
        return 0.0, 1.0
    bottom, top = (float(value) for value in np.percentile(filled, [low, high]))
    return (bottom, top) if top > bottom else (bottom, bottom + 1.0)


def window_of(image: sitk.Image, mask: sitk.Image | None = None) -> tuple[float, float]:
    """Grey window of an image: inside ``mask`` where given, black at zero or below."""
    values = sitk.GetArrayViewFromImage(image)
    if mask is not None and mask.GetSize() == image.GetSize():
        inside = values[sitk.GetArrayViewFromImage(mask) != 0]
        if inside.size:
            inside = inside[:: max(1, inside.size // _ENOUGH)]
            top = float(np.percentile(inside, 99.5)) * 1.1
            bottom = min(0.0, float(np.percentile(inside, 0.1)))
            return (bottom, top) if top > bottom else (bottom, bottom + 1.0)
    bottom, top = robust_window(np.asarray(values, dtype=np.float32)[::2, ::2, ::2])
    return min(bottom, 0.0) if bottom < 0.2 * top else bottom, top


def grey(values: NDArray[np.float32], window: tuple[float, float]) -> Pixels:
    """Grey pixels, shape (height, width, 3)."""
    low, high = window
    scaled = np.clip((values - low) / (high - low), 0.0, 1.0)
    pixels: Pixels = np.repeat((scaled * 255.0 + 0.5).astype(np.uint8)[..., None], 3, axis=2)
    return pixels


def colored(values: NDArray[np.float32], low: float, high: float, stops: Sequence[str]) -> Pixels:
    """Pixels of a colour scale over ``low``..``high``, shape (height, width, 3)."""
    table = np.asarray([rgb(stop) for stop in stops], dtype=np.float64)
    place = np.clip((values - low) / (high - low), 0.0, 1.0) * (len(stops) - 1)
    below = np.minimum(place.astype(int), len(stops) - 2)
    share = (place - below)[..., None]
    mixed = table[below] * (1.0 - share) + table[below + 1] * share
    pixels: Pixels = (mixed + 0.5).astype(np.uint8)
    return pixels


def outlines(
    where: Cut,
    regions: Sequence[tuple[sitk.Image, float, str]],
    transform: sitk.Transform | None = None,
    width: float = 1.7,
) -> Pixels:
    """Contours as a transparent layer, shape (height, width, 4).

    Args:
        where: the cut.
        regions: image (a mask, a probability or a tissue map), level of the contour, colour.
        transform: maps points of the cut's space to points of the images' space.
        width: of the line, pixels.
    """
    columns, rows = where.size
    layer = Image.new("RGBA", (columns * _SUPERSAMPLING, rows * _SUPERSAMPLING), (0, 0, 0, 0))
    brush = ImageDraw.Draw(layer)
    for image, level, color in regions:
        values = np.pad(sample(image, where, transform), 1)
        for line in contourpy.contour_generator(z=values).lines(level):
            points = (np.asarray(line) - 0.5) * _SUPERSAMPLING
            brush.line(
                points.ravel().tolist(),
                fill=(*rgb(color), 255),
                width=round(width * _SUPERSAMPLING),
            )
    # reduce() weighs colours by opacity, so that edges of lines do not turn dark
    return np.asarray(layer.reduce(_SUPERSAMPLING))


def regions_of(
    labels: sitk.Image, colors: Mapping[int, str]
) -> list[tuple[sitk.Image, float, str]]:
    """Each label of an image as a region for :func:`outlines`."""
    present = set(np.unique(sitk.GetArrayViewFromImage(labels)).tolist())
    return [
        (sitk.Cast(labels == index, sitk.sitkFloat32), 0.5, color)
        for index, color in colors.items()
        if index in present
    ]


def filled(labels: NDArray[np.float32], colors: Mapping[int, str], opacity: float) -> Pixels:
    """Labels on a cut as a transparent colour layer, shape (height, width, 4)."""
    layer = np.zeros((*labels.shape, 4), dtype=np.uint8)
    for index, color in colors.items():
        layer[labels == index] = (*rgb(color), round(255 * opacity))
    return layer


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that Pillow carries, so that pictures are the same on every machine."""
    return ImageFont.load_default(size)


def text(
    picture: Image.Image,
    place: tuple[float, float],
    content: str,
    size: int = 13,
    anchor: str = "la",
    color: str = "#FFFFFF",
) -> None:
    """Write on a picture, with a dark edge that keeps it readable on bright tissue."""
    ImageDraw.Draw(picture).text(
        place, content, fill=rgb(color), font=font(size), anchor=anchor, stroke_width=2,
        stroke_fill=(0, 0, 0),
    )  # fmt: skip


def letters(picture: Image.Image, where: Cut, corner: tuple[int, int]) -> None:
    """Write the letters of the sides at the edges of one tile of a picture."""
    width, height = where.size
    left, top = corner
    signs = LETTERS[where.plane]
    middle = top + height / 2
    text(picture, (left + 4, middle), signs[0], 13, "lm", "#DDDDDD")
    text(picture, (left + width - 4, middle), signs[1], 13, "rm", "#DDDDDD")
