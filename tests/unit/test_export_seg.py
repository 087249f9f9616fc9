"""DICOM SEG on made-up series: places, identity, refusals, and what other readers say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from pipeline import config
from pipeline.errors import VoxelwayError
from pipeline.export import identity, seg, series, stage
from pipeline.ingest import identity as names
from pipeline.ingest.source import Geometry, Source, SourceFile, write_sources
from pipeline.labels import TISSUES
from pipeline.paths import Results, Unit
from pipeline.task import Task, UnitTask

NAME = "Doe^Jane"
PATIENT, ACCESSION, STUDY_DATE = "HOSP-4711", "ACC-0815", "20190203"
ROWS, COLUMNS, SLICES = 14, 12, 9
SPACING = (1.5, 2.0)  # between rows, between columns
GAP = 2.5


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    x, y, z = np.deg2rad(degrees)
    turn = sitk.Euler3DTransform()
    turn.SetRotation(x, y, z)
    return np.asarray(turn.GetMatrix()).reshape(3, 3)


def header() -> Dataset:
    item = Dataset()
    item.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    item.StudyInstanceUID = "1.2.3.4.5"
    item.SeriesInstanceUID = "1.2.3.4.5.6"
    item.FrameOfReferenceUID = "1.2.3.4.5.7"
    item.Modality = "MR"
    item.PatientName, item.PatientID, item.PatientBirthDate = NAME, PATIENT, "19700101"
    item.PatientSex, item.PatientAge = "F", "042Y"
    item.StudyDate, item.StudyTime, item.AccessionNumber = STUDY_DATE, "101112", ACCESSION
    item.StudyID, item.ReferringPhysicianName = "77", "Smith^John"
    item.Rows, item.Columns = ROWS, COLUMNS
    return item


def numbers(values: np.ndarray) -> list[str]:
    return [f"{value:.10g}" for value in values]


def classic(folder: Path, turn: np.ndarray, order: list[int] | None = None) -> Path:
    """Single-frame files; ``order`` is how the file names run through the slices."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, k in enumerate(order or range(SLICES)):
        item = header()
        item.SOPInstanceUID = f"1.2.3.4.5.6.{k + 1}"
        item.InstanceNumber = number + 1
        item.ImageOrientationPatient = numbers(np.concatenate([turn[:, 0], turn[:, 1]]))
        item.ImagePositionPatient = numbers(np.array([-10.0, 5.0, 20.0]) + turn[:, 2] * GAP * k)
        item.PixelSpacing = list(SPACING)
        item.SliceThickness = GAP
        save(item, folder / f"{number:03}.dcm")
    return folder


def enhanced(folder: Path, turn: np.ndarray, *, shared: bool) -> Path:
    """One multi-frame file; ``shared`` tells where spacing and orientation stand."""
    item = header()
    item.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    item.SOPInstanceUID = "1.2.3.4.5.6.1"
    item.NumberOfFrames = SLICES
    common = Dataset()
    frames = []
    for k in range(SLICES):
        frame = Dataset()
        place = Dataset()
        place.ImagePositionPatient = numbers(np.array([-10.0, 5.0, 20.0]) + turn[:, 2] * GAP * k)
        frame.PlanePositionSequence = Sequence([place])
        for target in [common] if shared else [frame]:
            measures, direction = Dataset(), Dataset()
            measures.PixelSpacing, measures.SliceThickness = list(SPACING), GAP
            direction.ImageOrientationPatient = numbers(np.concatenate([turn[:, 0], turn[:, 1]]))
            target.PixelMeasuresSequence = Sequence([measures])
            target.PlaneOrientationSequence = Sequence([direction])
        frames.append(frame)
    item.SharedFunctionalGroupsSequence = Sequence([common])
    item.PerFrameFunctionalGroupsSequence = Sequence(frames)
    folder.mkdir(parents=True, exist_ok=True)
    save(item, folder / "enhanced.dcm")
    return folder


def save(item: Dataset, path: Path) -> None:
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    item.file_meta.MediaStorageSOPClassUID = item.SOPClassUID
    item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
    item.save_as(path, enforce_file_format=True)


def labels_on(turn: np.ndarray, seed: int = 0) -> sitk.Image:
    """Labels 1 to 5 without symmetry on the lattice of the series."""
    values = np.random.default_rng(seed).integers(0, 6, (SLICES, ROWS, COLUMNS)).astype(np.uint8)
    values[0] = 0
    values[-1, :4] = 3
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((SPACING[1], SPACING[0], GAP))
    image.SetOrigin((-10.0, 5.0, 20.0))
    image.SetDirection(turn.ravel().tolist())
    return image


