"""Writes series as classic single-frame MR DICOM, as a scanner and an export station would."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, BasicTextSRStorage, ExplicitVRLittleEndian, MRImageStorage

from pipeline.phantom.identity import Identity
from pipeline.phantom.lattice import Lattice

_NAMESPACE = uuid.UUID("9d0b1a53-3a52-5c5e-9d8b-6c1f5c4e7a10")


def make_uid(*key: object) -> str:
    """UID that depends on ``key`` only: a name-based UUID under 2.25 (PS3.5, B.2)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '|'.join(str(part) for part in key)).int}"


@dataclass(frozen=True)
class Header:
    """What the instances of one series share.

    Attributes:
        identity: patient and study.
        number: SeriesNumber; it also tells the UIDs of the subject's series apart.
        description: SeriesDescription and ProtocolName.
        image_type: values of ImageType.
        tags: further attributes by keyword, such as RepetitionTime.
        bits: BitsStored, 12 to 16.
    """

    identity: Identity
    number: int
    description: str
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "OTHER")
    tags: Mapping[str, Any] = field(default_factory=dict)
    bits: int = 12


def image_instances(
    header: Header, lattices: Sequence[Lattice], stacks: Sequence[NDArray[np.uint16]]
) -> list[Dataset]:
    """One data set a slice; several lattices (a localizer's planes) become one series."""
    instances: list[Dataset] = []
    for lattice, stack in zip(lattices, stacks, strict=True):
        for index, pixels in enumerate(stack):
            dataset = _base(header, MRImageStorage, len(instances) + 1)
            dataset.Modality = "MR"
            _describe(dataset, header, len(instances))
            _place(dataset, lattice, index)
            _set_pixels(dataset, pixels, header.bits)
            instances.append(dataset)
    return instances


def report_instance(header: Header, text: str) -> Dataset:
    """A Basic Text SR: an object of the study that holds no image."""
    dataset = _base(header, BasicTextSRStorage, 1)
    dataset.Modality = "SR"
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.ReferencedPerformedProcedureStepSequence = DicomSequence([])
    dataset.PerformedProcedureCodeSequence = DicomSequence([])
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ConceptNameCodeSequence = DicomSequence(
        [_code("18748-4", "LN", "Diagnostic Imaging Report")]
    )
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "TEXT"
    item.ConceptNameCodeSequence = DicomSequence([_code("121071", "DCM", "Finding")])
    item.TextValue = text
    dataset.ContentSequence = DicomSequence([item])
    return dataset


def save(dataset: Dataset, path: Path) -> None:
    """Write one instance with its preamble and file meta information."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def truncate(path: Path) -> None:
    """Cut a file in the middle of its pixels, as an export that was interrupted leaves it."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.6)])


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _base(header: Header, sop_class: UID, number: int) -> Dataset:
    identity = header.identity
    dataset = Dataset()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = UID(make_uid(identity.key, header.number, number))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(make_uid("implementation"))
    dataset.file_meta = meta
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = make_uid(identity.key, "study")
    dataset.SeriesInstanceUID = make_uid(identity.key, "series", header.number)
    dataset.SeriesNumber = header.number
    dataset.InstanceNumber = number
    dataset.SeriesDescription = header.description
    for keyword, value in identity.tags().items():
        setattr(dataset, keyword, value)
    # from nine o'clock a series every five minutes, made-up ones (101…, 201…) in the hours after
    minutes = header.number % 100 * 5 + header.number // 100 * 60
    time = f"{9 + minutes // 60:02d}{minutes % 60:02d}00"
    dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = identity.study_date
    dataset.SeriesTime = f"{time}.000000"
    dataset.AcquisitionTime = dataset.ContentTime = f"{time}.{number:06d}"
    return dataset


def _describe(dataset: Dataset, header: Header, index: int) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = list(header.image_type)
    dataset.ProtocolName = header.description
    dataset.FrameOfReferenceUID = make_uid(header.identity.key, "frame")
    dataset.PositionReferenceIndicator = ""
    dataset.PatientPosition = "HFS"
    dataset.BodyPartExamined = "HEAD"
    dataset.MagneticFieldStrength = "3"
    dataset.ImagingFrequency = "123.25"
    dataset.AcquisitionNumber = 1
    dataset.ImageComments = f"{header.identity.name.replace('^', ' ')}, image {index + 1}"
    for keyword, value in header.tags.items():
        setattr(dataset, keyword, value)


def _place(dataset: Dataset, lattice: Lattice, index: int) -> None:
    row, column, normal = (lattice.direction[:, axis] for axis in range(3))
    position = np.asarray(lattice.origin) + index * lattice.spacing[2] * normal
    dataset.ImageOrientationPatient = [_decimal(value) for value in (*row, *column)]
    dataset.ImagePositionPatient = [_decimal(value) for value in position]
    dataset.SliceLocation = _decimal(float(position @ normal))
    dataset.PixelSpacing = [_decimal(lattice.spacing[1]), _decimal(lattice.spacing[0])]
    dataset.SliceThickness = _decimal(lattice.spacing[2])
    dataset.SpacingBetweenSlices = _decimal(lattice.spacing[2])


def _decimal(value: float) -> str:
    """Decimal string: sixteen characters at most, never an exponent for what is nearly zero."""
    return f"{round(float(value), 9) + 0.0:.9f}".rstrip("0").rstrip(".")[:16]


def _set_pixels(dataset: Dataset, pixels: NDArray[np.uint16], bits: int) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    top = float(np.percentile(pixels, 99))
    dataset.WindowCenter = f"{max(top / 2, 1.0):.0f}"
    dataset.WindowWidth = f"{max(top, 1.0):.0f}"
    dataset.PixelData = pixels.astype("<u2").tobytes()
