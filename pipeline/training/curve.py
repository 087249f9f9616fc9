"""The course of a training as a table and as a picture."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, float]]


def as_csv(history: Rows) -> str:
    """The rows of a training as CSV; a number that a row lacks is left empty."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: f"{value:.8g}" for key, value in row.items()} for row in history)
    return text.getvalue()


def as_png(history: Rows, metric: str, best_step: int) -> bytes:
    """Losses of the players above, the deciding score below, the best step marked.

    Args:
        history: rows of :class:`pipeline.training.trainer.Fitted`.
        metric: name of the deciding score.
        best_step: step of the best model.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    names = list(dict.fromkeys(key for row in history for key in row))
    for name in names:
        if name.endswith("/loss"):
            _line(above, history, name)
    _logarithmic_if_positive(above)
    above.set_ylabel("training loss")
    _line(below, history, f"validation/{metric}")
    below.set_ylabel(f"validation {metric}")
    below.set_xlabel("step")
    for axes in (above, below):
        axes.axvline(best_step, color="0.4", linestyle="--", label=f"best: step {best_step}")
        axes.grid(alpha=0.3)
        axes.legend(loc="best", fontsize="small")
    picture = io.BytesIO()
    # without the library's version the same training gives the same bytes
    figure.savefig(picture, format="png", dpi=100, metadata={"Software": None})
    return picture.getvalue()


def _line(axes: Any, history: Rows, name: str) -> None:
    known = [row for row in history if math.isfinite(row.get(name, math.nan))]
    marker = "o" if len(known) < 3 else ""
    axes.plot([r["step"] for r in known], [r[name] for r in known], label=name, marker=marker)


def _logarithmic_if_positive(axes: Any) -> None:
    values = [float(value) for line in axes.get_lines() for value in line.get_ydata()]
    if values and min(values) > 0:
        axes.set_yscale("log")