def export(tmp: Path, image: sitk.Image, folder: Path) -> Path:
    source, out = tmp / "labels_dseg.nii.gz", tmp / "out.dcm"
    sitk.WriteImage(image, str(source))
    params = config.section("export")
    row = {"labels": str(source), "series": str(folder), "output": str(out)}
    stage.run_file(Task("export", params), stage.prepare(params, None), row)
    return out


def points(out: Path) -> dict[tuple[float, ...], str]:
    """Segment of every pixel that is set, by its position in mm (one decimal), without highdicom.

    Pixels are unpacked and placed from the tags alone, as a viewer does.
    """
    item = pydicom.dcmread(out)
    found = {}
    pixels = item.pixel_array.reshape(int(item.NumberOfFrames), item.Rows, item.Columns)
    shared = item.SharedFunctionalGroupsSequence[0]
    spacing = [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    label = {int(s.SegmentNumber): str(s.SegmentLabel) for s in item.SegmentSequence}
    for frame, plane in zip(item.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        name = label[int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]
        start = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        for row, column in np.argwhere(plane):
            place = start + cosines[:3] * spacing[1] * column + cosines[3:] * spacing[0] * row
            found[tuple(np.round(place, 1) + 0.0)] = name
    return found


def expected_points(image: sitk.Image) -> dict[tuple[float, ...], str]:
    label = {item.index: item.name for item in TISSUES}
    values = sitk.GetArrayFromImage(image)
    found = {}
    for z, y, x in np.argwhere(values):
        place = image.TransformIndexToPhysicalPoint((int(x), int(y), int(z)))
        found[tuple(np.round(place, 1) + 0.0)] = label[int(values[z, y, x])]
    return found


TURNS = {
    "axial": np.eye(3),
    "sagittal": np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]]),
    "oblique": rotation((12.0, -7.0, 21.0)),
}


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


def unit_task(tmp_path: Path, over: Mapping[str, Any], folder: Path) -> UnitTask:
    """A results folder with the labels of one unit, and the record of its series."""
    results, unit = Results(tmp_path / "results"), Unit("p1abc", "01")
    names.make_key(results)
    path = results.image("superres", unit, "mask", space="T1w", desc="brain")
    path.parent.mkdir(parents=True)
    image = labels_on(TURNS["oblique"])
    sitk.WriteImage(image, str(path))
    path = results.image("segment", unit, "dseg", space="T1w")
    path.parent.mkdir(parents=True)
    sitk.WriteImage(image, str(path))
    files = tuple(
        SourceFile(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.iterdir())
    )
    steps, cosines, origin = (2.0, 1.5, GAP), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0)
    geometry = Geometry(ROWS, COLUMNS, SLICES, steps, cosines, origin, origin)
    source = Source("T1w", "s1", files, geometry, None, {}, ())
    write_sources(results, unit, {"T1w": source})
    params = {**config.section("export", over), "seed": 0}
    return UnitTask("export", params, base=results.root, results=results, unit=unit)


def run_unit(task: UnitTask) -> Path:
    stage.run_unit(task, stage.prepare(task.params, None))
    return task.results.dicom_seg(task.unit)


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


def tool(name: str) -> str:
    path = Path(sys.executable).with_name(name)
    if not path.is_file():
        pytest.skip(f"{name} is not installed")
    return str(path)


@pytest.mark.parametrize("who", ["pseudonym", "original"])
@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_dciodvfy_finds_no_error(kind: str, who: str, tmp_path: Path) -> None:
    program = tool("dciodvfy")
    turn = TURNS["oblique"]
    folder = tmp_path / "dicom"
    folder = classic(folder, turn) if kind == "classic" else enhanced(folder, turn, shared=False)
    out = run_unit(unit_task(tmp_path, {"identity": who}, folder))
    found = subprocess.run([program, str(out)], capture_output=True, text=True, check=False)
    told = (found.stdout + found.stderr).splitlines()
    assert [line for line in told if line.startswith("Error")] == []


def test_dcmqi_reads_the_same_voxels(tmp_path: Path) -> None:
    program = tool("segimage2itkimage")
    turn = TURNS["oblique"]
    image = labels_on(turn)
    out = export(tmp_path, image, classic(tmp_path / "dicom", turn))
    target = tmp_path / "back"
    target.mkdir()
    command = [program, "--inputDICOM", str(out), "--outputDirectory", str(target), "-t", "nii"]
    subprocess.run([*command, "--mergeSegments"], capture_output=True, check=True, timeout=120)
    [path] = target.glob("*.nii*")
    back = sitk.ReadImage(str(path))
    values = sitk.GetArrayFromImage(image)
    assert np.array_equal(
        np.bincount(sitk.GetArrayFromImage(back).ravel(), minlength=6)[1:],
        np.bincount(values.ravel(), minlength=6)[1:],
    )
    placed = sitk.Resample(back, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert (sitk.GetArrayFromImage(placed) == values).mean() > 0.999
