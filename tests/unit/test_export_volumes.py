"""The structured report of volumes, and the codes of the labels."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.sr.codedict import codes

from pipeline import cli, files
from pipeline.errors import VoxelwayError
from pipeline.export import volumes
from pipeline.labels import BRAIN, TISSUES, Label
from pipeline.paths import sidecar

from .export_cases import (
    ACCESSION,
    GAP,
    NAME,
    PATIENT,
    SPACING,
    STUDY_DATE,
    TURNS,
    classic,
    enhanced,
    faults,
    labels_on,
    run_unit,
    tool,
    unit_task,
)

#: What DICOM PS3.16 calls the structures, as concepts of pydicom's copy of it.
CONCEPTS = {
    "CSF": "CerebrospinalFluid",
    "GM": "GrayMatter",
    "WM": "WhiteMatter",
    "lesion": "Lesion",
    "lesion-core": "Necrosis",
    "brain": "Brain",
}
VOXEL = SPACING[0] * SPACING[1] * GAP


def groups(
    path: Path,
) -> dict[str, highdicom.sr.VolumetricROIMeasurementsAndQualitativeEvaluations]:
    document = highdicom.sr.srread(path)
    found = document.content.get_volumetric_roi_measurement_groups()
    return {group.tracking_identifier: group for group in found}


def measured(path: Path) -> dict[str, float]:
    found = {}
    for name, group in groups(path).items():
        [volume] = group.get_measurements(name=codes.SCT.Volume)
        assert volume.unit == codes.UCUM.CubicMillimeter
        found[name] = float(volume.value)
    return found


def expected(image: sitk.Image) -> dict[str, float]:
    counts = np.bincount(sitk.GetArrayFromImage(image).ravel(), minlength=6)
    return {item.name: counts[item.index] * VOXEL for item in TISSUES}


@pytest.mark.parametrize("label", [*TISSUES, BRAIN], ids=lambda label: label.name)
def test_codes_are_those_of_the_standard(label: Label) -> None:
    kind = getattr(codes.cid7151, CONCEPTS[label.name])
    assert (kind.value, kind.scheme_designator, kind.meaning) == (
        label.snomed[0], "SCT", label.snomed[1]
    )  # fmt: skip
    listed = [getattr(codes.cid7150, name) for name in codes.cid7150.dir()]
    assert label.category in {(code.value, code.meaning) for code in listed}


@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_report_gives_the_volumes_and_points_at_the_segments(kind: str, tmp_path: Path) -> None:
    turn, folder = TURNS["oblique"], tmp_path / "dicom"
    folder = classic(folder, turn) if kind == "classic" else enhanced(folder, turn, shared=False)
    task = unit_task(tmp_path, {"identity": "original"}, folder)
    segmentation = pydicom.dcmread(run_unit(task))
    path = task.results.dicom_report(task.unit)
    assert measured(path) == pytest.approx(expected(labels_on(turn)))
    by_number = {int(item.SegmentNumber): item for item in segmentation.SegmentSequence}
    for name, group in groups(path).items():
        [reference] = [item for item in group.referenced_segment if "ReferencedSOPSequence" in item]
        place = reference.ReferencedSOPSequence[0]
        assert place.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
        segment = by_number[int(place.ReferencedSegmentNumber)]
        assert segment.SegmentLabel == name
        assert group.finding_type.value == segment.SegmentedPropertyTypeCodeSequence[0].CodeValue
    document = pydicom.dcmread(path)
    assert document.PatientID == PATIENT and document.StudyInstanceUID == "1.2.3.4.5"
    [study] = document.CurrentRequestedProcedureEvidenceSequence
    series = {str(item.SeriesInstanceUID) for item in study.ReferencedSeriesSequence}
    assert series == {"1.2.3.4.5.6", str(segmentation.SeriesInstanceUID)}


def test_dcmqi_reads_the_report(tmp_path: Path) -> None:
    task = unit_task(tmp_path, {}, classic(tmp_path / "dicom", TURNS["oblique"]))
    run_unit(task)
    path, out = task.results.dicom_report(task.unit), tmp_path / "report.json"
    command = [tool("tid1500reader"), "--inputDICOM", str(path), "--outputMetadata", str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    found = {
        group["TrackingIdentifier"]: float(group["measurementItems"][0]["value"])
        for group in json.loads(out.read_text())["Measurements"]
    }
    assert found == pytest.approx(expected(labels_on(TURNS["oblique"])))


def test_pseudonym_leaves_nothing_of_the_patient(tmp_path: Path) -> None:
    task = unit_task(tmp_path, {}, classic(tmp_path / "dicom", TURNS["oblique"]))
    segmentation = pydicom.dcmread(run_unit(task))
    path = task.results.dicom_report(task.unit)
    for part in (path, sidecar(path)):
        content = part.read_bytes()
        for secret in (NAME, PATIENT, ACCESSION, STUDY_DATE, "19700101", "Smith", "1.2.3.4.5"):
            assert secret.encode() not in content, secret
    document = pydicom.dcmread(path)
    assert document.PatientID == "p1abc" and document.PatientIdentityRemoved == "YES"
    assert document.StudyInstanceUID == segmentation.StudyInstanceUID


def test_same_bytes_twice_and_described(tmp_path: Path) -> None:
    task = unit_task(tmp_path, {}, classic(tmp_path / "dicom", TURNS["oblique"]))
    run_unit(task)
    path = task.results.dicom_report(task.unit)
    first = path.read_bytes()
    run_unit(task)
    assert path.read_bytes() == first
    described = json.loads(sidecar(path).read_text())
    assert described["VolumesMm3"] == pytest.approx(measured(path))
    assert path.relative_to(task.results.root).as_posix() in task.outputs
    assert any(name.endswith("_volumes.tsv") for name in described["Inputs"])


def test_volumes_are_those_of_the_table(tmp_path: Path) -> None:
    task = unit_task(tmp_path, {}, classic(tmp_path / "dicom", TURNS["oblique"]))
    table = task.results.image("segment", task.unit, "volumes", space="T1w", extension=".tsv")
    rows = [{**row, "mm3": str(1000.5 + n)} for n, row in enumerate(files.read_tsv(table))]
    files.write_tsv(table, ("label", "name", "mm3"), rows)
    run_unit(task)
    assert sorted(measured(task.results.dicom_report(task.unit)).values()) == [
        1000.5, 1001.5, 1002.5, 1003.5, 1004.5
    ]  # fmt: skip
    files.write_tsv(table, ("label", "name", "mm3"), rows[:3])
    with pytest.raises(VoxelwayError) as caught:
        run_unit(task)
    assert caught.value.code == "E-LABELS" and "lesion-core" in str(caught.value)


def test_report_can_be_left_out(tmp_path: Path) -> None:
    task = unit_task(tmp_path, {"report": False}, classic(tmp_path / "dicom", TURNS["axial"]))
    run_unit(task)
    assert not task.results.dicom_report(task.unit).exists()


def test_verb_on_files(tmp_path: Path) -> None:
    image, folder = labels_on(TURNS["sagittal"]), classic(tmp_path / "dicom", TURNS["sagittal"])
    sitk.WriteImage(image, str(tmp_path / "labels.nii.gz"))
    out, report = tmp_path / "seg.dcm", tmp_path / "volumes.dcm"
    command = ["export-seg", str(tmp_path / "labels.nii.gz"), str(folder), str(out)]
    assert cli.main([*command, "--volumes", str(report)]) == 0
    assert measured(report) == pytest.approx(expected(image), rel=1e-5)
    assert faults(report) == [] and pydicom.dcmread(report).PatientID == PATIENT
    both = {str(pydicom.dcmread(path).SeriesInstanceUID) for path in (out, report)}
    assert len(both) == 2


def test_volume_counts_every_voxel_of_the_labels() -> None:
    image = sitk.GetImageFromArray(np.array([[[0, 1, 1, 3]]], np.uint8))
    image.SetSpacing((0.5, 2.0, 3.0))
    assert volumes.of_labels(image, {1: "a", 2: "b", 3: "c"}) == {"a": 6.0, "b": 0.0, "c": 3.0}
