"""Checks on all files of a series: whose they are, whether they are whole, whether all came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from itertools import pairwise
from operator import attrgetter

from pipeline.ingest.findings import Finding, place
from pipeline.ingest.headers import Common, Header
from pipeline.ingest.identity import normalised
from pipeline.ingest.volume import Series

#: Third value of ImageType, by which the parts of a complex signal are told apart.
PARTS = {
    "M": "magnitude", "P": "phase", "PHASE": "phase", "R": "real", "REAL": "real",
    "I": "imaginary", "IMAGINARY": "imaginary",
}  # fmt: skip
#: Share by which a timing or angle may vary within one acquisition.
SAME_TIMING = 0.02


def minority(headers: tuple[Header, ...], key: Callable[[Header], Hashable]) -> tuple[str, ...]:
    """Files whose value is not the most common one."""
    values = [key(header) for header in headers]
    usual = Counter(values).most_common(1)[0][0]
    return tuple(place(h) for h, value in zip(headers, values, strict=True) if value != usual)


def one_patient(series: Series) -> Iterator[Finding]:
    """One patient and one study, and a patient at all."""
    patients = {normalised(header.common.patient_id) for header in series.headers}
    studies = series.values("study_uid")
    if len(patients) > 1 or len(studies) > 1:
        what = f"{len(patients)} patients and {len(studies)} studies share one series"
        paths = minority(series.headers, _owner)
        yield Finding("D-MIXED-PATIENT", f"{what}; export them apart", paths)
    if patients == {""}:
        yield Finding("D-NO-PATIENT", "PatientID is empty; complete it at the source")


def _owner(header: Header) -> tuple[str, str]:
    return normalised(header.common.patient_id), header.common.study_uid


def one_frame(series: Series) -> Iterator[Finding]:
    """One frame of reference (PS3.3 C.7.4.1): between two the patient may have moved."""
    frames = series.values("frame_uid")
    if len(frames) > 1:
        what = f"{len(frames)} frames of reference in one series: the patient was positioned anew"
        paths = minority(series.headers, lambda header: header.common.frame_uid)
        yield Finding("D-MIXED-FRAME", what, paths, accept=True)


def one_acquisition(series: Series) -> Iterator[Finding]:
    """One set of timings, one kind of value; echo times are told apart elsewhere."""
    for name, words, unit in TIMINGS:
        values = [getattr(header.common, name) or 0.0 for header in series.headers]
        low, high = min(values), max(values)
        if high - low > SAME_TIMING * high:
            what = f"{words} runs from {low:g} to {high:g} {unit} within one series"
            paths = minority(series.headers, attrgetter(f"common.{name}"))
            yield Finding("D-MIXED-ACQUISITION", what, paths, accept=True)
    parts = {_part(header.common) for header in series.headers}
    if len(parts) > 1:
        what = f"Values of several kinds in one series: {', '.join(sorted(parts))}"
        paths = minority(series.headers, lambda header: _part(header.common))
        yield Finding("D-MIXED-ACQUISITION", what, paths)


TIMINGS = (
    ("repetition_time", "Repetition time", "ms"),
    ("inversion_time", "Inversion time", "ms"),
    ("flip_angle", "Flip angle", "degrees"),
)


def _part(common: Common) -> str:
    return PARTS.get((*common.image_type, "", "", "")[2], "magnitude or other")


def whole(series: Series) -> Iterator[Finding]:
    """Every file holds the pixels that its header describes."""
    short = [header for header in series.headers if header.missing]
    if short:
        lost = sum(header.missing for header in short)
        what = f"{len(short)} of {len(series.headers)} files end before their pixels do"
        paths = tuple(place(header) for header in short)
        yield Finding("D-TRUNCATED", f"{what}, {lost} bytes are missing; export them again", paths)


def burned_in(series: Series) -> Iterator[Finding]:
    """Nothing that can be read is drawn into the pixels, as far as the header tells."""
    paths = tuple(place(header) for header in series.headers if header.common.burned_in)
    if paths:
        what = f"BurnedInAnnotation is YES in {len(paths)} files: the pixels may show a name"
        yield Finding("D-BURNED-IN", what, paths, accept=True)


def promised(series: Series) -> Iterator[Finding]:
    """Slices at the ends leave no gap: only a count that the header promises shows them."""
    count = max((header.common.promised or 0 for header in series.headers), default=0)
    found = sum(len(header.frames) for header in series.headers)
    if found < count:
        lost = count - found
        what = f"{lost} of the {count} slices that the header promises are missing"
        yield Finding("D-SLICES-MISSING", what, accept=True, lost=lost)


def frames(series: Series) -> Iterator[Finding]:
    """NumberOfFrames and the planes of a multi-frame object agree."""
    odd = [h for h in series.headers if h.declared and h.declared != len(h.frames)]
    if odd:
        told = ", ".join(f"{h.declared} frames and {len(h.frames)} planes" for h in odd[:3])
        paths = tuple(place(header) for header in odd)
        yield Finding("D-SLICES-MISSING", f"The header contradicts itself: {told}", paths)


def numbered(series: Series) -> Iterator[Finding]:
    """Instance numbers run without holes from 1, or go on where an earlier series ended."""
    numbers = {header.instance_number for header in series.headers}
    if None in numbers or len(numbers) < 2 or any(len(h.frames) > 1 for h in series.headers):
        return
    known = sorted(number for number in numbers if number is not None)
    holes = known[-1] - known[0] + 1 - len(known)
    if holes and len(known) == len(series.headers) and not _strided(known):
        what = f"Instance numbers {known[0]} to {known[-1]} have {holes} holes"
        yield Finding("D-SLICES-MISSING", f"{what}: files are missing", accept=True, lost=holes)
    lead = known[0] - 1
    if not holes and lead > 0 and lead % len(known):
        what = f"The first instance number is {known[0]}, of {len(known)} files"
        what += f": the first {lead} files seem to be missing"
        yield Finding("D-SLICES-MISSING", what, accept=True, lost=lead)


def _strided(known: list[int]) -> bool:
    """Some scanners number every second, third … image of a series, all at the same stride."""
    return len({after - before for before, after in pairwise(known)}) == 1


CHECKS: tuple[Callable[[Series], Iterator[Finding]], ...] = (
    one_patient,
    one_frame,
    one_acquisition,
    whole,
    burned_in,
    promised,
    frames,
    numbered,
)
