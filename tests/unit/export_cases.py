"""Made-up series with labels on them, and what tests of the export share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from pipeline import config, files
from pipeline.export import stage
from pipeline.ingest import identity as names
from pipeline.ingest.source import Geometry, Source, SourceFile, write_sources
from pipeline.labels import TISSUES
from pipeline.paths import Results, Unit
from pipeline.segment import summary
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
    table = results.image("segment", unit, "volumes", space="T1w", extension=".tsv")
    files.write_tsv(table, ("label", "name", "mm3"), summary.volumes(image))
    sources = tuple(
        SourceFile(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.iterdir())
    )
    steps, cosines, origin = (2.0, 1.5, GAP), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0)
    geometry = Geometry(ROWS, COLUMNS, SLICES, steps, cosines, origin, origin)
    source = Source("T1w", "s1", sources, geometry, None, {}, ())
    write_sources(results, unit, {"T1w": source})
    params = {**config.section("export", over), "seed": 0}
    return UnitTask("export", params, base=results.root, results=results, unit=unit)


def run_unit(task: UnitTask) -> Path:
    stage.run_unit(task, stage.prepare(task.params, None))
    return task.results.dicom_seg(task.unit)


def tool(name: str) -> str:
    path = Path(sys.executable).with_name(name)
    if not path.is_file():
        pytest.skip(f"{name} is not installed")
    return str(path)


def dcmqi_voxels(out: Path, target: Path) -> sitk.Image:
    """The segmentation as dcmqi reads it, all segments in one image."""
    target.mkdir()
    program = tool("segimage2itkimage")
    command = [program, "--inputDICOM", str(out), "--outputDirectory", str(target), "-t", "nii"]
    subprocess.run([*command, "--mergeSegments"], capture_output=True, check=True, timeout=120)
    [path] = target.glob("*.nii*")
    return sitk.ReadImage(str(path))


def faults(out: Path) -> list[str]:
    """What dciodvfy calls an error."""
    found = subprocess.run([tool("dciodvfy"), str(out)], capture_output=True, text=True)
    told = (found.stdout + found.stderr).splitlines()
    assert told
    return [line for line in told if line.startswith("Error")]
