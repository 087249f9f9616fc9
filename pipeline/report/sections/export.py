"""Section of export: the DICOM segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report.record import Record
from pipeline.report.sections.content import Content, Link, Table


def build(record: Record) -> Content:
    """What was written, with its segments and whose identity it carries."""
    path = record.results.dicom_seg(record.unit)
    content = Content(outputs=[path])
    if not path.is_file():
        return content
    content.links.append(Link(path.name, path))
    facts = record.facts(path)
    rows = tuple(
        (name, _text(facts[key]))
        for key, name in (("Identity", "identity"), ("Segments", "segments"),
                          ("Frames", "frames"), ("SeriesSuffix", "on the series"))
        if key in facts
    )  # fmt: skip
    size = path.stat().st_size / 1e6
    content.tables.append(Table("DICOM SEG", ("", ""), (*rows, ("size", f"{size:.1f} MB"))))
    return content


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return str(value)
