"""Made-up patients: everything that de-identification has to find and hide."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pipeline.phantom.lattice import generator

_FAMILY = ("Aldermoor", "Brentwick", "Castellane", "Dorrow", "Eskildane", "Fennimore", "Garrowby",
           "Hollenreuth", "Ivarsund", "Jessamy", "Kettleworth", "Lindqvarn")  # fmt: skip
_GIVEN = {"F": ("Adela", "Beatrix", "Clementine", "Dorothea", "Elspeth", "Fenja"),
          "M": ("Anselm", "Bertram", "Caspar", "Dietmar", "Edric", "Florian")}  # fmt: skip


@dataclass(frozen=True)
class Identity:
    """One made-up patient and study; ``key`` tells UIDs of different patients apart."""

    key: str
    patient_id: str
    name: str
    sex: str
    birth_date: str
    study_date: str
    accession: str
    weight: float

    @property
    def age(self) -> str:
        """Age at the study as DICOM writes it, 047Y."""
        years = int(self.study_date[:4]) - int(self.birth_date[:4])
        years -= self.study_date[4:] < self.birth_date[4:]
        return f"{years:03d}Y"

    def tags(self) -> dict[str, Any]:
        """Attributes of patient, study and equipment, by keyword."""
        return {
            "SpecificCharacterSet": "ISO_IR 100",
            "PatientName": self.name,
            "PatientID": self.patient_id,
            "PatientBirthDate": self.birth_date,
            "PatientSex": self.sex,
            "PatientAge": self.age,
            "PatientWeight": f"{self.weight:.0f}",
            "PatientAddress": f"{int(self.patient_id[-2:])} Made-up Lane, Nowhere",
            "OtherPatientIDs": f"X-{self.patient_id}",
            "AccessionNumber": self.accession,
            "StudyID": self.accession[-4:],
            "StudyDate": self.study_date,
            "StudyTime": "090000.000000",
            "StudyDescription": "MR head",
            "ReferringPhysicianName": "Referrer^Made^Up^Dr",
            "OperatorsName": "Operator^Made Up",
            "InstitutionName": "Hospital of the Phantom",
            "InstitutionAddress": "1 Phantom Square, Nowhere",
            "StationName": "MRPHANTOM1",
            "DeviceSerialNumber": "VW0417",
            "Manufacturer": "Voxelway",
            "ManufacturerModelName": "Phantom 3T",
            "SoftwareVersions": "1",
        }


def draw(folder: str, seed: int) -> Identity:
    """The patient of one phantom subject; the same for the same folder and seed."""
    rng = generator(seed, folder, "identity")
    sex = "FM"[int(rng.integers(2))]
    name = f"{_FAMILY[rng.integers(len(_FAMILY))]}^{_GIVEN[sex][rng.integers(len(_GIVEN[sex]))]}"
    study = date(2023, 1, 9) + timedelta(days=int(rng.integers(700)))
    birth = study - timedelta(days=int(rng.integers(20 * 365, 80 * 365)))
    # the subject's number makes it unique, the drawn digits keep it without meaning
    last = int(folder[1:]) + (990 if folder.startswith("X") else 0)
    return Identity(
        key=f"{seed}|{folder}",
        patient_id=f"{rng.integers(10, 99)}{rng.integers(1000):03d}{last:03d}",
        name=name,
        sex=sex,
        birth_date=birth.strftime("%Y%m%d"),
        study_date=study.strftime("%Y%m%d"),
        accession=f"A{rng.integers(10**7):07d}",
        weight=float(rng.uniform(50, 95)),
    )
