"""Section of register: the subject on the template, and how volume changes."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk  # noqa: N813

from pipeline.errors import VoxelwayError
from pipeline.report.figures import align, paint
from pipeline.report.figures.sheet import Figure
from pipeline.report.record import Record
from pipeline.report.sections.content import Content, need


def build(record: Record) -> Content:
    """Overlay with flicker, and the Jacobian."""
    template = template_of(record)
    content = Content()
    if not template:
        return content
    unit, anchor = record.unit, record.anchor
    folder = record.results.model("register", template)
    moved = record.results.image("register", unit, anchor, desc="moved", space=template)
    content.outputs.append(moved)

    def overlay() -> Figure:
        affine = record.results.image("register", unit, anchor, desc="affine", space=template)
        pictures = {"moved": record.image(need(moved))}
        if affine.is_file():
            pictures["affine only"] = record.image(affine)
        return align.template(_template(record, folder), pictures, _edges(record, folder))

    def jacobian() -> Figure:
        path = record.results.image("register", unit, anchor, desc="jacobian", space=template)
        mask = record.template_image(folder, "brain_mask.nii.gz")
        return align.jacobian(record.image(need(path)), mask)

    content.pictures += [("template", overlay), ("jacobian", jacobian)]
    return content


def template_of(record: Record) -> str:
    """Label of the template, from the names of the registered images; empty when there are none."""
    folder = record.results.anat("register", record.unit)
    for path in sorted(folder.glob(f"{record.unit.name}_space-*_desc-moved_*.nii.gz")):
        return path.name.split("_space-")[1].split("_")[0]
    return ""


def _template(record: Record, folder: Path) -> sitk.Image:
    return record.template_image(folder, "T1w.nii.gz")


def _edges(record: Record, folder: Path) -> dict[str, tuple[sitk.Image, float, str]]:
    edges = {
        "template's brain": align.as_region(
            record.template_image(folder, "brain_mask.nii.gz"), paint.ORANGE
        )
    }
    try:
        white = record.template_image(folder, "WM_probseg.nii.gz")
    except VoxelwayError:
        return edges
    return {**edges, "template's white matter": (white, 0.5, paint.SKY)}
