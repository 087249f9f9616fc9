"""``voxelway index``: headers read, grouped, gated and selected; the manifest written.

One patient at a time: what is held in memory does not grow with the number of files.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pipeline import files
from pipeline.errors import Exit, VoxelwayError, from_os_error
from pipeline.ingest import bids, cache, reading, records, resent, rest, select
from pipeline.ingest.cache import Cache
from pipeline.ingest.findings import place
from pipeline.ingest.identity import (
    file_label,
    make_key,
    private_folder,
    pseudonym,
    same_pseudonym,
    series_label,
)
from pipeline.ingest.manifest import Row, write_manifest
from pipeline.ingest.patient import Candidate, Patient, Refusal
from pipeline.ingest.registry import Registry
from pipeline.ingest.source import Source, write_sources
from pipeline.ingest.volume import group
from pipeline.ingest.walk import Walk
from pipeline.paths import Results, Unit

QUARANTINE = ("code", "message", "subject", "series", "files")


@dataclass(frozen=True)
class Quarantined:
    """One row of quarantine.tsv."""

    code: str
    message: str
    subject: str
    series: str
    files: int

    @property
    def left_out(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.code in select.LEFT_OUT


@dataclass
class Index:
    """What was found in a DICOM folder.

    Attributes:
        refusals: what was not taken, files and series.
        rows: rows of the manifest.
        patients: pseudonym → PatientID.
        series: number of series that were read.
        rest: what the protocol leaves out and ``take: all`` converts nevertheless.
    """

    refusals: list[Quarantined] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    patients: dict[str, str] = field(default_factory=dict)
    series: int = 0
    rest: list[tuple[Unit, Source]] = field(default_factory=list)

    def name(self, key: bytes, patient: str) -> str:
        """Pseudonym of a normalised PatientID, empty for the empty one."""
        if not patient:
            return ""
        subject = pseudonym(key, patient)
        if self.patients.setdefault(subject, patient) != patient:
            raise same_pseudonym(subject)
        return subject


def index_folder(dicom: Path, results: Results, params: Mapping[str, Any]) -> int:
    """Index a DICOM folder into a results folder.

    Args:
        dicom: folder of any depth; it is only read.
        results: where manifest.tsv, quarantine.tsv, participants.tsv and the BIDS frame go.
        params: the section ``ingest`` of the configuration, and ``seed``.

    Raises:
        VoxelwayError: E-DCM-FOLDER, E-DCM-NONE when there is nothing to convert.
    """
    read_index(dicom, results, params)
    return Exit.DONE


def read_index(dicom: Path, results: Results, params: Mapping[str, Any]) -> Index:
    """As :func:`index_folder`, and returns what was found."""
    walk = Walk(dicom, (results.root, results.private))
    with _folders(results), cache.opened(results, walk.root) as known:
        _read(walk, known)
        index = _judge(known, results, params)
    _write_tables(index, results)
    _write_folders(walk, results)
    # last: the workflow takes a manifest for a finished index
    write_manifest(results.manifest, index.rows)
    _tell(index)
    if not index.rows and not index.rest:
        what = f"{index.series} series were read and none of them can be used"
        hint = f"{results.quarantine} tells why, series by series"
        raise VoxelwayError("E-DCM-NONE", what, where=str(dicom), hint=hint)
    return index


@contextmanager
def _folders(results: Results) -> Iterator[None]:
    """Make the folders of results; those that are new go again when there is nothing to index.

    Raises:
        VoxelwayError: E-DIR-WRITE, E-DISK-FULL.
    """
    new = [folder for folder in (results.root, results.private) if not folder.exists()]
    try:
        results.root.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".part-", dir=results.root) as probe:
            probe.write(b"0")
    except OSError as error:
        raise from_os_error(error, str(results.root)) from error
    private_folder(results.private)
    try:
        yield
    except VoxelwayError as error:
        if error.code in ("E-DCM-FOLDER", "E-DCM-NONE"):
            if results.private in new:
                cache.drop(results)
            for folder in new:
                with suppress(OSError):
                    folder.rmdir()
        raise


def _read(walk: Walk, known: Cache) -> None:
    """Bring the cache of headers up to date with the folder.

    Raises:
        VoxelwayError: E-DCM-FOLDER, E-DCM-NONE when no file is an image.
    """
    known.start()
    known.mark(walk.files())
    known.forget()
    count = known.count(unread=True)
    if count < walk.count:
        print(f"{walk.count - count} of {walk.count} files are known", file=sys.stderr)
    for path, read in reading.read_files(known.unread(), count):
        known.store(path, read)
    if not known.has_images():
        what = f"None of the {walk.count} files is a DICOM image"
        hint = "Point `dicom` at the folder that the images were exported to"
        raise VoxelwayError("E-DCM-NONE", what, where=str(walk.root), hint=hint)


def _judge(known: Cache, results: Results, params: Mapping[str, Any]) -> Index:
    """Gate and select patient by patient; writes the private records of the units."""
    key, registry, index = make_key(results), Registry.read(results), Index()
    units: dict[Unit, list[Row]] = {}
    with _private_listing(results) as listing:
        for reject in known.rejects():
            label = file_label(key, place(reject))
            index.refusals.append(Quarantined(reject.code, reject.message, "", label, 1))
            listing.add({label: [place(reject)]})
        for name, numbers in known.patients():
            patient = examine(known, key, index.name(key, name), numbers, params)
            chosen, left = patient.choose(), rest.judged(patient)
            index.series += len(numbers)
            index.refusals += [_quarantined(item) for item in patient.refusals]
            listing.add(_paths(key, patient.refusals))
            if chosen or left:
                subject = patient.subject
                labels = registry.session(subject, {*chosen, *(study for study, _ in left)})
                units.update(_write_units(subject, chosen, labels, results))
                index.rest += [(Unit(subject, labels[study]), item) for study, item in left]
    kept = {unit.subject for unit in units}
    registry.enrol({name: index.patients[name] for name in sorted(kept)}, params)
    registry.assign_shards(units, params["shard_size"])
    registry.write(results)
    _forget_units(results, set(units))
    index.rows = [
        dataclasses.replace(row, **_given(registry, unit))
        for unit, rows in sorted(units.items())
        for row in rows
    ]
    return index


def _given(registry: Registry, unit: Unit) -> dict[str, Any]:
    """What a row has from the registry."""
    entry, session = registry.subjects[unit.subject], unit.session
    shard, place_in_it = entry.shards[session], entry.places.get(session, 0)
    return {"split": entry.split, "shard": shard, "place": place_in_it}


def examine(
    known: Cache, key: bytes, subject: str, numbers: Iterable[int], params: Mapping[str, Any]
) -> Patient:
    """Put the series of one patient through selection and gate."""
    patient, people = Patient(key, subject, params), set[int]()
    for number in numbers:
        for headers in group(known.series(number)):
            people.update(header.common.person for header in headers)
            label = series_label(key, headers[0].common.series_uid)
            patient.add(label, headers, resent.contents(known))
    if subject:
        patient.check_person(people)
    return patient


def _quarantined(item: Refusal) -> Quarantined:
    told = item.finding
    return Quarantined(told.code, told.message, item.subject, item.series, len(item.headers))


def _write_units(
    subject: str,
    chosen: Mapping[str, dict[str, Candidate]],
    labels: Mapping[str, str],
    results: Results,
) -> dict[Unit, list[Row]]:
    """Write the record of each session of a subject."""
    rows = {}
    for study, images in chosen.items():
        unit = Unit(subject, labels[study])
        sources = {suffix: records.source_of(item) for suffix, item in images.items()}
        write_sources(results, unit, sources)
        rows[unit] = [records.row_of(unit, images[name], sources[name]) for name in sources]
    return rows


def _forget_units(results: Results, units: set[Unit]) -> None:
    """Remove the records of units whose DICOM is gone."""
    wanted = {results.unit_source(unit) for unit in units}
    folder = results.unit_source(Unit("x", "y")).parent
    for path in folder.glob("sub-*.json"):
        if path not in wanted:
            path.unlink()


class _Listing:
    """Where the files of the quarantine are: label → paths, JSON written bit by bit."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream, self.begun = stream, False

    def add(self, paths: Mapping[str, list[str]]) -> None:
        for label, found in sorted(paths.items()):
            self.stream.write("," if self.begun else "{")
            self.stream.write(f"\n{json.dumps(label)}: {json.dumps(found)}")
            self.begun = True


