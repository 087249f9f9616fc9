"""Histograms: grey levels of the brain before and after a stage, and of what the stage removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.images import bool_array
from pipeline.report.figures import paint
from pipeline.report.figures.restore import Pair, mask_on
from pipeline.report.figures.sheet import WIDTH, Figure, figure

#: Pixels of one panel, between panels, and left for the words below.
PANEL = (WIDTH // 2 - 12, 170)
GAP = 24
FOOT = 22
BINS = 96
#: Drawn so many times larger and reduced, for smooth lines.
_FINER = 2


@dataclass(frozen=True)
class Curve:
    """Share of voxels a bin, and the colour of its line."""

    heights: NDArray[np.float64]
    color: str


def noise(pairs: Mapping[str, Pair], sigmas: Mapping[str, float]) -> Figure:
    """A row a contrast: grey levels in the brain before and after, and what was removed.

    Args:
        pairs: suffix → images before and after, with the brain.
        sigmas: suffix → estimated standard deviation of the noise, in the image's units; its
            normal distribution is drawn beside what was removed.
    """
    row = PANEL[1] + FOOT
    canvas = Image.new("RGB", (WIDTH, row * len(pairs)), (0, 0, 0))
    for place, (suffix, pair) in enumerate(pairs.items()):
        before, after = _inside(pair)
        _panel(canvas, (0, place * row), f"{suffix} grey levels", *_levels(before, after))
        left = WIDTH - PANEL[0]
        _panel(canvas, (left, place * row), f"{suffix} removed",
               *_removed(before - after, sigmas.get(suffix)))  # fmt: skip
    legend = [(paint.ORANGE, "before"), (paint.SKY, "after or removed")]
    if sigmas:
        legend.append((paint.YELLOW, "normal distribution of the estimated noise"))
    return figure("noise", [("", canvas)], legend=legend)


def _inside(pair: Pair) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    brain = bool_array(mask_on(pair.mask, pair.after))
    if not brain.any():
        brain[:] = True
    before, after = (sitk.GetArrayViewFromImage(one)[brain] for one in (pair.before, pair.after))
    return before, after


def _levels(
    before: NDArray[np.float32], after: NDArray[np.float32]
) -> tuple[tuple[float, float], list[Curve]]:
    low, high = (float(value) for value in np.percentile(before, [0.1, 99.9]))
    span = (low, high if high > low else low + 1.0)
    return span, [
        Curve(shares(before, span), paint.ORANGE),
        Curve(shares(after, span), paint.SKY),
    ]


def _removed(
    values: NDArray[np.float32], sigma: float | None
) -> tuple[tuple[float, float], list[Curve]]:
    limit = float(np.percentile(np.abs(values), 99.8)) or 1e-6
    if sigma:
        limit = max(limit, 3.0 * sigma)
    span = (-limit, limit)
    curves = [Curve(shares(values, span), paint.SKY)]
    if sigma:
        edges = np.linspace(*span, BINS + 1)
        centres = (edges[1:] + edges[:-1]) / 2
        normal = np.exp(-0.5 * (centres / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        curves.insert(0, Curve(normal * (edges[1] - edges[0]), paint.YELLOW))
    return span, curves


def shares(values: NDArray[np.float32], span: tuple[float, float]) -> NDArray[np.float64]:
    """Share of all values in each of :data:`BINS` bins over ``span``."""
    counts, _ = np.histogram(values, bins=BINS, range=span)
    found: NDArray[np.float64] = counts / max(values.size, 1)
    return found


def _panel(
    canvas: Image.Image,
    corner: tuple[int, int],
    title: str,
    span: tuple[float, float],
    curves: Sequence[Curve],
) -> None:
    width, height = PANEL
    panel = Image.new("RGB", (width * _FINER, height * _FINER), (0, 0, 0))
    brush = ImageDraw.Draw(panel)
    top = max(float(curve.heights.max()) for curve in curves) or 1.0
    x = (np.arange(BINS) + 0.5) / BINS * width * _FINER
    for curve in curves:
        y = (height - 2 - curve.heights / top * (height - 26)) * _FINER
        points = np.stack([x, y], axis=1).ravel().tolist()
        brush.line(points, fill=paint.rgb(curve.color), width=2 * _FINER, joint="curve")
    floor = (height - 1) * _FINER
    brush.line([0, floor, width * _FINER, floor], fill=(120, 120, 120), width=_FINER)
    canvas.paste(panel.reduce(_FINER), corner)
    left, upper = corner
    paint.text(canvas, (left + 5, upper + 4), title, 15)
    for place, value, anchor in ((left + 2, span[0], "la"), (left + width / 2, sum(span) / 2, "ma"),
                                 (left + width - 2, span[1], "ra")):  # fmt: skip
        paint.text(canvas, (place, upper + height + 3), f"{value + 0.0:.3g}", 13, anchor, "#BBBBBB")
