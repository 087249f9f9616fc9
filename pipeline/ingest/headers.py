"""What ingest reads of a DICOM file: the header, never the pixels.

Attributes that all files of a series share are held once (:class:`Common`), so that an index of
millions of files fits in memory.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.ingest import mosaic
from pipeline.ingest.facts import Facts, coded_facts, manufacturer
from pipeline.ingest.pixels import missing_bytes
from pipeline.ingest.values import Vector, many, number, text, texts, vector, whole
from pipeline.quiet import quiet

#: Storage classes whose pixels are a slice or a stack of slices of a patient.
IMAGE_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2",  # CT
    "1.2.840.10008.5.1.4.1.1.2.1",  # enhanced CT
    "1.2.840.10008.5.1.4.1.1.2.2",  # legacy converted enhanced CT
    "1.2.840.10008.5.1.4.1.1.4",  # MR
    "1.2.840.10008.5.1.4.1.1.4.1",  # enhanced MR
    "1.2.840.10008.5.1.4.1.1.4.4",  # legacy converted enhanced MR
    "1.2.840.10008.5.1.4.1.1.20",  # nuclear medicine
    "1.2.840.10008.5.1.4.1.1.128",  # PET
    "1.2.840.10008.5.1.4.1.1.130",  # enhanced PET
}
DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
#: Attributes by which the volumes of a series are told apart.
MOMENT = (
    "TemporalPositionIdentifier", "AcquisitionNumber", "AcquisitionTime", "AcquisitionDateTime",
    "TriggerTime", "DiffusionBValue",
)  # fmt: skip

#: More frames than any object of a patient has.
MOST_FRAMES = 65535

KEYWORDS = (
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyDate", "SeriesDate",
    "SeriesTime", "AcquisitionTime", "AcquisitionDateTime", "Modality", "Manufacturer", "ImageType",
    "SeriesDescription", "ProtocolName", "PatientID", "PatientBirthDate", "PatientPosition",
    "BodyPartExamined", "ScanningSequence", "SequenceVariant", "ScanOptions", "SequenceName",
    "MRAcquisitionType", "SliceThickness", "RepetitionTime", "EchoTime", "InversionTime",
    "FlipAngle", "MagneticFieldStrength", "SpacingBetweenSlices", "EchoNumbers", "EchoTrainLength",
    "PixelBandwidth", "ImagingFrequency", "NumberOfAverages", "ContrastBolusAgent",
    "ContrastBolusAgentSequence", "ContrastBolusIngredient", "StudyInstanceUID",
    "SeriesInstanceUID", "FrameOfReferenceUID", "SeriesNumber", "AcquisitionNumber",
    "InstanceNumber", "ImagesInAcquisition", "NumberOfSlices", "ImagePositionPatient",
    "ImageOrientationPatient", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames",
    "Rows", "Columns", "PixelSpacing", "BitsAllocated", "BurnedInAnnotation", "EchoPulseSequence",
    "TemporalPositionIdentifier", "NumberOfTemporalPositions", "TriggerTime", "DiffusionBValue",
    "InversionRecovery", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Common:
    """Attributes that the files of one series should share; numbers in mm, ms, degrees, tesla."""

    patient_id: str
    study_uid: str
    series_uid: str
    series_number: int
    frame_uid: str
    sop_class: str
    transfer_syntax: str
    modality: str
    manufacturer: str
    image_type: tuple[str, ...]
    description: str
    protocol: str
    body_part: str
    study_date: str
    scanning_sequence: tuple[str, ...]
    acquisition_type: str
    field_strength: float | None
    repetition_time: float | None
    inversion_time: float | None
    flip_angle: float | None
    thickness: float | None
    slice_distance: float | None
    promised: int | None
    time_points: int | None
    contrast_agent: bool
    burned_in: bool
    rows: int
    columns: int
    bits: int
    samples: int
    #: codes and numbers for the sidecar, under their BIDS names
    facts: Facts
    person: int = 0  #: checksum of the date of birth, 0 without one


@dataclass(frozen=True, slots=True)
class Frame:
    """Plane of one frame: position and orientation in LPS mm, spacing (rows, columns) in mm."""

    position: Vector | None
    orientation: Vector | None
    spacing: Vector | None
    echo_time: float | None
    index: int = 0
    #: TemporalPositionIndex of an enhanced object
    moment: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    """One DICOM file."""

    path: str
    size: int
    mtime_ns: int
    common: Common
    sop_uid: str
    instance_number: int | None
    time: str
    frames: tuple[Frame, ...]
    #: bytes of pixels that the file lacks; 0 when it is whole
    missing: int = 0
    #: without preamble or meta header, which dcm2niix can't read
    bare: bool = False
    #: NumberOfFrames, None where the header does not give it
    declared: int | None = None
    #: checksum of what tells the volumes of a 4D series apart (:data:`MOMENT`)
    moment: int = 0
    #: name within the archive, where ``path`` is one; then size and time are the member's
    member: str = ""

    @property
    def is_image(self) -> bool:
        """Whether the object holds slices of a patient."""
        return self.common.sop_class in IMAGE_CLASSES


@dataclass(frozen=True, slots=True)
class Reject:
    """A file without a header: its code and reason.

    ``again`` tells that the file may be read another time: it is the system that failed.
    """

    path: str
    code: str
    message: str
    member: str = ""
    again: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where bytes are: a file, or a member of an archive; size in bytes, time in nanoseconds."""

    path: str
    size: int
    mtime_ns: int
    member: str = ""

    def reject(self, code: str, message: str, *, again: bool = False) -> Reject:
        """What is here can't be used."""
        return Reject(self.path, code, message, self.member, again)


