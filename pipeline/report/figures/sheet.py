"""Sheets of tiles and their layers: what a page shows as one figure."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk  # noqa: N813
from PIL import Image, ImageDraw

from pipeline.report.figures import paint
from pipeline.report.figures.geometry import (
    AXES,
    PLANES,
    Box,
    Cut,
    cut,
    positions,
)

#: Width in pixels that mosaics aim for; pages show them at about 900.
WIDTH = 1120
GAP = 3

Painter = Callable[[Cut], paint.Pixels]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Layer:
    """One picture of a figure. Bases replace each other, overlays lie on top."""

    name: str
    data: bytes
    overlay: bool = False
    shown: bool = True

    @property
    def uri(self) -> str:
        """The picture as a ``data:`` address."""
        return "data:image/webp;base64," + base64.b64encode(self.data).decode("ascii")


@dataclass(frozen=True)
class Figure:
    """One figure of a page.

    Attributes:
        key: entry of captions.yaml, and the end of the figure's anchor.
        layers: bases (the first is shown) and overlays, all of one size.
        width, height: pixels.
        legend: colour → what it marks.
        note: what has to be known about this subject's picture.
    """

    key: str
    layers: tuple[Layer, ...]
    width: int
    height: int
    name: str = ""
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""

    @property
    def bases(self) -> tuple[Layer, ...]:
        """Pictures that replace each other."""
        return tuple(layer for layer in self.layers if not layer.overlay)

    @property
    def overlays(self) -> tuple[Layer, ...]:
        """Pictures that lie on top."""
        return tuple(layer for layer in self.layers if layer.overlay)


@dataclass(frozen=True)
class Tile:
    """One cut with how to paint it and the words in its corner."""

    where: Cut
    painter: Painter
    label: str = ""
    synthetic: bool = False


@dataclass(frozen=True)
class Bar:
    """A colour scale beside a picture."""

    stops: Sequence[str]
    ticks: tuple[tuple[float, str], ...]
    title: str = ""
    marks: tuple[tuple[str, str], ...] = field(default=())


def mosaic(
    image: sitk.Image,
    box: Box,
    counts: tuple[int, int, int] = (7, 7, 6),
    width: int = WIDTH,
    trim: float = 0.18,
    through: Point | None = None,
) -> list[list[Cut]]:
    """Rows of axial, coronal and sagittal cuts through an upright image, one scale for all.

    Args:
        image: gives lattice and space.
        box: what is shown.
        counts: cuts of each plane.
        width: pixels of the widest row.
        trim: share of the box left out at each end.
        through: the nearest cut of each plane is moved here, mm from the first voxel's centre.
    """
    spans = [count * box.extent(AXES[p][0][0]) for p, count in zip(PLANES, counts, strict=True)]
    pixel = max(spans) / (width - GAP * max(counts))
    rows = []
    for plane, count in zip(PLANES, counts, strict=True):
        places = positions(box, plane, count, image.GetSpacing(), trim) if count else []
        if through is not None and places:
            target = through[AXES[plane][2][0]]
            nearest = min(range(count), key=lambda n: abs(places[n] - target))
            places[nearest] = target
        rows.append([cut(image, plane, place, box, pixel) for place in places])
    return [row for row in rows if row]


def tiles(
    rows: Sequence[Sequence[Cut]], painter: Painter, label: str = "", *, synthetic: bool = False
) -> list[list[Tile]]:
    """Paint every cut the same way; the label stands in the first tile."""
    return [
        [
            Tile(where, painter, label if (r, c) == (0, 0) else "", synthetic)
            for c, where in enumerate(row)
        ]
        for r, row in enumerate(rows)
    ]


def compose(rows: Sequence[Sequence[Tile]], bar: Bar | None = None) -> Image.Image:
    """Put tiles together: rows below each other on black, with letters, labels and a scale."""
    width = max(sum(t.where.size[0] + GAP for t in row) - GAP for row in rows)
    heights = [max(tile.where.size[1] for tile in row) for row in rows]
    size = (width + (84 if bar else 0), sum(heights) + GAP * (len(rows) - 1))
    canvas = Image.new("RGB", size, (0, 0, 0))
    top = 0
    for row, height in zip(rows, heights, strict=True):
        _paint_row(canvas, row, top, height, width)
        top += height + GAP
    if bar:
        _draw_bar(canvas, bar, width + 10)
    return canvas


def _paint_row(canvas: Image.Image, row: Sequence[Tile], top: int, height: int, width: int) -> None:
    left = (width - sum(t.where.size[0] + GAP for t in row) + GAP) // 2
    for tile in row:
        corner = (left, top + (height - tile.where.size[1]) // 2)
        canvas.paste(Image.fromarray(tile.painter(tile.where)), corner)
        paint.letters(canvas, tile.where, corner)
        if tile.label:
            paint.text(canvas, (left + 5, top + 4), tile.label, 15)
        if tile.synthetic:
            _stamp(canvas, tile.where, corner)
        left += tile.where.size[0] + GAP


def _stamp(canvas: Image.Image, where: Cut, corner: tuple[int, int]) -> None:
    """Burn SYNTHETIC into a tile, so that a copied picture still says it."""
    (width, height), (left, top) = where.size, corner
    band = 16
    box = (left, top + height - band, left + width, top + height)
    ImageDraw.Draw(canvas).rectangle(box, fill=paint.rgb(paint.ORANGE))
    ImageDraw.Draw(canvas).text(
        (left + width / 2, top + height - band / 2), "SYNTHETIC", fill=(0, 0, 0),
        font=paint.font(12), anchor="mm",
    )  # fmt: skip


def overlay(rows: Sequence[Sequence[Cut]], painter: Painter, bar: bool = False) -> Image.Image:
    """Transparent picture with the layout of :func:`compose` for the same cuts."""
    width = max(sum(where.size[0] + GAP for where in row) - GAP for row in rows)
    heights = [max(where.size[1] for where in row) for row in rows]
    size = (width + (84 if bar else 0), sum(heights) + GAP * (len(rows) - 1))
    canvas = Image.new("RGBA", size, (0, 0, 0, 0))
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = (width - sum(where.size[0] + GAP for where in row) + GAP) // 2
        for where in row:
            corner = (left, top + (height - where.size[1]) // 2)
            canvas.paste(Image.fromarray(painter(where)), corner)
            left += where.size[0] + GAP
        top += height + GAP
    return canvas


def _draw_bar(canvas: Image.Image, bar: Bar, left: int) -> None:
    height = min(260, canvas.height - 60)
    top = (canvas.height - height) // 2
    ramp = np.linspace(1.0, 0.0, height, dtype=np.float32)[:, None].repeat(14, axis=1)
    canvas.paste(Image.fromarray(paint.colored(ramp, 0.0, 1.0, bar.stops)), (left, top))
    if bar.title:
        paint.text(canvas, (left, top - 20), bar.title, 14)
    for share, name in bar.ticks:
        paint.text(canvas, (left + 20, top + (1.0 - share) * (height - 1)), name, 14, "lm")
    for row, (color, name) in enumerate(bar.marks):
        y = top + height + 14 + 16 * row
        ImageDraw.Draw(canvas).rectangle((left, y, left + 10, y + 10), fill=paint.rgb(color))
        paint.text(canvas, (left + 16, y + 5), name, 14, "lm")


def encode(picture: Image.Image, quality: int = 80) -> bytes:
    """Picture as WebP; transparent ones without loss.

    The least effort: a third of the time for an eighth more bytes.
    """
    buffer = io.BytesIO()
    if picture.mode == "RGBA":
        picture.save(buffer, "WEBP", lossless=True, quality=20, method=0)
    else:
        picture.save(buffer, "WEBP", quality=quality, method=0)
    return buffer.getvalue()


def figure(
    key: str,
    bases: Sequence[tuple[str, Image.Image]],
    overlays: Sequence[tuple[str, Image.Image, bool]] = (),
    *,
    name: str = "",
    legend: Sequence[tuple[str, str]] = (),
    note: str = "",
) -> Figure:
    """Encode the pictures of one figure."""
    layers = [Layer(title, encode(picture)) for title, picture in bases]
    layers += [Layer(title, encode(picture), True, shown) for title, picture, shown in overlays]
    width, height = bases[0][1].size
    return Figure(key, tuple(layers), width, height, name, tuple(legend), note)
