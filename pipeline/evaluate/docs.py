"""docs/metrics.md, generated from the registry.

``python -m pipeline.evaluate.docs docs/metrics.md`` writes it again.
"""

from __future__ import annotations

import math
import sys
from importlib.resources import files as package_files
from pathlib import Path

from pipeline import files
from pipeline.evaluate.registry import FAMILIES, Measure, of_family

DIRECTIONS = {
    "higher": "higher is better",
    "lower": "lower is better",
    "zero": "closest to 0 is best",
    "none": "describes, neither way is better",
}


def write_docs(path: Path) -> None:
    """Write the documentation of all measures."""
    files.write_text(path, document())


def document() -> str:
    """The documentation of all measures, Markdown."""
    preface = package_files("pipeline.evaluate").joinpath("metrics_preface.md")
    parts = [preface.read_text(encoding="utf-8").strip()]
    for family, title in FAMILIES.items():
        parts.append(f"## {title}")
        parts.extend(_entry(entry) for entry in of_family(family))
    return "\n\n".join(parts) + "\n"


def _entry(entry: Measure) -> str:
    facts = [
        f"unit {entry.unit}" if entry.unit else "no unit",
        f"range {_span(entry.low, entry.high)}",
        DIRECTIONS[entry.direction],
    ]
    if entry.good is not None:
        facts.append(f"typically good {_span(*entry.good)}")
    where = ", ".join(entry.stages) if entry.stages else "the file form only"
    lines = [
        f"### `{entry.name}`: {entry.title}",
        "",
        entry.definition,
        "",
        "- " + "; ".join(facts),
    ]
    lines.append(f"- in the rows of: {where}")
    if entry.paper:
        lines.append(f"- {entry.paper}")
    return "\n".join(lines)


def _span(low: float, high: float) -> str:
    return f"{_number(low)}" if low == high else f"{_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    if math.isinf(value):
        return "infinity" if value > 0 else "-infinity"
    return f"{value:g}"


if __name__ == "__main__":
    write_docs(Path(sys.argv[1]))
