"""Export: labels as DICOM SEG, and their volumes as a structured report on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import files, labels
from pipeline.errors import VoxelwayError
from pipeline.export import seg, series, volumes
from pipeline.export.identity import Pseudonym
from pipeline.ingest.archives import unpacked
from pipeline.ingest.identity import read_key
from pipeline.ingest.source import read_sources
from pipeline.paths import sidecar
from pipeline.task import Task, UnitTask

NAME = "export"
REQUIRES = ("segment",)
#: Share of the labels' volume inside the series below which the reader is warned.
COVERED = 0.95


def prepare(params: Mapping[str, Any], model: Path | None) -> Mapping[str, Any]:
    """Nothing to load."""
    return params


def run_unit(task: UnitTask, prepared: Mapping[str, Any]) -> None:
    """Labels of one unit on its anchor's series."""
    anchor = task.anchor()
    path = task.results.image("segment", task.unit, "dseg", space=anchor)
    refuse_made(path)
    image = task.read_labels(path)
    source = read_sources(task.results, task.unit).get(anchor)
    if source is None:
        what = f"No source files of the contrast {anchor} are on record"
        hint = "Run `voxelway index` again"
        raise VoxelwayError("E-DCM-SERIES", what, where=task.unit.name, hint=hint)
    with unpacked(source) as plain:
        for item in plain.files:
            item.check()
        found = series.read([Path(item.path) for item in plain.files], source.echo)
    pseudonym = None
    if prepared["identity"] == "pseudonym":
        pseudonym = Pseudonym(task.unit.subject, read_key(task.results))
    origin = _origin(path, prepared)
    built = seg.build(image, found, seg.known(labels.beside(path)), origin, pseudonym)
    _write(task, built, task.results.dicom_seg(task.unit), prepared, found)
    if prepared["report"]:
        # the one place of these numbers, which the QC pages show as well
        table = task.results.image("segment", task.unit, "volumes", space=anchor, extension=".tsv")
        measured = volumes.of_table(task.use(table))
        target = task.results.dicom_report(task.unit)
        _write_report(task, built, measured, target, prepared, origin, pseudonym)


def run_file(task: Task, prepared: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """LABELS DICOM_SERIES_DIR OUT.dcm [--volumes REPORT.dcm], of the patient of the series."""
    path, folder = Path(row["labels"]), Path(row["series"])
    refuse_made(path)
    image = task.read_labels(path)
    if not folder.is_dir():
        raise VoxelwayError("E-DCM-FOLDER", "The folder does not exist", where=str(folder))
    found = series.read(series.files_of(folder))
    names = seg.known(labels.beside(path))
    origin, params = _origin(path, prepared), {**prepared, "identity": "original"}
    built = seg.build(image, found, names, origin, None)
    _write(task, built, Path(row["output"]), params, found)
    if row.get("volumes"):
        measured = volumes.of_labels(image, {item.index: item.name for item in built.present})
        _write_report(task, built, measured, Path(row["volumes"]), params, origin, None)


def refuse_made(path: Path) -> None:
    """Refuse an image that was made, not acquired: it must not pass for one in an archive.

    Raises:
        VoxelwayError: E-IMG-MODALITY when the sidecar says that it is synthetic.
    """
    described = sidecar(path)
    if described.is_file() and files.read_json(described).get("Synthetic") is True:
        what = "The image is synthetic; made contrasts are never exported"
        hint = "Export the labels (dseg) of the segmentation"
        raise VoxelwayError("E-IMG-MODALITY", what, where=str(path), hint=hint)


def _origin(path: Path, params: Mapping[str, Any]) -> seg.Origin:
    described = sidecar(path)
    content = files.read_json(described) if described.is_file() else {}
    made_here = content.get("GeneratedBy", {}).get("Name") == "voxelway"
    method = str(content.get("Method", "")) if made_here else ""
    algorithm = f"Voxelway segment {method}".strip() if made_here else "not stated"
    return seg.Origin(algorithm, int(params["series_number"]), str(params["series_description"]))


def _write(
    task: Task,
    built: seg.Built,
    path: Path,
    params: Mapping[str, Any],
    source: series.Series,
) -> None:
    with files.atomic(path) as part:
        built.dataset.save_as(part, enforce_file_format=True)
    task.describe(
        path,
        Identity=params["identity"],
        SegmentVoxels=built.voxels,
        Coverage=round(built.coverage, 4),
        SourceFrames=len(source.planes),
        SourceMultiFrame=source.multiframe,
        SegmentFrames=int(built.dataset.NumberOfFrames),
    )
    if built.coverage < COVERED:
        task.warn(f"Only {built.coverage:.0%} of the labels' volume lies inside the series")


def _write_report(
    task: Task,
    built: seg.Built,
    measured: Mapping[str, float],
    path: Path,
    params: Mapping[str, Any],
    origin: seg.Origin,
    pseudonym: Pseudonym | None,
) -> None:
    number, description = params["report_series_number"], params["report_series_description"]
    own = dataclasses.replace(origin, series_number=int(number), description=str(description))
    dataset = volumes.report(built, measured, own, pseudonym)
    with files.atomic(path) as part:
        dataset.save_as(part, enforce_file_format=True)
    task.describe(
        path,
        Identity=params["identity"],
        VolumesMm3={item.name: measured[item.name] for item in built.present},
    )
