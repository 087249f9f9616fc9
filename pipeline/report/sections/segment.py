"""Section of segment: box, tissues, uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline import files
from pipeline.labels import TISSUES, Label, beside
from pipeline.report.figures import labels
from pipeline.report.figures.sheet import Figure
from pipeline.report.record import Record
from pipeline.report.sections.content import Content, Table, need
from pipeline.report.sections.synthesize import missing


def build(record: Record) -> Content:
    """Contours on the anchor, entropy, the coarse box."""
    unit, anchor, results = record.unit, record.anchor, record.results
    fine = results.image("segment", unit, "dseg", space=anchor)
    content = Content(outputs=[fine])
    if not fine.is_file():
        return content
    head = results.image("superres", unit, anchor, desc="superres", space=anchor)

    def tissues() -> Figure:
        made = missing(record)
        found = {anchor: head, **channels(record)}
        shown = {suffix: record.image(need(path)) for suffix, path in found.items()}
        return labels.tissues(shown, record.labels(fine), labelling(fine), made)

    def entropy() -> Figure:
        path = entropy_path(record)
        return labels.entropy(record.image(need(path)), record.labels(fine))

    def box() -> Figure:
        coarse = results.image("segment", unit, "dseg", desc="coarse", space=anchor)
        tissue = record.labels(coarse) if coarse.is_file() else None
        return labels.coarse_box(record.image(need(head)), *block(record, fine), tissue)

    if _used(record, fine):
        content.sentences.append(_used(record, fine))
    content.pictures += [("tissues", tissues), ("entropy", entropy)]
    content.tables += _structures(record, fine)
    if block(record, fine)[1]:
        content.pictures.append(("box", box))
    return content


def _structures(record: Record, fine: Path) -> list[Table]:
    """Volumes with their intervals, flagged ones first, where the method tells them."""
    path = record.results.image("segment", record.unit, "volumes", space=record.anchor,
                                extension=".tsv")  # fmt: skip
    rows = files.read_tsv(path) if path.is_file() else []
    if not rows or "expected_dice" not in rows[0]:
        return []
    rows.sort(key=lambda row: not row["flag"])
    color = {label.name: label.color for label in labelling(fine)}
    told = tuple(
        (
            " – ".join(part for part in (row["name"], row["flag"].replace(",", ", ")) if part),
            f"{float(row['mm3']) / 1000:.3g} ± {_half(row):.2g}",
            f"{float(row['expected_dice']):.2f}" if row["expected_dice"] else "–",
        )
        for row in rows
    )
    header = ("structure – flag", "ml", "Dice")
    colors = tuple(color.get(row["name"], "#FFFFFF") for row in rows)
    return [Table("Structures: volume ± 95 %, expected Dice", header, told, colors)]


def _half(row: Mapping[str, str]) -> float:
    """Half width of the interval in ml; its lower end stops at zero."""
    return (float(row["high"]) - float(row["mm3"])) / 1000


def labelling(fine: Path) -> tuple[Label, ...]:
    """What the labels are, from the table beside them."""
    return beside(fine) or TISSUES


def channels(record: Record) -> dict[str, Path]:
    """Contrasts on the common grid that the labels were made from, acquired or synthetic."""
    real = record.contrasts("superres", desc="superres", space=record.anchor)
    made = record.contrasts("synthesize", desc="synth", space=record.anchor)
    return {**{suffix: made[suffix] for suffix in missing(record)}, **real}


def _used(record: Record, fine: Path) -> str:
    """Sentence on the contrasts that were used, from the sidecar."""
    used = record.facts(fine).get("ChannelsUsed")
    if not isinstance(used, list):
        return ""
    names = [
        f"{item['Suffix']} (synthetic)" if item.get("Synthetic") else str(item["Suffix"])
        for item in used
    ]
    return f"Labelled from {', '.join(names)}."


def entropy_path(record: Record) -> Path:
    """The map of uncertainty, whatever its suffix."""
    folder = record.results.anat("segment", record.unit)
    for path in sorted(folder.glob("*_desc-entropy_*.nii.gz")):
        return path
    return folder / f"{record.unit.name}_desc-entropy.nii.gz"


def block(record: Record, fine: Path) -> tuple[list[int], list[int]]:
    """First voxel and size of the box on the common grid; empty when the sidecar does not tell."""
    box = record.facts(fine).get("Box")
    if not isinstance(box, dict):
        return [], []
    return [int(n) for n in box.get("Index", [])], [int(n) for n in box.get("Size", [])]


def touches(record: Record) -> bool:
    """Whether the labels still reach a face of the box."""
    fine = record.results.image("segment", record.unit, "dseg", space=record.anchor)
    return bool(record.facts(fine).get("BoxTouched", False))
