"""The table: means over images with their 95 % intervals, one block a task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tests.benchmarks.register.table import Column, mean_of

COLUMNS = (
    Column("psnr", "PSNR, dB", ".2f"),
    Column("ssim", "SSIM", ".3f"),
    Column("gms", "GMS", ".3f"),
    Column("dice", "Dice of the segmentation", ".3f"),
    Column("seconds", "seconds", ".1f"),
    Column("peak_mb", "peak memory, MB", ".0f"),
)
Row = Mapping[str, object]


def table(rows: Sequence[Row]) -> str:
    """Markdown table, a line a task and method in the order of the rows."""
    columns = [one for one in COLUMNS if any(row.get(one.key) is not None for row in rows)]
    titles = ["task", "method", "images", *(one.title for one in columns)]
    lines = [_line(titles), _line(["---"] * len(titles))]
    for task in dict.fromkeys(str(row["task"]) for row in rows):
        of_task = [row for row in rows if row["task"] == task]
        for method in dict.fromkeys(str(row["method"]) for row in of_task):
            mine = [row for row in of_task if row["method"] == method]
            done = sum(not row.get("error") for row in mine)
            cells = [_cell(mine, column) for column in columns]
            lines.append(_line([task, method, str(done), *cells]))
    return "\n".join(lines)


#: What methods are held against: on each image, the best of these.
RIVALS = (
    ("bspline-plain", "sinc-plain"), ("bspline", "sinc"), ("none",), ("ants_nlm",), ("nlm",),
    ("bm4d",),
)  # fmt: skip


def gains(rows: Sequence[Row], ours: Sequence[str]) -> str:
    """Markdown table of what methods gain in PSNR over rivals on the same images; or nothing.

    Args:
        rows: of the run.
        ours: names of the methods.
    """
    titles = ["task", "method", "over the best of", "images", "PSNR, dB", "worst"]
    lines = [_line(titles), _line(["---"] * len(titles))]
    for task in dict.fromkeys(str(row["task"]) for row in rows):
        found: dict[str, dict[object, float]] = {}
        for row in rows:
            if row["task"] == task and (value := row.get("psnr")) is not None:
                found.setdefault(str(row["method"]), {})[row["case"]] = float(str(value))
        for method in (name for name in ours if name in found):
            others = set(found) - {method}
            for names in (names for names in RIVALS if set(names) <= others):
                rivals = [found[name] for name in names]
                cases = [case for case in found[method] if all(case in one for one in rivals)]
                more = [found[method][case] - max(one[case] for one in rivals) for case in cases]
                lines.append(_line([task, method, " and ".join(names), *_gained(more)]))
    return "\n".join(lines) if len(lines) > 2 else ""


def _gained(more: Sequence[float]) -> tuple[str, str, str]:
    """Images, mean with its interval, smallest."""
    if not more:
        return "0", "", ""
    mean = mean_of(more)
    half = "" if math.isnan(mean.half) else f" ± {mean.half:.2f}"
    return str(mean.count), f"{mean.mean:+.2f}{half}", f"{min(more):+.2f}"


def _cell(rows: Sequence[Row], column: Column) -> str:
    found = mean_of([float(str(v)) for row in rows if (v := row.get(column.key)) is not None])
    if not found.count:
        return ""
    text = format(found.mean, column.digits)
    return text if math.isnan(found.half) else f"{text} ± {format(found.half, column.digits)}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
