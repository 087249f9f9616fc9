"""Section of preprocess: brain mask, bias field, contrasts aligned."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import SimpleITK as sitk  # noqa: N813

from pipeline.report.figures import align, restore
from pipeline.report.figures.sheet import Figure
from pipeline.report.record import Record
from pipeline.report.sections.content import Content, need


def build(record: Record) -> Content:
    """Pictures of the mask, the bias field and of each contrast on the anchor."""
    found = record.contrasts("preprocess", desc="preproc")
    anchor = record.anchor
    mask = record.results.image("preprocess", record.unit, "mask", desc="brain")
    content = Content(outputs=[found[anchor]] if anchor in found else list(found.values()))
    if anchor not in found:
        return content
    head = found[anchor]

    def outline() -> Figure:
        return align.brain_mask(record.image(head), record.labels(need(mask)))

    content.pictures += [("mask", outline), ("bias", partial(_bias, record, found))]
    for suffix in sorted(set(found) - {anchor}):
        content.pictures.append(("contrasts", partial(_aligned, record, head, mask, suffix)))
    return content


def _bias(record: Record, found: dict[str, Path]) -> Figure:
    raw = record.contrasts("ingest")
    pairs = {
        suffix: restore.Pair(
            record.image(need(raw[suffix])),
            record.image(path),
            record.labels(need(record.mask_on(suffix))),
        )
        for suffix, path in found.items()
        if suffix in raw
    }
    return restore.bias(pairs)


def _aligned(record: Record, head: Path, mask: Path, suffix: str) -> Figure:
    other = record.results.image("preprocess", record.unit, suffix, desc="preproc")
    moves: sitk.Transform = record.moves(suffix)
    return align.contrasts(
        record.image(head),
        record.labels(need(mask)),
        record.anchor,
        record.image(need(other)),
        moves,
        suffix,
    )
