"""Small DICOM series made in code, to be broken by the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from pipeline import config

ROWS, COLUMNS, SLICES, STEP = 14, 12, 10, 2.0
Edit = Callable[[FileDataset, int], None]
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "dicom"


def params(**changes: Any) -> dict[str, Any]:
    """The section `ingest` with its defaults, and a seed."""
    return {**config.section("ingest", changes), "seed": 0}


def uid(*names: object) -> str:
    return str(generate_uid(entropy_srcs=["voxelway-test", *map(str, names)]))


def pixels(number: int) -> np.ndarray:
    """A slice that no other slice, flip or transposition equals."""
    i, j = np.mgrid[0:ROWS, 0:COLUMNS]
    return (100 + 40 * number + 7 * i + 3 * j + (i * j) % 5).astype(np.uint16)


def dataset(number: int, patient: str, series: str, date: str, values: Mapping[str, Any]) -> Any:
    """One slice of an axial T1w series; `values` override any attribute, None removes it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = uid(patient, series, number)
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    attributes: dict[str, Any] = {
        "SOPClassUID": MRImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "PatientID": patient,
        "PatientName": "Doe^Jane",
        "StudyDate": date,
        "SeriesDate": date,
        "SeriesTime": "101500",
        "Modality": "MR",
        "Manufacturer": "SIEMENS",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "SeriesDescription": "t1_mprage_sag",
        "ProtocolName": "t1_mprage_sag",
        "StudyInstanceUID": uid(patient, date),
        "SeriesInstanceUID": uid(patient, series, date),
        "FrameOfReferenceUID": uid(patient, "frame", date),
        "SeriesNumber": 3,
        "InstanceNumber": number + 1,
        "MRAcquisitionType": "3D",
        "ScanningSequence": ["GR", "IR"],
        "RepetitionTime": 2000,
        "EchoTime": 3,
        "InversionTime": 900,
        "FlipAngle": 9,
        "MagneticFieldStrength": 3,
        "SliceThickness": STEP,
        "ImagePositionPatient": [-5.5, -6.5, -9.0 + STEP * number],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [1.0, 1.0],
        "PatientPosition": "HFS",
        "Rows": ROWS,
        "Columns": COLUMNS,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
    }
    for name, value in {**attributes, **values}.items():
        if value is not None:
            setattr(ds, name, value)
    ds.PixelData = pixels(number).tobytes()
    return ds


def series(
    folder: Path,
    patient: str = "PAT-1",
    name: str = "t1",
    date: str = "20200102",
    *,
    slices: int = SLICES,
    edit: Edit | None = None,
    **values: Any,
) -> list[Path]:
    """Write a series below `folder`, one file a slice; `edit` may change each data set."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(slices):
        ds = dataset(number, patient, name, date, values)
        if edit is not None:
            edit(ds, number)
        paths.append(folder / f"{patient.strip() or 'x'}_{name}_{date}_{number:03d}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def change(path: Path, **values: Any) -> None:
    """Change attributes of a file in place; None deletes one."""
    ds = pydicom.dcmread(path)
    for name, value in values.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    ds.save_as(path, enforce_file_format=True)
