"""What the profile does with each attribute: DICOM PS3.15, Table E.1-1, and its options.

The table is that of dicom-anonymizer, which gives the Basic Profile for 655 attributes. Where it
leaves a choice by the type of the attribute (X/D, X/Z/D), the action taken is the one that is valid
for all types that the choice covers: the object stays conformant whatever its class is.
"""

from __future__ import annotations

import importlib.util
import runpy
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import VoxelwayError

Action = Literal["remove", "empty", "dummy", "uid"]

#: Edition of PS3.15 that the table was taken from.
EDITION = "2026c"
_CATEGORIES: dict[str, Action] = {
    "X_TAGS": "remove",
    "Z_TAGS": "empty",
    "X_Z_TAGS": "empty",
    "D_TAGS": "dummy",
    "Z_D_TAGS": "dummy",
    "X_D_TAGS": "dummy",
    "X_Z_D_TAGS": "dummy",
    "U_TAGS": "uid",
    "X_Z_U_STAR_TAGS": "uid",
}

#: Attributes that hold the patient's identity and get the pseudonym.
PATIENT_NAME, PATIENT_ID = 0x00100010, 0x00100020

#: Clean Descriptors Option: texts of which the words of an allow-list may stay.
DESCRIPTORS = {
    0x00081030,  # StudyDescription
    0x0008103E,  # SeriesDescription
    0x00181030,  # ProtocolName
    0x00189424,  # AcquisitionProtocolDescription
    0x00400254,  # PerformedProcedureStepDescription
    0x00321060,  # RequestedProcedureDescription
}

#: Retain Device Identity Option.
DEVICE = {
    0x00081010,  # StationName
    0x00181000,  # DeviceSerialNumber
    0x00181002,  # DeviceUID
    0x00181003,  # DeviceID
    0x00181004,  # PlateID
    0x00181005,  # GeneratorID
    0x00181007,  # CassetteID
    0x00181008,  # GantryID
    0x00181009,  # UniqueDeviceIdentifier
    0x0018700A,  # DetectorID
    0x00189367,  # XRaySourceID
    0x00189371,  # XRayDetectorID
    0x00189373,  # XRayDetectorLabel
    0x00081090,  # ManufacturerModelName
    0x00181020,  # SoftwareVersions
}

#: Dates of the person and not of the examination: no option shifts them.
PERSONAL_DATES = {
    0x00100030,  # PatientBirthDate
    0x00100032,  # PatientBirthTime
    0x001021D0,  # LastMenstrualDate
    0x00380020,  # AdmittingDate
    0x00380021,  # AdmittingTime
    0x0040A121,  # Date of a content item
    0x0040A120,  # DateTime of a content item
    0x0040A122,  # Time of a content item
}

#: Binary attributes that are pixels, or that pixels are read with.
BINARY = {
    0x7FE00010,  # PixelData
    0x7FE00008,  # FloatPixelData
    0x7FE00009,  # DoubleFloatPixelData
    0x7FE00001,  # ExtendedOffsetTable
    0x7FE00002,  # ExtendedOffsetTableLengths
    0x00283006,  # LUTData
}


@cache
def actions() -> dict[int, Action]:
    """Tag → what the Basic Profile does with it; attributes not listed are not in the table.

    Raises:
        VoxelwayError: E-TOOL when dicom-anonymizer is not installed.
    """
    table = _table()
    found: dict[int, Action] = {}
    for name, action in _CATEGORIES.items():
        for place in table[name]:
            # four numbers are a range of groups (curves and overlays), which go as a whole
            if len(place) == 2:
                found[place[0] << 16 | place[1]] = action
    return found


def _table() -> dict[str, Any]:
    """The table alone: the package around it would bring its own command line."""
    found = importlib.util.find_spec("dicomanonymizer")
    if found is None or not found.submodule_search_locations:
        hint = "Set up the environment again (make setup)"
        raise VoxelwayError("E-TOOL", "The table of dicom-anonymizer is missing", hint=hint)
    folder = Path(found.submodule_search_locations[0]) / "dicom_anonymization_databases"
    return runpy.run_path(str(folder / f"dicomfields_{EDITION}.py"))


def codes(*, words: bool, shifted: bool, device: bool) -> list[tuple[str, str]]:
    """Profile and options as codes of PS3.16, CID 7050: value, meaning."""
    chosen = [("113100", "Basic Application Confidentiality Profile")]
    if words:
        chosen.append(("113105", "Clean Descriptors Option"))
    if shifted:
        meaning = "Retain Longitudinal Temporal Information Modified Dates Option"
        chosen.append(("113107", meaning))
    if device:
        chosen.append(("113109", "Retain Device Identity Option"))
    return chosen
