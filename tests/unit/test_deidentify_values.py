"""The profile element by element: the table's actions, dates, words, codes."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.sequence import Sequence
from pydicom.uid import UID

from pipeline import config
from pipeline.deidentify import profile, terms
from pipeline.deidentify.dataset import Rules, clean
from pipeline.deidentify.values import DUMMIES, days_of, moved
from pipeline.export.identity import Pseudonym

KEY = bytes(range(32))
WHO = Pseudonym("pabc", KEY)
#: One value of each representation that no dummy equals.
FULL: dict[str, Any] = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT", "UR"), "SECRET"),
    "AS": "044Y", "DA": "20240229", "DS": "7", "DT": "20240229101112", "IS": "7", "TM": "1011",
    "UI": "1.2.3.4", **dict.fromkeys(("FD", "FL", "SL", "SS", "UL", "US", "SV", "UV"), 7),
    **dict.fromkeys(("OB", "OW", "OF", "OL", "OD", "OV", "UN"), b"SECRET78"),
}  # fmt: skip


def cleaned(days: int | None = None, device: bool = False, **values: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    clean(ds, Rules(WHO, days, None, device))
    return ds


def test_table_is_that_of_the_standard() -> None:
    actions = profile.actions()
    # PS3.15, Table E.1-1: PatientBirthDate Z, PatientAge X, SOPInstanceUID U, ContentDate Z/D,
    # SeriesDate X/D, StationName X/Z/D, AcquisitionDate X/Z
    assert actions[0x00100030] == "empty" and actions[0x00101010] == "remove"
    assert actions[0x00080018] == "uid" and actions[0x00080023] == "dummy"
    assert actions[0x00080021] == actions[0x00081010] == "dummy"
    assert actions[0x00080022] == "empty" and len(actions) > 640


def test_every_attribute_of_the_table_is_treated_as_it_says() -> None:
    seen = set()
    for tag, action in profile.actions().items():
        patient = tag in (profile.PATIENT_ID, profile.PATIENT_NAME)
        if not dictionary_has_tag(tag) or patient or tag >> 16 in (0, 2, 4):
            continue
        vr = dictionary_VR(tag).split(" or ")[0]
        ds = Dataset()
        ds.add_new(tag, vr, Sequence([Dataset()]) if vr == "SQ" else FULL[vr])
        clean(ds, Rules(WHO))
        if vr == "UN":
            assert tag not in ds
            continue
        seen.add((action, vr))
        assert (tag in ds) == (action != "remove"), hex(tag)
        if tag not in ds or vr == "SQ":
            continue
        value = ds[tag].value
        if action == "empty":
            assert ds[tag].is_empty
        elif vr == "UI":
            assert value != "1.2.3.4" and UID(value).is_valid and value.startswith("2.25.")
        else:
            assert value == DUMMIES[vr] != FULL[vr]
    assert {action for action, _ in seen} == {"remove", "empty", "dummy", "uid"}


def test_what_no_table_names_stays_only_when_it_is_known() -> None:
    ds = cleaned(
        Manufacturer="SIEMENS Healthineers of Smith", ManufacturerModelName="Prisma of Smith",
        SoftwareVersions="Smith 1", ImageType=["ORIGINAL", "PRIMARY", "SMITH", "M"],
        BodyPartExamined="HEAD", EchoTime="3.2", Rows=4, PixelSpacing=[1, 2],
        SOPClassUID="1.2.840.10008.5.1.4.1.1.4", SpecificCharacterSet="ISO_IR 100",
    )  # fmt: skip
    assert ds.Manufacturer == "Siemens" and ds.ManufacturerModelName == "Prisma"
    assert ds.SoftwareVersions == "REMOVED" and ds.BodyPartExamined == "HEAD"
    assert list(ds.ImageType) == ["ORIGINAL", "PRIMARY", "UNKNOWN", "M"]
    assert ds.EchoTime == 3.2 and ds.Rows == 4 and ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.4"


def test_device_stays_when_asked_for() -> None:
    told = {"DeviceSerialNumber": "41234", "StationName": "MR1", "SoftwareVersions": "Smith 1"}
    assert cleaned(device=True, **told).DeviceSerialNumber == "41234"
    assert cleaned(device=True, **told).SoftwareVersions == "Smith 1"
    assert cleaned(**told).StationName == "REMOVED"


def test_text_in_the_place_of_a_number_goes() -> None:
    ds = Dataset()
    ds.add_new(0x00280010, "LO", "SECRET")
    ds.add_new(0x00180081, "LO", "SECRET")
    clean(ds, Rules(WHO))
    assert len(ds) == 0


def test_codes_get_the_meaning_of_the_standard() -> None:
    ds = Dataset()
    items = [("T-A0100", "SRT", "Brain of Smith"), ("T1", "99SMITH", "Smith")]
    for keyword, item in zip(("AnatomicRegionSequence", "ViewCodeSequence"), items, strict=True):
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = item
        setattr(ds, keyword, Sequence([code]))
    clean(ds, Rules(WHO))
    brain = ds.AnatomicRegionSequence[0]
    assert (brain.CodeValue, brain.CodeMeaning) == ("T-A0100", "Brain")
    assert ds.ViewCodeSequence[0].CodeMeaning == "Removed"
    assert ds.ViewCodeSequence[0].CodingSchemeDesignator == "99VOXELWAY"


@pytest.mark.parametrize(
    ("vr", "before", "after"),
    [
        ("DA", "20240301", "20240229"),
        ("DT", "20240301101112.5+0100", "20240229101112.5"),
        ("DT", "20240101", "20231231"),
        ("TM", "101112.123456", "101112.123456"),
        ("DA", "2024.03.01", None),
        ("DA", "20240230", None),
        ("DT", "2024", None),
        ("TM", "Smith", None),
        ("DA", "10000101", None),
    ],
)
def test_dates_move_by_days(vr: str, before: str, after: str | None) -> None:
    assert moved(vr, before, 1) == after


@given(st.dates(date(1950, 1, 1)), st.dates(date(1950, 1, 1)), st.text(min_size=1, max_size=12))
def test_intervals_are_kept(first: date, second: date, patient: str) -> None:
    days = days_of(KEY, patient)
    assert 365 <= days <= 3652
    ds = cleaned(
        days,
        StudyDate=f"{first:%Y%m%d}",
        ContentDate=f"{second:%Y%m%d}",
        PatientBirthDate="19470417",
        AcquisitionDateTime=f"{first:%Y%m%d}101112",
    )

    def day(text: str) -> date:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))

    assert day(ds.ContentDate) - day(ds.StudyDate) == second - first
    assert first - day(ds.StudyDate) == timedelta(days)
    assert ds.AcquisitionDateTime == ds.StudyDate + "101112" and ds.PatientBirthDate in ("", None)


def test_words_of_descriptors() -> None:
    words = tuple(config.section("deidentify", {})["words"])
    ds = Dataset()
    ds.SeriesDescription, ds.StudyDescription = "T1w MPRAGE sag 1mm for Dr. Smith", "Smith"
    clean(ds, Rules(WHO, words=words))
    assert ds.SeriesDescription == "T1w_MPRAGE_sag_1mm" and "StudyDescription" not in ds
    assert "SeriesDescription" not in cleaned(SeriesDescription="T1w")


def test_code_strings_are_the_standards() -> None:
    good = ["HEAD", "GATED TOMO", "T2_STAR_MAP", "PHASE MAP", "4009", "B1000", "1H"]
    assert all(terms.known_code_string(value) for value in good)
    assert not any(map(terms.known_code_string, ["SMITH", "HEAD SMITH", "19470417", "B12345"]))
