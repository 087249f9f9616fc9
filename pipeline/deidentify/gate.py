"""What may not be de-identified by its header alone, and is therefore never written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.errors import VoxelwayError
from pipeline.ingest.headers import Header, Reject
from pipeline.ingest.identity import (
    file_label,
    normalised,
    pseudonym,
    same_pseudonym,
    series_label,
)

#: Classes whose pixels usually show text: secondary capture, ultrasound, photographs, video.
_SHOWN = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(7|6|3|77)(\.|$)")
_SCREEN = re.compile(r"SCREEN|CAPTURE|SECONDARY_CAPTURE|PHOTO|SNAPSHOT|DOSE|REPORT")


@dataclass(frozen=True)
class Refused:
    """One file that was not written: the code, why, and its pseudonyms; the path is private."""

    code: str
    message: str
    subject: str
    series: str
    path: str


def unread(reject: Reject, key: bytes) -> Refused:
    """A file without a header."""
    return Refused(reject.code, reject.message, "", file_label(key, reject.path), reject.path)


def judge(headers: Sequence[Header], key: bytes) -> tuple[list[Header], list[Refused]]:
    """Part the files that can be de-identified from the others.

    One file of a series that may show a name refuses the whole series: the others were made by
    the same hand.
    """
    shown = {h.common.series_uid: why for h in headers if (why := _shown(h)) is not None}
    mixed = _several_people(headers, key)
    taken, refused = [], list[Refused]()
    seen: set[tuple[str, str]] = set()
    for header in headers:
        fault = next(_faults(header, shown, mixed, seen), None)
        if fault is None:
            seen.add((header.common.series_uid, header.sop_uid))
            taken.append(header)
            continue
        series = series_label(key, header.common.series_uid)
        refused.append(Refused(*fault, _subject(header, key), series, header.path))
    return taken, refused


def _subject(header: Header, key: bytes) -> str:
    try:
        return pseudonym(key, header.common.patient_id)
    except VoxelwayError:
        return ""


def _shown(header: Header) -> str | None:
    """Why the pixels may show who the patient is; None when nothing speaks for it."""
    common = header.common
    if common.burned_in:
        return "BurnedInAnnotation is YES"
    if _SHOWN.match(common.sop_class):
        return "Secondary captures, ultrasound and photographs show text in the picture"
    if any(_SCREEN.search(value.upper()) for value in common.image_type):
        return "ImageType tells of a screen or a report"
    if header.is_image and common.samples != 1:
        return "A colour picture, which may be of a screen"
    return None


def _several_people(headers: Sequence[Header], key: bytes) -> set[str]:
    """Normalised ids under which people with different dates of birth are found.

    Raises:
        VoxelwayError: E-PSEUDONYM when two ids get the same pseudonym.
    """
    births: dict[str, set[int]] = {}
    for header in headers:
        name = normalised(header.common.patient_id)
        births.setdefault(name, set()).update({header.common.person} - {0})
    counts = Counter(pseudonym(key, name) for name in births if name)
    for label, count in counts.most_common(1):
        if count > 1:
            raise same_pseudonym(label)
    return {name for name, found in births.items() if len(found) > 1}


def _faults(
    header: Header, shown: dict[str, str], mixed: set[str], seen: set[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    common = header.common
    if common.series_uid in shown:
        why = shown[common.series_uid]
        yield "D-BURNED-IN", f"{why}; no header tells what the pixels of this series show"
    if not header.is_image:
        what = "No CT, MR, PET or NM image: reports, documents and other objects hold free text"
        yield "D-NOT-IMAGE", what
    if "MOSAIC" in common.image_type:
        what = "A mosaic: where its slices lie stands in private elements, which may not leave"
        yield "D-MOSAIC", f"{what}; convert it instead"
    if not normalised(common.patient_id):
        yield "D-NO-PATIENT", "PatientID is empty; complete it at the source"
    if normalised(common.patient_id) in mixed:
        yield "D-SAME-ID", "Several dates of birth under one PatientID; correct it at the source"
    if header.missing:
        yield "D-TRUNCATED", "The file ends before its pixels do; export it again"
    if not header.sop_uid:
        yield "D-UNREADABLE", "The object has no SOPInstanceUID"
    if (common.series_uid, header.sop_uid) in seen:
        yield "D-SLICES-DUPLICATE", "The same instance stands in another file, which was written"
