"""Section of superres: acquired voxels beside the isotropic image."""

from __future__ import annotations

from pipeline.images import same_grid
from pipeline.report.figures import restore
from pipeline.report.figures.sheet import Figure
from pipeline.report.record import Record
from pipeline.report.sections.content import Content, Table, millimetres, need, voxels


def build(record: Record) -> Content:
    """One picture with a row a contrast; a table of lattices."""
    found = record.contrasts("superres", desc="superres", space=record.anchor)
    mask = record.results.image("superres", record.unit, "mask", desc="brain", space=record.anchor)

    doubts = record.contrasts("superres", desc="uncertainty", space=record.anchor)
    native = record.contrasts("denoise", desc="denoised")
    changed = {
        suffix: path
        for suffix, path in found.items()
        if suffix in native and not same_grid(record.image(native[suffix]), record.image(path))
    }

    def planes() -> Figure:
        return restore.resolution({
            suffix: restore.Pair(
                record.image(need(native[suffix])),
                record.image(path),
                record.labels(need(mask)),
                record.moves(suffix),
                record.image(doubts[suffix]) if suffix in doubts else None,
            )
            for suffix, path in changed.items()
        })  # fmt: skip

    content = Content(outputs=list(found.values()))
    if changed:
        content.pictures.append(("resolution", planes))
    content.sentences += [
        text for suffix in sorted(changed) if (text := _explained(record, suffix))
    ]
    kept = sorted(set(found) - set(changed))
    if kept:
        content.sentences.append(f"{', '.join(kept)}: isotropic as acquired, left as it was.")
    if found:
        content.tables.append(_lattices(record))
    return content


def _explained(record: Record, suffix: str) -> str:
    """What the method was, and whether its result gives back the slices."""
    path = record.contrasts("superres", desc="superres", space=record.anchor)[suffix]
    facts = record.facts(path)
    after, plain = facts.get("ConsistencyRMSE"), facts.get("ConsistencyRMSEPlain")
    if after is None or plain is None:
        return ""
    return (
        f"{suffix}: {facts.get('Method')}; taken back through the slice profile, the result "
        f"differs from the acquired slices by {100 * after:.2f} % of their range (plain "
        f"interpolation {100 * plain:.2f} %)."
    )


def _lattices(record: Record) -> Table:
    native = record.contrasts("denoise", desc="denoised")
    rows = []
    for suffix, path in record.contrasts("superres", desc="superres", space=record.anchor).items():
        before = record.image(native[suffix]).GetSpacing() if suffix in native else ()
        after = record.image(path)
        rows.append((suffix, millimetres(before) if before else "–",
                     millimetres(after.GetSpacing()), voxels(after.GetSize())))  # fmt: skip
    return Table("Lattices", ("contrast", "acquired", "isotropic", "size"), tuple(rows))
