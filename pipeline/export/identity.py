"""Whose series a DICOM SEG refers to: the patient's own, or the pseudonym's.

With a pseudonym only what places the pixels is kept from the source's headers, and every UID is
replaced by one from a keyed hash of it (DICOM PS3.5 B.2: ``2.25.`` and a UUID as a whole number).
The same UID gives the same replacement everywhere in a cohort, so that references stay whole.
"""

from __future__ import annotations

import hmac
import re
import uuid
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.sequence import Sequence

from pipeline.export.series import Series, group

#: Attributes that are kept with a pseudonym: what the image is, and where.
KEPT = (
    "SOPClassUID",
    "Modality",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    "NumberOfFrames",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
GROUPS = ("PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence")
SHARED = GROUPS[:2]
#: Attributes that a source may leave out and the segmentation needs, empty where unknown.
EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)


@dataclass(frozen=True)
class Pseudonym:
    """Name that stands for the patient, and the key of the hash that makes UIDs."""

    name: str
    key: bytes

    def uid(self, original: str) -> str:
        """The UID that stands for ``original``."""
        return hashed_uid(self.key, f"uid:{original}")


def hashed_uid(key: bytes, text: str) -> str:
    """UID from a keyed hash of ``text``, ``2.25.`` and up to 39 digits."""
    digest = hmac.digest(key, text.encode(), "sha256")
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"


def references(series: Series, pseudonym: Pseudonym | None) -> list[Dataset]:
    """Headers for the segmentation to refer to; the given ones are not changed.

    Args:
        series: as read.
        pseudonym: None keeps patient, study and UIDs.
    """
    found = [
        _own(dataset) if pseudonym is None else _hidden(dataset, pseudonym)
        for dataset in series.datasets
    ]
    for dataset in found:
        for keyword in EMPTY:
            if keyword not in dataset:
                setattr(dataset, keyword, "")
    return found


def _own(dataset: Dataset) -> Dataset:
    result = Dataset()
    result.update(dataset)
    if not re.fullmatch(r"\d{3}[DWMY]", str(dataset.get("PatientAge", ""))):
        # copied into the new object, a malformed age would make that one invalid as well
        result.pop("PatientAge", None)
    if "PerFrameFunctionalGroupsSequence" in dataset:
        _set_groups(result, dataset)
    return result


def _hidden(dataset: Dataset, pseudonym: Pseudonym) -> Dataset:
    result = Dataset()
    for keyword in KEPT:
        if keyword in dataset:
            result[keyword] = dataset[keyword]
    for keyword in UIDS:
        if keyword in dataset:
            setattr(result, keyword, pseudonym.uid(str(dataset[keyword].value)))
    result.PatientID = pseudonym.name
    result.PatientName = pseudonym.name
    if "PerFrameFunctionalGroupsSequence" in dataset:
        _set_groups(result, dataset)
    return result


def _set_groups(result: Dataset, source: Dataset) -> None:
    """Keep the functional groups that place the frames.

    Some scanners (Siemens XA) give spacing and orientation with each frame although they are the
    same for all; a segmentation takes them from the shared groups.
    """
    before = source.SharedFunctionalGroupsSequence[0]
    frames = []
    for frame in source.PerFrameFunctionalGroupsSequence:
        item = Dataset()
        item.PlanePositionSequence = frame.PlanePositionSequence
        frames.append(item)
    shared = Dataset()
    first = source.PerFrameFunctionalGroupsSequence[0]
    for keyword in SHARED:
        setattr(shared, keyword, Sequence([group(first, before, keyword)]))
    result.SharedFunctionalGroupsSequence = Sequence([shared])
    result.PerFrameFunctionalGroupsSequence = Sequence(frames)
