"""DICOM SEG on made-up series: places, identity, refusals, and what other readers say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from pipeline import config
from pipeline.errors import VoxelwayError
from pipeline.export import identity, seg, series, stage
from pipeline.ingest import identity as names
from pipeline.labels import TISSUES
from pipeline.task import Task

from .export_cases import (
    ACCESSION,
    COLUMNS,
    GAP,
    NAME,
    PATIENT,
    ROWS,
    SLICES,
    SPACING,
    STUDY_DATE,
    TURNS,
    classic,
    dcmqi_voxels,
    enhanced,
    expected_points,
    export,
    faults,
    labels_on,
    points,
    rotation,
    run_unit,
    unit_task,
)


@pytest.mark.parametrize("name", TURNS)
def test_every_voxel_is_at_its_place(name: str, tmp_path: Path) -> None:
    image = labels_on(TURNS[name])
    random = np.random.default_rng(1)
    folder = classic(tmp_path / "dicom", TURNS[name], [int(k) for k in random.permutation(SLICES)])
    assert points(export(tmp_path, image, folder)) == expected_points(image)


@pytest.mark.parametrize("shared", [True, False])
def test_enhanced_multiframe(shared: bool, tmp_path: Path) -> None:
    turn = TURNS["oblique"]
    image = labels_on(turn)
    out = export(tmp_path, image, enhanced(tmp_path / "dicom", turn, shared=shared))
    assert points(out) == expected_points(image)
    assert json.loads(out.with_suffix(".json").read_text())["SourceMultiFrame"] is True


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "SPL", "AIR"])
def test_reoriented_labels_come_back_exactly(orientation: str, tmp_path: Path) -> None:
    turn = TURNS["oblique"]
    image = labels_on(turn)
    folder = classic(tmp_path / "dicom", turn)
    turned = sitk.DICOMOrient(image, orientation)
    assert points(export(tmp_path, turned, folder)) == expected_points(image)


@settings(max_examples=10, deadline=None)
@given(st.tuples(*[st.floats(-25, 25)] * 3), st.integers(0, 1000))
def test_any_rotation(degrees: tuple[float, float, float], seed: int) -> None:
    turn = np.round(rotation(degrees), 9)
    image = labels_on(turn, seed)
    planes = [
        series.Plane(
            np.array([-10.0, 5.0, 20.0]) + turn[:, 2] * GAP * k,
            turn[:, 0] * SPACING[1],
            turn[:, 1] * SPACING[0],
            ROWS,
            COLUMNS,
        )
        for k in range(SLICES)
    ]
    found, share = seg.on_series(image, series.Series([Dataset()], planes))
    assert np.array_equal(found, sitk.GetArrayFromImage(image))
    assert share == pytest.approx(1.0)


def test_finer_labels_take_the_nearest(tmp_path: Path) -> None:
    turn = TURNS["oblique"]
    coarse = labels_on(turn)
    # each voxel in three parts along every axis: the middle one is at the old voxel's centre
    values = np.kron(sitk.GetArrayFromImage(coarse), np.ones((3, 3, 3), np.uint8))
    fine = sitk.GetImageFromArray(values)
    fine.SetSpacing([value / 3 for value in coarse.GetSpacing()])
    fine.SetDirection(coarse.GetDirection())
    fine.SetOrigin(coarse.TransformContinuousIndexToPhysicalPoint((-1 / 3, -1 / 3, -1 / 3)))
    out = export(tmp_path, fine, classic(tmp_path / "dicom", turn))
    assert points(out) == expected_points(coarse)


def test_labels_that_stick_out_are_told(tmp_path: Path) -> None:
    image = labels_on(TURNS["axial"])
    image.SetOrigin((-10.0 + 12.0, 5.0, 20.0))  # six of twelve columns further
    folder = classic(tmp_path / "dicom", TURNS["axial"])
    sitk.WriteImage(image, str(tmp_path / "l.nii.gz"))
    params = config.section("export")
    task = Task("export", params)
    row = {"labels": tmp_path / "l.nii.gz", "series": folder, "output": tmp_path / "o.dcm"}
    stage.run_file(task, params, row)
    assert len(task.warnings) == 1 and "inside the series" in task.warnings[0]


# what the object says


def test_segments_are_coded(tmp_path: Path) -> None:
    image = labels_on(np.eye(3))
    values = sitk.GetArrayFromImage(image)
    values[values == 2] = 0  # label 2 does not occur: numbers stay consecutive
    other = sitk.GetImageFromArray(values)
    other.CopyInformation(image)
    item = pydicom.dcmread(export(tmp_path, other, classic(tmp_path / "dicom", np.eye(3))))
    segments = item.SegmentSequence
    assert [int(s.SegmentNumber) for s in segments] == [1, 2, 3, 4]
    assert [s.SegmentLabel for s in segments] == ["CSF", "WM", "lesion", "lesion-core"]
    for found, known in zip(segments, [TISSUES[k] for k in (0, 2, 3, 4)], strict=True):
        assert found.SegmentedPropertyTypeCodeSequence[0].CodeValue == known.snomed[0]
        assert found.SegmentedPropertyCategoryCodeSequence[0].CodeValue == known.category[0]
        assert len(found.RecommendedDisplayCIELabValue) == 3
    assert item.StudyInstanceUID == "1.2.3.4.5"
    assert item.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4.5.6"
    assert item.PatientID == PATIENT
    counts = np.bincount(values.ravel(), minlength=6)
    told = json.loads((tmp_path / "out.json").read_text())["SegmentVoxels"]
    assert told == {
        "CSF": counts[1], "WM": counts[3], "lesion": counts[4], "lesion-core": counts[5]
    }  # fmt: skip


def test_structures_are_coded_with_their_side(tmp_path: Path) -> None:
    rows = ("1\tLeft-VentralDC", "2\tRight-VentralDC", "3\tanterior-hippocampus", "4\tBrain-Stem")
    (tmp_path / "labels_dseg.tsv").write_text("\n".join(("index\tname", *rows, "5\tkidney")))
    image = labels_on(np.eye(3))
    item = pydicom.dcmread(export(tmp_path, image, classic(tmp_path / "dicom", np.eye(3))))
    found = []
    for segment in item.SegmentSequence:
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        side = kind.get("SegmentedPropertyTypeModifierCodeSequence")
        code = (kind.CodeValue, kind.CodingSchemeDesignator)
        found.append((*code, side[0].CodeValue if side else ""))
    assert found == [
        ("110700", "DCM", "7771000"), ("110700", "DCM", "24028007"),
        ("5366008", "SCT", "255549009"), ("119238007", "SCT", ""), ("85756007", "SCT", ""),
    ]  # fmt: skip


def test_names_come_from_the_table_beside_the_labels(tmp_path: Path) -> None:
    (tmp_path / "labels_dseg.tsv").write_text("index\tname\n1\tGM\n2\thippocampus\n")
    image = labels_on(np.eye(3))
    item = pydicom.dcmread(export(tmp_path, image, classic(tmp_path / "dicom", np.eye(3))))
    found = [(s.SegmentLabel, s.SegmentedPropertyTypeCodeSequence[0]) for s in item.SegmentSequence]
    assert [label for label, _ in found] == ["GM", "hippocampus", "label 3", "label 4", "label 5"]
    assert found[0][1].CodeValue == "389081007"
    assert found[1][1].CodeMeaning == "Tissue"


def test_colour_is_that_of_the_label(tmp_path: Path) -> None:
    from highdicom.color import CIELabColor

    item = pydicom.dcmread(
        export(tmp_path, labels_on(np.eye(3)), classic(tmp_path / "dicom", np.eye(3)))
    )
    value = item.SegmentSequence[0].RecommendedDisplayCIELabValue
    color = CIELabColor.from_dicom_value(tuple(int(v) for v in value))
    assert np.abs(np.array(color.to_rgb()) - np.array([0x56, 0xB4, 0xE9])).max() <= 3


# refusals


def refused(tmp_path: Path, image: sitk.Image, folder: Path) -> VoxelwayError:
    with pytest.raises(VoxelwayError) as caught:
        export(tmp_path, image, folder)
    assert not (tmp_path / "out.dcm").exists()
    assert NAME not in str(caught.value) and PATIENT not in str(caught.value)
    return caught.value


def test_empty_labels_are_refused(tmp_path: Path) -> None:
    image = labels_on(np.eye(3)) * 0
    assert refused(tmp_path, image, classic(tmp_path / "d", np.eye(3))).code == "E-LABELS"


def test_labels_elsewhere_are_refused(tmp_path: Path) -> None:
    image = labels_on(np.eye(3))
    image.SetOrigin((500.0, 0.0, 0.0))
    assert refused(tmp_path, image, classic(tmp_path / "d", np.eye(3))).code == "E-DCM-SERIES"


def test_two_series_are_refused(tmp_path: Path) -> None:
    folder = classic(tmp_path / "d", np.eye(3))
    item = pydicom.dcmread(folder / "000.dcm")
    item.SeriesInstanceUID = "1.2.3.99"
    item.save_as(folder / "other.dcm")
    error = refused(tmp_path, labels_on(np.eye(3)), folder)
    assert error.code == "E-DCM-SERIES" and "2 series" in str(error)


def test_echoes_at_one_place_are_refused(tmp_path: Path) -> None:
    folder = classic(tmp_path / "d", np.eye(3))
    item = pydicom.dcmread(folder / "000.dcm")
    item.SOPInstanceUID = "1.2.3.98"
    item.save_as(folder / "echo.dcm")
    error = refused(tmp_path, labels_on(np.eye(3)), folder)
    assert error.code == "E-DCM-SERIES" and "share a position" in str(error)


def test_series_without_positions_is_refused(tmp_path: Path) -> None:
    folder = classic(tmp_path / "d", np.eye(3))
    item = pydicom.dcmread(folder / "000.dcm")
    del item.ImagePositionPatient
    item.save_as(folder / "000.dcm")
    assert refused(tmp_path, labels_on(np.eye(3)), folder).code == "E-DCM-SERIES"


@pytest.mark.parametrize("content", [None, "empty", "text"])
def test_folders_without_images_are_refused(content: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    if content is not None:
        folder.mkdir()
    if content == "text":
        (folder / "readme.txt").write_text("no DICOM here")
    code = refused(tmp_path, labels_on(np.eye(3)), folder).code
    assert code == ("E-DCM-NONE" if content == "text" else "E-DCM-FOLDER")


def test_other_files_in_the_folder_do_not_matter(tmp_path: Path) -> None:
    folder = classic(tmp_path / "d", np.eye(3))
    (folder / "readme.txt").write_text("no DICOM here")
    image = labels_on(np.eye(3))
    assert points(export(tmp_path, image, folder)) == expected_points(image)


# identity


def test_pseudonym_leaves_nothing_of_the_patient(tmp_path: Path) -> None:
    folder = classic(tmp_path / "dicom", TURNS["oblique"])
    task = unit_task(tmp_path, {}, folder)
    out = run_unit(task)
    secrets = [NAME, "Jane", PATIENT, ACCESSION, STUDY_DATE, "19700101", "Smith", "1.2.3.4.5"]
    for path in (out, out.with_suffix(".json")):
        content = path.read_bytes()
        for secret in secrets:
            assert secret.encode() not in content, (path.name, secret)
    item = pydicom.dcmread(out)
    assert item.PatientID == "p1abc" and item.PatientIdentityRemoved == "YES"
    assert item.StudyDate in (None, "")
    assert points(out) == expected_points(labels_on(TURNS["oblique"]))


def test_pseudonymous_uids_are_the_same_in_the_cohort(tmp_path: Path) -> None:
    folder = classic(tmp_path / "dicom", TURNS["oblique"])
    task = unit_task(tmp_path, {}, folder)
    item = pydicom.dcmread(run_unit(task))
    hidden = identity.Pseudonym("p1abc", names.read_key(task.results))
    assert item.StudyInstanceUID == hidden.uid("1.2.3.4.5")
    assert item.FrameOfReferenceUID == hidden.uid("1.2.3.4.5.7")
    referenced = item.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == hidden.uid("1.2.3.4.5.6")
    mapped = {hidden.uid(f"1.2.3.4.5.6.{k + 1}") for k in range(SLICES)}
    found = {r.ReferencedSOPInstanceUID for r in referenced.ReferencedInstanceSequence}
    assert found and found <= mapped
    other = identity.Pseudonym("p1abc", b"x" * 32)
    assert other.uid("1.2.3.4.5") != hidden.uid("1.2.3.4.5")


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    task = unit_task(tmp_path, {}, classic(tmp_path / "dicom", TURNS["oblique"]))
    first = run_unit(task).read_bytes()
    assert run_unit(task).read_bytes() == first


def test_original_identity_refers_to_the_series(tmp_path: Path) -> None:
    folder = classic(tmp_path / "dicom", TURNS["oblique"])
    item = pydicom.dcmread(run_unit(unit_task(tmp_path, {"identity": "original"}, folder)))
    assert item.PatientID == PATIENT and item.PatientName == NAME
    assert item.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4.5.6"


def test_pseudonym_on_enhanced(tmp_path: Path) -> None:
    folder = enhanced(tmp_path / "dicom", TURNS["oblique"], shared=False)
    out = run_unit(unit_task(tmp_path, {}, folder))
    assert NAME.encode() not in out.read_bytes()
    assert points(out) == expected_points(labels_on(TURNS["oblique"]))


def test_changed_source_is_refused(tmp_path: Path) -> None:
    folder = classic(tmp_path / "dicom", TURNS["oblique"])
    task = unit_task(tmp_path, {}, folder)
    (folder / "003.dcm").write_bytes(b"")
    with pytest.raises(VoxelwayError) as caught:
        run_unit(task)
    assert caught.value.code == "D-UNREADABLE"
    assert "003.dcm" not in str(caught.value)


@settings(max_examples=50)
@given(st.text(max_size=70), st.binary(min_size=1, max_size=40))
def test_uids_are_valid(text: str, key: bytes) -> None:
    uid = identity.hashed_uid(key, text)
    assert pydicom.uid.UID(uid).is_valid and len(uid) <= 64
    assert uid == identity.hashed_uid(key, text)


# other readers


@pytest.mark.parametrize("who", ["pseudonym", "original"])
@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_dciodvfy_finds_no_error(kind: str, who: str, tmp_path: Path) -> None:
    turn = TURNS["oblique"]
    folder = tmp_path / "dicom"
    folder = classic(folder, turn) if kind == "classic" else enhanced(folder, turn, shared=False)
    task = unit_task(tmp_path, {"identity": who}, folder)
    assert faults(run_unit(task)) == []
    assert faults(task.results.dicom_report(task.unit)) == []


def test_dcmqi_reads_the_same_voxels(tmp_path: Path) -> None:
    turn = TURNS["oblique"]
    image = labels_on(turn)
    out = export(tmp_path, image, classic(tmp_path / "dicom", turn))
    back = dcmqi_voxels(out, tmp_path / "back")
    values = sitk.GetArrayFromImage(image)
    assert np.array_equal(
        np.bincount(sitk.GetArrayFromImage(back).ravel(), minlength=6)[1:],
        np.bincount(values.ravel(), minlength=6)[1:],
    )
    placed = sitk.Resample(back, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert (sitk.GetArrayFromImage(placed) == values).mean() > 0.999
