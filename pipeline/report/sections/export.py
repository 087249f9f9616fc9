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
    size = path.stat().st_size / 1e6
    counts = facts.get("SegmentVoxels")
    segments = sorted(counts) if isinstance(counts, Mapping) else []
    rows = (
        ("identity", str(facts.get("Identity", "–"))),
        ("segments", ", ".join(map(str, segments)) or "–"),
        ("frames", str(facts.get("SegmentFrames", "–"))),
        ("frames of the series", str(facts.get("SourceFrames", "–"))),
        ("labelled voxels on it", _percent(facts.get("Coverage"))),
        ("size", f"{size:.1f} MB"),
    )
    content.tables.append(Table("DICOM SEG", ("", ""), rows))
    return content


def _percent(value: Any) -> str:
    return f"{100 * value:.4g} %" if isinstance(value, (int, float)) else "–"
