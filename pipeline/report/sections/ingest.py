"""Section of ingest: the series acquired, what was left out."""

from __future__ import annotations

from pipeline.errors import CODES
from pipeline.report.figures import acquired, deface
from pipeline.report.figures.sheet import Figure
from pipeline.report.record import Record, left_out
from pipeline.report.sections.content import Content, Table, millimetres, voxels


def build(record: Record) -> Content:
    """Tables of series and of what was refused; one overview picture."""
    found = record.contrasts("ingest")

    def overview() -> Figure:
        return acquired.series({suffix: record.image(path) for suffix, path in found.items()})

    content = Content(outputs=list(found.values()))
    if found:
        content.pictures.append(("series", overview))
    without = {suffix: path for suffix, path in found.items() if record.facts(path).get("Defaced")}

    def faces() -> Figure:
        return deface.defaced(
            {
                suffix: (record.image(path), record.facts(path).get("DefacePlaneLPS"))
                for suffix, path in without.items()
            }
        )

    if without:
        content.pictures.append(("deface", faces))
    content.tables.append(_series(record))
    refused = [row for row in record.quarantined if not left_out(row["code"])]
    omitted = [row for row in record.quarantined if left_out(row["code"])]
    if refused:
        content.tables.append(_codes("Refused", refused))
    if omitted:
        content.tables.append(_codes("Left out", omitted))
    return content


def _series(record: Record) -> Table:
    rows = []
    for suffix, path in record.contrasts("ingest").items():
        image, facts = record.image(path), record.facts(path)
        thickness = facts.get("SliceThickness")
        strength = facts.get("MagneticFieldStrength")
        rows.append((
            suffix,
            voxels(image.GetSize()),
            millimetres(image.GetSpacing()),
            f"{float(thickness):.3g} mm" if thickness else "–",
            f"{strength} T" if strength else "–",
        ))  # fmt: skip
    header = ("contrast", "lattice", "spacing", "thickness", "field")
    return Table("Series", header, tuple(rows))


def _codes(title: str, rows: list[dict[str, str]]) -> Table:
    lines = tuple(
        (row["code"], CODES[row["code"]].meaning if row["code"] in CODES else "", row["message"])
        for row in rows
    )
    return Table(title, ("code", "meaning", "found"), lines)
