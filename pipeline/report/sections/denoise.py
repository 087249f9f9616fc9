"""Section of denoise: before, after, what was removed."""

from __future__ import annotations

from pipeline.report.figures import restore
from pipeline.report.figures.sheet import Figure
from pipeline.report.record import Record
from pipeline.report.sections.content import Content, Table, need


def build(record: Record) -> Content:
    """One picture with a row a contrast; a table of noise levels."""
    found = record.contrasts("denoise", desc="denoised")

    def before_after() -> Figure:
        earlier = record.contrasts("preprocess", desc="preproc")
        return restore.denoise({
            suffix: restore.Pair(
                record.image(need(earlier[suffix])),
                record.image(path),
                record.labels(need(record.mask_on(suffix))),
            )
            for suffix, path in found.items()
            if suffix in earlier
        })  # fmt: skip

    content = Content(outputs=list(found.values()))
    if found:
        content.pictures.append(("denoise", before_after))
    rows = []
    for suffix, path in found.items():
        facts = record.facts(path)
        if "NoiseSigma" in facts:
            rows.append((suffix, _share(facts["NoiseSigma"]), _share(facts.get("NoiseSigmaAfter")),
                         str(facts.get("NoiseModel", "–"))))  # fmt: skip
    if rows:
        header = ("contrast", "before", "after", "model")
        content.tables.append(Table("Estimated noise (standard deviation)", header, tuple(rows)))
    return content


def _share(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, (int, float)) else "–"
