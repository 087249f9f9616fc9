"""``voxelway index --explain SUBJECT``: why each series of a subject was taken or left.

Answers from the cache of headers; no DICOM file is read. Nothing that a person typed is shown,
unless it is asked for on a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import Exit, VoxelwayError
from pipeline.ingest import cache, select
from pipeline.ingest.cache import Cache
from pipeline.ingest.identity import pseudonym, read_key
from pipeline.ingest.index import examine
from pipeline.ingest.patient import Candidate, Refusal, echo_told
from pipeline.ingest.registry import Registry
from pipeline.ingest.volume import Series, Volume, volumes
from pipeline.paths import Results


@dataclass(frozen=True)
class Entry:
    """What is told of one series or of one of its echoes.

    Attributes:
        number: SeriesNumber.
        series: pseudonymous id.
        facts: what kind of image it is.
        fate: taken or not, and why.
        private: the description that a person typed.
    """

    number: int
    series: str
    facts: str
    fate: str
    private: str


def explain(
    subject: str, dicom: Path, results: Results, params: Mapping[str, Any], *, private: bool = False
) -> int:
    """Print the series of one subject, each with what became of it.

    Args:
        subject: pseudonym, with or without ``sub-``.
        dicom: the folder that was indexed.
        results: the results folder that it was indexed into.
        params: the section ``ingest``; what it would do, also when it was changed since the index.
        private: show descriptions too, which may hold names; only on a terminal.

    Raises:
        VoxelwayError: E-USAGE when the folder was not indexed, the subject is not known or private
            text would go into a file.
    """
    if private and not sys.stdout.isatty():
        what = "--private shows what people typed, and the output is no terminal"
        raise VoxelwayError("E-USAGE", what, hint="Leave it out, or look at it on a terminal")
    name = subject.removeprefix("sub-")
    for entry in entries(name, dicom, results, params):
        print(f"{entry.series}  {entry.facts}")
        if private:
            print(f"    described as {entry.private!r}")
        print(f"    {entry.fate}")
    return Exit.DONE


def entries(subject: str, dicom: Path, results: Results, params: Mapping[str, Any]) -> list[Entry]:
    """What :func:`explain` tells, in the order of series numbers."""
    key = read_key(results)
    with cache.reading(results, dicom) as known:
        if known is None:
            what = "This folder was not indexed into these results, or by another version"
            raise VoxelwayError("E-USAGE", what, hint="Run `voxelway index` without --explain")
        numbers = _series_of(subject, known, key)
        patient = examine(known, key, subject, numbers, params)
        sessions = Registry.read(results).session(subject, ())
        chosen = patient.choose()
        found = [*_taken(chosen, sessions, params)]
        found += [_left(item, params) for item in patient.refusals]
    return sorted(found, key=lambda entry: (entry.number, entry.series, entry.fate))


def _series_of(subject: str, known: Cache, key: bytes) -> list[int]:
    for patient, numbers in known.patients():
        if patient and pseudonym(key, patient) == subject:
            return numbers
    hint = "participants.tsv and quarantine.tsv have the subjects"
    raise VoxelwayError("E-USAGE", f"No subject {subject} is in the index", hint=hint)


def _taken(
    chosen: Mapping[str, Mapping[str, Candidate]],
    sessions: Mapping[str, str],
    params: Mapping[str, Any],
) -> Iterator[Entry]:
    for study, images in chosen.items():
        for suffix, item in images.items():
            told = f"taken as {suffix} of session {sessions.get(study, 'to come')}"
            rule = select.rule_of(item.volume, params)
            if rule is not None:
                keys = ", ".join(key for key in params["protocol"][rule] if key != "suffix")
                told += f", by rule {rule + 1} of the protocol ({keys})"
            told += "".join(f"; {note.code}: {note.message}" for note in item.notes)
            yield _entry(item.volume, told, params)


def _left(item: Refusal, params: Mapping[str, Any]) -> Entry:
    kind = "left out" if item.finding.code in select.LEFT_OUT else "refused"
    told = f"{kind}, {item.finding.code}: {item.finding.message}"
    return _entry(volumes(Series(item.series, item.headers))[0], told, params)


def _entry(volume: Volume, fate: str, params: Mapping[str, Any]) -> Entry:
    common = volume.common
    private = common.description or common.protocol
    label = volume.series.label
    return Entry(common.series_number, label, described(volume, params), fate, private)


def described(volume: Volume, params: Mapping[str, Any]) -> str:
    """What kind of image a volume is: codes of the standard and numbers, no text of a person."""
    common, known = volume.common, dict(volume.common.facts)
    parts = [str(known.get("Modality", "other")), common.manufacturer]
    sequence = known.get("ScanningSequence", ())
    parts += ["+".join([sequence] if isinstance(sequence, str) else sequence)]
    parts += [str(known.get("MRAcquisitionType", ""))]
    if volume.headers[0].is_image:
        parts += [*_timing(volume), *_grid(volume)]
        parts += ["contrast agent given" if select.enhanced(volume, params) else "no agent"]
    count = len(volume.headers)
    parts += ["1 file" if count == 1 else f"{count} files"]
    return ", ".join(filter(None, parts)) + echo_told(volume)


def _timing(volume: Volume) -> list[str]:
    common = volume.common
    times = {
        "TR": common.repetition_time,
        "TE": volume.echo_time,
        "TI": common.inversion_time,
    }
    told = [f"{name} {value:g}" for name, value in times.items() if value]
    return [f"{' '.join(told)} ms"] if told else []


def _grid(volume: Volume) -> list[str]:
    common, stack = volume.common, volume.stack
    told = [select.orientation(volume), f"{common.columns}x{common.rows}x{len(volume.planes)}"]
    if stack is not None:
        rows, columns = stack.spacing
        told += [f"{columns:.2f}x{rows:.2f}x{stack.step:.2f} mm"]
    if common.thickness:
        told += [f"{common.thickness:g} mm thick"]
    return told
