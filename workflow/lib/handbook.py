"""Writes config/README.md from the schema: every key, its type, range, default and meaning."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline import config
from pipeline.files import write_text

HEAD = """# Configuration

`config/config.yaml` runs the demo. A preset, or your own file, goes on top of it; single keys can
be given on the command line:

    snakemake --profile local --configfile config/presets/brain-mr.yaml \\
              --config dicom=/data/dicom results=/data/results denoise="{strength: 0.8}"

A key that is not listed here is an error, and so is a value of another type or out of range.
Changing a key runs its stage again and what follows it, nothing before. Threads, memory, time and
partitions are no science: they are in the profiles (`workflow/profiles`).

This file is made from `workflow/schemas` by `make docs`.
"""


def handbook() -> str:
    """The whole page in Markdown."""
    schema = config.schema()
    parts = [HEAD, "## Run\n", *_table(_own_keys(schema))]
    for name in config.SECTIONS:
        part = schema["properties"][name]
        if part.get("properties"):
            intro = part.get("description", "").strip()
            parts.extend([f"\n## {name}\n", *([intro + "\n"] if intro else []), *_table(part)])
    return "\n".join(parts) + "\n"


def _own_keys(schema: Mapping[str, Any]) -> dict[str, Any]:
    keys = {key: part for key, part in schema["properties"].items() if key not in config.SECTIONS}
    return {**schema, "properties": keys}


def _table(part: Mapping[str, Any]) -> list[str]:
    rows = [f"| {' | '.join(row)} |" for row in _rows(part, "")]
    return ["| key | type and range | default | meaning |", "| --- | --- | --- | --- |", *rows]


def _rows(part: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for key, sub in part["properties"].items():
        name = f"{prefix}{key}"
        meaning = " ".join(str(sub.get("description", "")).split()).replace("|", "\\|")
        if sub.get("type") == "object" and "properties" in sub:
            if meaning:
                yield f"`{name}`", "section", "", meaning
            yield from _rows(sub, name + ".")
            continue
        default = _default(sub, key in part.get("required", ()))
        yield f"`{name}`", _type(sub), default, meaning
        items = sub.get("items", {})
        if "properties" in items:
            yield from _rows(items, f"{name}[].")


def _type(sub: Mapping[str, Any]) -> str:
    if "enum" in sub:
        return ", ".join(_literal(value) for value in sub["enum"])
    kinds = sub.get("type", "any")
    text = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    low = sub.get("minimum", sub.get("exclusiveMinimum"))
    high = sub.get("maximum", sub.get("exclusiveMaximum"))
    if low is not None or high is not None:
        left = f"{'>' if 'exclusiveMinimum' in sub else '≥'} {low}" if low is not None else ""
        right = f"{'<' if 'exclusiveMaximum' in sub else '≤'} {high}" if high is not None else ""
        text += " " + ", ".join(filter(None, [left, right]))
    return text


def _default(sub: Mapping[str, Any], required: bool) -> str:
    if "default" in sub:
        return _literal(sub["default"])
    return "required" if required else "none"


def _literal(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
    return f"`{text.removesuffix('...').strip()}`".replace("|", "\\|")


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), handbook())
