"""The gate before conversion: what dcm2niix would convert without a word, and must not.

Pure functions over headers: each looks at one thing and returns findings with a code, the numbers
and what to do. A finding refuses the series, unless its code is in ``accept``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.ingest.identity import normalised
from pipeline.ingest.volume import Series, Volume


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a series."""

    code: str
    message: str


def check(volume: Volume, params: Mapping[str, Any]) -> list[Finding]:
    """All findings on one volume and its series; geometry is judged only where it is whole."""
    found = [finding for look in SERIES_CHECKS for finding in look(volume.series)]
    found += [finding for look in PLANE_CHECKS for finding in look(volume, params)]
    if volume.stack is not None and not any(item.code in _NO_STACK for item in found):
        found += [finding for look in STACK_CHECKS for finding in look(volume, params)]
    return found


#: With one of these, the slices have no order that more could be said about.
_NO_STACK = {"D-MIXED-PATIENT", "D-MIXED-ORIENTATION", "D-POSITION-NONE", "D-SPACING-NONE"}


def _one_patient(series: Series) -> Iterator[Finding]:
    patients = {normalised(header.common.patient_id) for header in series.headers}
    studies = series.values("study_uid")
    if len(patients) > 1 or len(studies) > 1:
        what = f"{len(patients)} patients and {len(studies)} studies share one series"
        yield Finding("D-MIXED-PATIENT", f"{what}; export them apart")
    if patients == {""}:
        yield Finding("D-NO-PATIENT", "PatientID is empty; complete it at the source")


def _one_frame(series: Series) -> Iterator[Finding]:
    frames = series.values("frame_uid")
    if len(frames) > 1:
        what = f"{len(frames)} frames of reference in one series: the patient was positioned anew"
        yield Finding("D-MIXED-FRAME", what)


def _whole(series: Series) -> Iterator[Finding]:
    short = [header for header in series.headers if header.missing]
    if short:
        lost = sum(header.missing for header in short)
        what = f"{len(short)} of {len(series.headers)} files end before their pixels do"
        yield Finding("D-TRUNCATED", f"{what}, {lost} bytes are missing; export them again")


def _burned_in(series: Series) -> Iterator[Finding]:
    if any(header.common.burned_in for header in series.headers):
        yield Finding("D-BURNED-IN", "BurnedInAnnotation is YES: the pixels may show a name")


def _promised(series: Series) -> Iterator[Finding]:
    """Slices at the ends leave no gap: only a count that the header promises shows them."""
    promised = max((header.common.promised or 0 for header in series.headers), default=0)
    count = sum(len(header.frames) for header in series.headers)
    if count < promised:
        what = f"{promised - count} of the {promised} slices that the header promises are missing"
        yield Finding("D-SLICES-MISSING", what)


def _numbered(series: Series) -> Iterator[Finding]:
    """Instance numbers run without holes from 1, or go on where an earlier series ended."""
    numbers = {header.instance_number for header in series.headers}
    if None in numbers or len(numbers) < 2 or any(len(h.frames) > 1 for h in series.headers):
        return
    known = sorted(number for number in numbers if number is not None)
    holes = known[-1] - known[0] + 1 - len(known)
    if holes and len(known) == len(series.headers) and not _strided(known):
        what = f"Instance numbers {known[0]} to {known[-1]} have {holes} holes"
        yield Finding("D-SLICES-MISSING", f"{what}: files are missing")
    lead = known[0] - 1
    if not holes and lead > 0 and lead % len(known):
        what = f"The first instance number is {known[0]}, of {len(known)} files"
        yield Finding("D-SLICES-MISSING", f"{what}: the first {lead} files seem to be missing")


def _strided(known: list[int]) -> bool:
    """Some scanners number every second, third … image of a series, all at the same stride."""
    return len({after - before for before, after in pairwise(known)}) == 1


SERIES_CHECKS: tuple[Callable[[Series], Iterator[Finding]], ...] = (
    _one_patient,
    _one_frame,
    _whole,
    _burned_in,
    _promised,
    _numbered,
)


def _placed(volume: Volume, params: Mapping[str, Any]) -> Iterator[Finding]:
    frames = [plane.frame for plane in volume.planes]
    nowhere = sum(None in (frame.position, frame.orientation) for frame in frames)
    skew = sum(_skew(frame.orientation) for frame in frames if frame.orientation)
    if nowhere or skew:
        what = f"{nowhere} of {len(frames)} slices lack position or orientation"
        what += f", {skew} have axes that are not perpendicular unit vectors" if skew else ""
        yield Finding("D-POSITION-NONE", what)
    blank = sum(not frame.spacing or min(frame.spacing) <= 0 for frame in frames)
    if blank:
        what = f"{blank} of {len(frames)} slices do not tell their pixel spacing"
        yield Finding("D-SPACING-NONE", f"{what}; millimetres can't be guessed")


def _skew(orientation: tuple[float, ...]) -> bool:
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    return bool(max(abs(length - 1) for length in lengths) > 0.01 or abs(row @ column) > 0.01)