def read_header(path: str) -> Header | Reject:
    """Read one file.

    Never raises for what is in the file: a damaged file becomes a :class:`Reject`.
    """
    try:
        with Path(path).open("rb") as stream:
            found = os.fstat(stream.fileno())
            return read_stream(Place(path, found.st_size, found.st_mtime_ns), stream)
    except OSError as error:
        what = f"The file can't be opened ({error.strerror})"
        return Reject(path, "D-UNREADABLE", what, again=True)


def read_stream(place: Place, stream: BinaryIO) -> Header | Reject:
    """Read one file that is open at its start; as :func:`read_header`.

    Raises:
        OSError: when the file system fails.
    """
    try:
        with quiet():
            return _read(place, stream)
    except MemoryError:
        return place.reject("D-UNREADABLE", "Its header asks for too much memory", again=True)


def is_dicom(start: bytes) -> bool:
    """Whether the first 132 bytes are those of a DICOM file, with or without preamble."""
    return start[128:132] == b"DICM" or _plausible(start)


def _read(place: Place, stream: BinaryIO) -> Header | Reject:
    start = stream.read(132)
    if not is_dicom(start):
        name = (place.member or place.path).lower()
        if start and not name.endswith((".dcm", ".dicom", ".ima")):
            return place.reject("D-NOT-DICOM", "The file is no DICOM")
        what = "no DICOM header in a file named as one" if start else "an empty file"
        return place.reject("D-UNREADABLE", f"The file can't be parsed: {what}")
    stream.seek(0)
    try:
        return _parse(place, stream, start[128:] != b"DICM")
    except (zlib.error, EOFError):
        return place.reject("D-TRUNCATED", "The file ends within its header")
    except RecursionError:
        return place.reject("D-UNREADABLE", "The file nests its sequences without end")
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # pydicom meets damaged files with exceptions of many kinds; none may stop the others.
        # The text of the exception may quote the file, so only its kind is told.
        kind = type(error).__name__
        return place.reject("D-UNREADABLE", f"The file can't be parsed ({kind})")


def _plausible(start: bytes) -> bool:
    """Whether bytes look like a data set without preamble: a tag of group 2 or 8 first."""
    if len(start) < 8:
        return False
    return start[:2] in (b"\x02\x00", b"\x08\x00") and start[3] == 0 and start[2] < 0x20