@contextmanager
def _private_listing(results: Results) -> Iterator[_Listing]:
    path = results.private / "quarantine.json"
    with files.atomic(path) as part, part.open("w", encoding="utf-8") as stream:
        listing = _Listing(stream)
        yield listing
        stream.write("\n}\n" if listing.begun else "{}\n")


def _paths(key: bytes, refusals: Iterable[Refusal]) -> dict[str, list[str]]:
    """Where the files of one patient's refused series are, and those that a message names."""
    found: dict[str, set[str]] = {}
    for item in refusals:
        found.setdefault(item.series, set()).update(place(header) for header in item.headers)
        for path in item.finding.paths:
            found[file_label(key, path)] = {path}
    return {label: sorted(paths) for label, paths in found.items()}


def _write_tables(index: Index, results: Results) -> None:
    ordered = sorted(index.refusals, key=lambda r: (r.left_out, r.subject, r.series, r.code))
    files.write_tsv(results.quarantine, QUARANTINE, [vars(item) for item in ordered])
    bids.write_dataset(results, index.rows)


def _write_folders(walk: Walk, results: Results) -> None:
    text = json.dumps(walk.folders, indent=0, sort_keys=True) + "\n"
    files.write_text(results.private / "dirs.json", text)


def _tell(index: Index) -> None:
    """One line of numbers, and the counts of the codes."""
    subjects = len({row.subject for row in index.rows})
    sessions = len({row.unit for row in index.rows})
    told = f"{len(index.rows)} images of {subjects} subjects in {sessions} sessions"
    print(told, file=sys.stderr)
    for kind, wanted in (("refused", False), ("left out", True)):
        codes = Counter(item.code for item in index.refusals if item.left_out is wanted)
        if codes:
            told = ", ".join(f"{code} {count}" for code, count in sorted(codes.items()))
            print(f"{kind}: {told}", file=sys.stderr)