def _one_lattice(volume: Volume, params: Mapping[str, Any]) -> Iterator[Finding]:
    sizes = Counter((h.common.rows, h.common.columns, h.common.bits) for h in volume.headers)
    if len(sizes) > 1:
        told = ", ".join(f"{r}x{c} ({n} files)" for (r, c, _), n in sorted(sizes.items()))
        yield Finding("D-MIXED-PIXELS", f"Images of several sizes or depths: {told}")
    spacings = np.asarray([p.frame.spacing for p in volume.planes if p.frame.spacing])
    if len(spacings) and float(np.ptp(spacings, axis=0).max()) > 1e-3:
        low, high = spacings.min(), spacings.max()
        yield Finding("D-MIXED-PIXELS", f"Pixel spacing runs from {low:.4f} to {high:.4f} mm")
    if volume.common.samples != 1:
        what = f"{volume.common.samples} values a pixel: a colour image, not a measured one"
        yield Finding("D-MIXED-PIXELS", what)


def _one_orientation(volume: Volume, params: Mapping[str, Any]) -> Iterator[Finding]:
    axes = np.asarray([p.frame.orientation for p in volume.planes if p.frame.orientation])
    if not len(axes):
        return
    difference = np.abs(axes - np.median(axes, axis=0)).max(axis=1)
    other = int(np.count_nonzero(difference > params["orientation_tolerance"]))
    if other:
        what = f"{other} of {len(axes)} slices have another orientation than the rest"
        yield Finding("D-MIXED-ORIENTATION", f"{what}, by up to {difference.max():.3f}")


def _enough(volume: Volume, params: Mapping[str, Any]) -> Iterator[Finding]:
    count = len(volume.planes)
    if count < params["min_slices"]:
        what = f"{count} slices, at least {params['min_slices']} are needed"
        yield Finding("D-SLICES-FEW", what)


PLANE_CHECKS: tuple[Callable[[Volume, Mapping[str, Any]], Iterator[Finding]], ...] = (
    _placed,
    _one_lattice,
    _one_orientation,
    _enough,
)


def _no_duplicates(volume: Volume, params: Mapping[str, Any]) -> Iterator[Finding]:
    stack = volume.stack
    if stack is None or len(stack.distances) < 2:
        return
    same = int(np.count_nonzero(stack.gaps < 0.01))
    if same:
        objects = {plane.header.sop_uid for plane in volume.planes}
        again = len(volume.headers) - len(objects)
        what = f"{same} of {len(stack.distances)} slices lie where another lies"
        why = f"{again} files are copies of others" if again > 0 else "several volumes, or a mix"
        yield Finding("D-SLICES-DUPLICATE", f"{what} ({why})")


def _evenly_spaced(volume: Volume, params: Mapping[str, Any]) -> Iterator[Finding]:
    stack = volume.stack
    if stack is None or len(stack.distances) < 3:
        return
    gaps = stack.gaps[stack.gaps >= 0.01]
    if not gaps.size:
        return
    step = float(np.median(gaps))
    ratio = gaps / step
    off = np.abs(gaps - step) > params["spacing_tolerance"] * step + 0.01
    if not off.any():
        return
    whole = np.abs(ratio - np.round(ratio)) < 0.1
    if bool(np.all(whole[off] & (ratio[off] > 1.5))):
        lost = int(np.sum(np.round(ratio[off]) - 1))
        place = int(np.flatnonzero(off)[0]) + 1
        gaps_told = "1 gap" if off.sum() == 1 else f"{off.sum()} gaps"
        what = f"{lost} slices are missing in {gaps_told}, the first after slice {place}"
        yield Finding("D-SLICES-MISSING", f"{what} (step {step:.2f} mm, gap {gaps.max():.2f} mm)")
    else:
        what = f"The distance between slices runs from {gaps.min():.3f} to {gaps.max():.3f} mm"
        yield Finding("D-SPACING-VARIABLE", what)


def _as_declared(volume: Volume, params: Mapping[str, Any]) -> Iterator[Finding]:
    """Every second slice may be missing: then the steps are even, and twice what is declared."""
    stack, declared = volume.stack, volume.common.slice_distance
    if stack is None or not declared or declared <= 0 or stack.step <= 0:
        return
    ratio = stack.step / declared
    thick = volume.common.thickness or 0.0
    if ratio > 1.5 and abs(ratio - round(ratio)) < 0.05 and declared >= thick - 0.01:
        what = f"Slices are {stack.step:.2f} mm apart, the header says {declared:.2f} mm"
        yield Finding("D-SLICES-MISSING", f"{what}: slices in between seem to be missing")


def _on_one_line(volume: Volume, params: Mapping[str, Any]) -> Iterator[Finding]:
    stack = volume.stack
    if stack is not None and stack.scatter > 0.1 * min(stack.spacing) + 0.01:
        what = f"Slices lie up to {stack.scatter:.2f} mm beside the line of the others"
        yield Finding("D-SPACING-VARIABLE", what)


STACK_CHECKS: tuple[Callable[[Volume, Mapping[str, Any]], Iterator[Finding]], ...] = (
    _no_duplicates,
    _evenly_spaced,
    _as_declared,
    _on_one_line,
)


def same_length(volumes: list[Volume]) -> dict[int, Finding]:
    """Echoes of one series have as many slices; index of the volume → finding on the short ones."""
    longest = max((len(volume.planes) for volume in volumes), default=0)
    found = {}
    for n, volume in enumerate(volumes):
        short = longest - len(volume.planes)
        if short:
            what = f"The echo of {volume.echo:g} ms has {short} slices fewer than the other"
            found[n] = Finding("D-SLICES-MISSING", what)
    return found