def _parse(place: Place, stream: BinaryIO, bare: bool) -> Header | Reject:
    import pydicom

    read = pydicom.dcmread(stream, stop_before_pixels=True, force=bare, specific_tags=_tags())
    # each is converted once; to ask pydicom for those that are absent takes most time
    dataset = {element.keyword: element.value for element in read}
    meta = getattr(read, "file_meta", None) or {}
    sop_class = text(dataset, "SOPClassUID") or str(meta.get("MediaStorageSOPClassUID", ""))
    if sop_class == DICOMDIR_CLASS:
        return place.reject("D-NOT-DICOM", "A DICOMDIR; what it lists is read by itself")
    if not sop_class or not text(dataset, "SeriesInstanceUID"):
        return place.reject("D-UNREADABLE", "The file names no object class or no series")
    syntax = str(meta.get("TransferSyntaxUID", "1.2.840.10008.1.2"))
    common = _common(dataset, sop_class, syntax)
    frames, missing = _frames(dataset), 0
    if sop_class in IMAGE_CLASSES:
        if not common.rows or not common.columns:
            return place.reject("D-UNREADABLE", "The image does not tell how many pixels it has")
        missing = missing_bytes(stream, dataset, syntax, place.size)
        if "MOSAIC" in common.image_type:
            common, frames = mosaic.unfold(stream, common, frames[0])
    return Header(
        path=place.path,
        size=place.size,
        mtime_ns=place.mtime_ns,
        common=common,
        sop_uid=text(dataset, "SOPInstanceUID"),
        instance_number=whole(dataset, "InstanceNumber"),
        time=_time(dataset),
        frames=frames,
        missing=missing,
        bare=bare,
        declared=whole(dataset, "NumberOfFrames"),
        moment=zlib.crc32("|".join(text(dataset, keyword) for keyword in MOMENT).encode()),
        member=place.member,
    )


@cache
def _tags() -> list[Any]:
    from pydicom.tag import Tag

    return [Tag(keyword) for keyword in KEYWORDS]


def _common(dataset: Any, sop_class: str, syntax: str) -> Common:
    shared = _Groups(dataset)
    return Common(
        patient_id=text(dataset, "PatientID"),
        study_uid=text(dataset, "StudyInstanceUID"),
        series_uid=text(dataset, "SeriesInstanceUID"),
        series_number=whole(dataset, "SeriesNumber") or 0,
        frame_uid=text(dataset, "FrameOfReferenceUID"),
        sop_class=sop_class,
        transfer_syntax=syntax,
        modality=text(dataset, "Modality").upper(),
        manufacturer=manufacturer(text(dataset, "Manufacturer")),
        image_type=texts(dataset, "ImageType"),
        description=text(dataset, "SeriesDescription"),
        protocol=text(dataset, "ProtocolName"),
        body_part=text(dataset, "BodyPartExamined").upper(),
        study_date=text(dataset, "StudyDate")[:8],
        scanning_sequence=_sequence(dataset),
        acquisition_type=text(dataset, "MRAcquisitionType"),
        field_strength=number(dataset, "MagneticFieldStrength"),
        repetition_time=number(dataset, "RepetitionTime")
        or shared.number("MRTimingAndRelatedParametersSequence", "RepetitionTime"),
        inversion_time=number(dataset, "InversionTime")
        or shared.number("MRModifierSequence", "InversionTimes"),
        flip_angle=number(dataset, "FlipAngle")
        or shared.number("MRTimingAndRelatedParametersSequence", "FlipAngle"),
        thickness=number(dataset, "SliceThickness")
        or shared.number("PixelMeasuresSequence", "SliceThickness"),
        slice_distance=number(dataset, "SpacingBetweenSlices")
        or shared.number("PixelMeasuresSequence", "SpacingBetweenSlices"),
        promised=whole(dataset, "ImagesInAcquisition") or whole(dataset, "NumberOfSlices"),
        time_points=whole(dataset, "NumberOfTemporalPositions"),
        contrast_agent=_agent(dataset),
        burned_in=text(dataset, "BurnedInAnnotation").upper() == "YES",
        rows=whole(dataset, "Rows") or 0,
        columns=whole(dataset, "Columns") or 0,
        bits=whole(dataset, "BitsAllocated") or 0,
        samples=whole(dataset, "SamplesPerPixel") or 1,
        facts=coded_facts(dataset),
        person=zlib.crc32(text(dataset, "PatientBirthDate").encode("utf-8", "surrogatepass")),
    )


