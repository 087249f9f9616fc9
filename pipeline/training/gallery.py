"""A picture of what a trained model makes of validation samples, for its bundle."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.bundles import SAMPLES
from pipeline.training import judging
from pipeline.training.data import SeededSamples, collate
from pipeline.training.recipe import Networks, Recipe
from pipeline.training.trainer import Fitted

ROWS = 4
#: Titles of what is beside each other; a recipe may have its own in an attribute ``titles``.
TITLES = ("input", "made", "acquired", "error")
Row = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


@runtime_checkable
class Shown(Protocol):
    """A recipe whose results can be shown."""

    def sample(self, networks: Networks, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Input, made and acquired image of a batch, (B, C, Z, Y, X) or (B, C, Y, X) each."""


def of(recipe: Recipe, fitted: Fitted, samples: SeededSamples) -> dict[str, bytes]:
    """``samples.png`` for :func:`pipeline.training.bundle.write`; nothing for other recipes.

    Args:
        recipe: with a method ``sample``; its networks get the best weights, on the CPU.
        fitted: what the training gave.
        samples: of the validation; evenly spread ones are shown.
    """
    if not isinstance(recipe, Shown):
        return {}
    judging.use(recipe, fitted)
    count = min(ROWS, len(samples))
    rows = []
    with torch.no_grad():
        for k in range(count):
            batch = collate([samples[k * len(samples) // count]])
            rows.append(tuple(_middle(item) for item in recipe.sample(recipe.networks, batch)))
    titles = getattr(recipe, "titles", TITLES)
    return {SAMPLES: as_png([(row[0], row[1], row[2]) for row in rows], titles)}


def _middle(image: Tensor) -> NDArray[Any]:
    """The middle plane of the first image and channel."""
    first = image[0, 0].float().cpu().numpy()
    return np.asarray(first[len(first) // 2] if first.ndim == 3 else first)


def as_png(rows: Sequence[Row], titles: Sequence[str] = TITLES) -> bytes:
    """A row a sample: three planes, and the second less the third, whose scale is told.

    Args:
        rows: planes of one shape in a row.
        titles: of the four columns.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 2.1 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(len(rows), len(TITLES), squeeze=False)
    for line, (given, made, acquired) in zip(places, rows, strict=True):
        error = made - acquired
        low, high = np.percentile(acquired, [0.5, 99.5])
        largest = max(float(np.abs(error).max()), 1e-6)
        spans = [tuple(np.percentile(given, [0.5, 99.5])), (low, high), (low, high)]
        for axes, plane, (first, last) in zip(line, (given, made, acquired), spans, strict=False):
            axes.imshow(plane, cmap="gray", vmin=first, vmax=max(last, first + 1e-6))
        line[3].imshow(error, cmap="RdBu_r", vmin=-largest, vmax=largest)
        line[3].set_xlabel(f"± {largest:.3g}", fontsize="small")
        for axes, title in zip(line, titles, strict=True):
            axes.set_xticks([])
            axes.set_yticks([])
            if axes in places[0]:
                axes.set_title(title, fontsize="small")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100, metadata={"Software": None})
    return picture.getvalue()
