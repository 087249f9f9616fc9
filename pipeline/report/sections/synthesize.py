"""Section of synthesize: made contrasts beside acquired ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pipeline.report.figures import acquired
from pipeline.report.figures.sheet import Figure
from pipeline.report.record import Record
from pipeline.report.sections.content import Content, need


def build(record: Record) -> Content:
    """One picture a made contrast, and one of its uncertainty where there is one."""
    found = record.contrasts("synthesize", desc="synth", space=record.anchor)
    real = record.contrasts("superres", desc="superres", space=record.anchor)
    content = Content(outputs=list(found.values()))
    if not found:
        content.sentences.append("No contrast was made.")
    for suffix, path in found.items():
        content.pictures.append(("made", partial(_made, record, suffix, path, real)))
        spread = path.with_name(path.name.replace("desc-synth_", "desc-synthsd_"))
        if spread.is_file():
            content.pictures.append(("spread", partial(_spread, record, suffix, spread)))
        sources = record.facts(path).get("SourceContrasts")
        made_from = f" Made from {', '.join(map(str, sources))}." if sources else ""
        content.sentences.append(
            f"{suffix} was acquired too: the made one only judges the method, the acquired one is"
            " used."
            if suffix in real
            else f"{suffix} was not acquired. Segmented says whether the made one was used."
        )
        content.sentences[-1] += made_from
    return content


def missing(record: Record) -> list[str]:
    """Contrasts that stand only as synthetic ones."""
    made = record.contrasts("synthesize", desc="synth", space=record.anchor)
    real = record.contrasts("superres", desc="superres", space=record.anchor)
    return sorted(set(made) - set(real))


def _mask(record: Record) -> Path:
    return need(
        record.results.image("superres", record.unit, "mask", desc="brain", space=record.anchor)
    )


def _made(record: Record, suffix: str, path: Path, real: dict[str, Path]) -> Figure:
    source = record.anchor if record.anchor in real else next(iter(real))
    return acquired.made(
        suffix,
        record.image(path),
        record.labels(_mask(record)),
        record.image(real[suffix]) if suffix in real else None,
        (source, record.image(real[source])),
    )


def _spread(record: Record, suffix: str, path: Path) -> Figure:
    return acquired.spread(suffix, record.image(path), record.labels(_mask(record)))