class _Groups:
    """Functional groups of an enhanced object, shared or of one frame (PS3.3 C.7.6.16)."""

    def __init__(self, dataset: Any, frame: Any = None) -> None:
        shared = dataset.get("SharedFunctionalGroupsSequence") or [None]
        frames = dataset.get("PerFrameFunctionalGroupsSequence") or [None]
        self.places = [place for place in (frame or frames[0], shared[0]) if place is not None]

    def get(self, group: str, keyword: str) -> Any:
        for place in self.places:
            items = place.get(group)
            if items and items[0].get(keyword) is not None:
                return items[0].get(keyword)
        return None

    def number(self, group: str, keyword: str) -> float | None:
        value = self.get(group, keyword)
        numbers = vector(value if many(value) else [value])
        return numbers[0] if numbers else None

    def numbers(self, group: str, keyword: str, count: int) -> Vector | None:
        return vector(self.get(group, keyword), count)


def _frames(dataset: Any) -> tuple[Frame, ...]:
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if per_frame:
        return tuple(_frame(_Groups(dataset, item), n) for n, item in enumerate(per_frame))
    frame = Frame(
        vector(dataset.get("ImagePositionPatient"), 3),
        vector(dataset.get("ImageOrientationPatient"), 6),
        vector(dataset.get("PixelSpacing"), 2),
        number(dataset, "EchoTime"),
    )
    # a damaged count must not fill the memory; the pixels that lack show as missing bytes
    return (frame,) * min(max(1, whole(dataset, "NumberOfFrames") or 1), MOST_FRAMES)


def _frame(groups: _Groups, index: int) -> Frame:
    return Frame(
        groups.numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        groups.numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        groups.numbers("PixelMeasuresSequence", "PixelSpacing", 2),
        groups.number("MREchoSequence", "EffectiveEchoTime"),
        index,
        int(groups.number("FrameContentSequence", "TemporalPositionIndex") or 0),
    )


#: What people type into ContrastBolusAgent when none was given.
NO_AGENT = {"", "NO", "N", "NONE", "0", "NIL", "NOT GIVEN", "NO CONTRAST", "WITHOUT", "OHNE"}


def _agent(dataset: Any) -> bool:
    """Whether the header says that a contrast agent was given."""
    named = text(dataset, "ContrastBolusAgent").upper().strip(" .-") not in NO_AGENT
    return named or bool(dataset.get("ContrastBolusAgentSequence"))


def _sequence(dataset: Any) -> tuple[str, ...]:
    """ScanningSequence, or what an enhanced object says in its place."""
    classic = texts(dataset, "ScanningSequence")
    if classic:
        return classic
    names = {"GRADIENT": ("GR",), "SPIN": ("SE",), "BOTH": ("SE", "GR")}
    found = names.get(text(dataset, "EchoPulseSequence").upper(), ())
    modifier = _Groups(dataset).get("MRModifierSequence", "InversionRecovery")
    return (*found, "IR") if str(modifier).upper() == "YES" else found


def _time(dataset: Any) -> str:
    """Moment of the series, to tell which of two came later: YYYYMMDDHHMMSS."""
    moment = text(dataset, "AcquisitionDateTime")
    if moment:
        return moment
    date = text(dataset, "SeriesDate") or text(dataset, "StudyDate")
    return date + (text(dataset, "SeriesTime") or text(dataset, "AcquisitionTime"))
