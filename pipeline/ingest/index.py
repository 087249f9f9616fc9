"""``voxelway index``: headers read, grouped, gated and selected; the manifest written."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.errors import Exit, VoxelwayError, from_os_error
from pipeline.ingest import bids, gate, policy, select, times, walk
from pipeline.ingest.gate import Finding
from pipeline.ingest.headers import Header, Reject
from pipeline.ingest.identity import file_label, make_key, normalised, pseudonym, series_label
from pipeline.ingest.manifest import Row, write_manifest
from pipeline.ingest.registry import Registry
from pipeline.ingest.source import Source, SourceFile, write_sources
from pipeline.ingest.volume import Series, Volume, group, volumes
from pipeline.paths import Results, Unit

QUARANTINE = ("code", "message", "subject", "series", "files")


@dataclass(frozen=True)
class Refusal:
    """One row of quarantine.tsv, and the files that it is about (for the private table)."""

    finding: Finding
    subject: str
    series: str
    paths: tuple[str, ...]

    @property
    def left_out(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.finding.code in select.LEFT_OUT


@dataclass(frozen=True)
class Candidate:
    """A volume that passed the gate."""

    volume: Volume
    suffix: str
    subject: str
    notes: tuple[Finding, ...]

    @property
    def study(self) -> str:
        """What sessions are told apart by: the date, or the study where there is no date."""
        common = self.volume.common
        return common.study_date or f"study {common.study_uid}"


@dataclass
class Index:
    """What was found in a DICOM folder."""

    key: bytes
    params: Mapping[str, Any]
    candidates: list[Candidate] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    patients: dict[str, str] = field(default_factory=dict)

    def add_reject(self, reject: Reject) -> None:
        """Note a file without a header."""
        label = file_label(self.key, reject.path)
        finding = Finding(reject.code, reject.message)
        self.refusals.append(Refusal(finding, "", label, (reject.path,)))

    def add_series(self, headers: tuple[Header, ...]) -> None:
        """Select, gate and note one series; objects of other kinds in it are set apart."""
        label = series_label(self.key, headers[0].common.series_uid)
        pictures = tuple(header for header in headers if header.is_image)
        others = tuple(header for header in headers if not header.is_image)
        if others:
            subject = self._subject(Series(label, others))
            what = Finding("D-NOT-IMAGE", "The object holds no image slices")
            self._refuse(what, subject, label, others)
        if pictures:
            self._add_images(Series(label, pictures))

    def _add_images(self, series: Series) -> None:
        subject = self._subject(series)
        reason = select.left_out(series, self.params)
        if reason is not None:
            self._refuse(reason, subject, series.label, series.headers)
            return
        found = volumes(series)
        suffixes = [select.suffix_of(volume, self.params) for volume in found]
        short = gate.same_length(found)
        for n, (volume, suffix) in enumerate(zip(found, suffixes, strict=True)):
            if suffix is None:
                what = Finding("D-CONTRAST", "No rule of the protocol takes it" + _echo(volume))
                self._refuse(what, subject, series.label, volume.headers)
            else:
                verdict = policy.judge(volume, self.params, filter(None, [short.get(n)]))
                self._admit(verdict, suffix, subject)

    def _admit(self, verdict: policy.Verdict, suffix: str, subject: str) -> None:
        """Note a volume that the gate judged: a candidate, or a refusal a code."""
        volume = verdict.volume
        for finding in policy.merged(verdict.refused):
            told = f"{suffix}{_echo(volume)}: {finding.message}"
            told += policy.labels(self.key, finding)
            what = Finding(finding.code, told, finding.paths)
            self._refuse(what, subject, volume.series.label, volume.headers)
        if not verdict.refused:
            self.candidates.append(Candidate(volume, suffix, subject, verdict.notes))

    def _refuse(
        self, finding: Finding, subject: str, series: str, headers: Iterable[Header]
    ) -> None:
        paths = tuple(header.path for header in headers)
        self.refusals.append(Refusal(finding, subject, series, paths))

    def _subject(self, series: Series) -> str:
        """Pseudonym, empty where the series names no patient or several."""
        names = {normalised(str(name)) for name in series.values("patient_id")}
        if len(names) != 1 or names == {""}:
            return ""
        patient = names.pop()
        subject = pseudonym(self.key, patient)
        if self.patients.setdefault(subject, patient) != patient:
            raise VoxelwayError("E-INTERNAL", "Two patients got the same pseudonym", where=subject)
        return subject

    def choose(self) -> dict[tuple[str, str], dict[str, Candidate]]:
        """The best candidate per subject, study day and suffix; the others are left out."""
        groups: dict[tuple[str, str], dict[str, list[Candidate]]] = {}
        for item in self.candidates:
            group_of = groups.setdefault((item.subject, item.study), {})
            group_of.setdefault(item.suffix, []).append(item)
        return {
            place: {suffix: self._best(items, suffix) for suffix, items in sorted(found.items())}
            for place, found in sorted(groups.items())
        }

    def _best(self, items: list[Candidate], suffix: str) -> Candidate:
        taken, others = select.best([item.volume for item in items], suffix)
        for volume, finding in others:
            subject = items[0].subject
            self._refuse(finding, subject, volume.series.label, volume.headers)
        return next(item for item in items if item.volume is taken)


def _echo(volume: Volume) -> str:
    return f" (echo of {volume.echo:g} ms)" if volume.echo is not None else ""


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
    tree = walk.walk(dicom, (results.root, results.private))
    headers, rejects = walk.read_headers(tree.files)
    if not any(header.is_image for header in headers):
        what = f"None of the {len(tree.files)} files is a DICOM image"
        hint = "Point `dicom` at the folder that the images were exported to"
        raise VoxelwayError("E-DCM-NONE", what, where=str(dicom), hint=hint)
    _writable(results.root)
    index = Index(make_key(results), params)
    for reject in rejects:
        index.add_reject(reject)
    for series in group(headers):
        index.add_series(series)
    rows = _write_units(index, results)
    _write_tables(index, rows, results)
    _write_folders(tree, results)
    # last: the workflow takes a manifest for a finished index
    write_manifest(results.manifest, rows)
    _tell(index, rows)
    if not rows:
        what = f"{len(group(headers))} series were read and none of them can be used"
        hint = f"{results.quarantine} tells why, series by series"
        raise VoxelwayError("E-DCM-NONE", what, where=str(dicom), hint=hint)
    return index


def _writable(folder: Path) -> None:
    """Refuse a folder that can't be written before anything else is.

    Raises:
        VoxelwayError: E-DIR-WRITE, E-DISK-FULL.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".part-", dir=folder) as probe:
            probe.write(b"0")
    except OSError as error:
        raise from_os_error(error, str(folder)) from error


def _write_units(index: Index, results: Results) -> list[Row]:
    """Give sessions, splits and shards, and write the private record of every unit."""
    chosen = index.choose()
    registry = Registry.read(results)
    kept = {subject: index.patients[subject] for subject, _ in chosen}
    registry.enrol(kept, index.params)
    units: dict[Unit, dict[str, Candidate]] = {}
    for subject in kept:
        studies = [study for name, study in chosen if name == subject]
        labels = registry.session(subject, studies)
        for study in studies:
            units[Unit(subject, labels[study])] = chosen[subject, study]
    registry.assign_shards(units, index.params["shard_size"])
    registry.write(results)
    rows = []
    for unit, images in sorted(units.items()):
        sources = {suffix: _source(item) for suffix, item in images.items()}
        write_sources(results, unit, sources)
        entry = registry.subjects[unit.subject]
        shard = entry.shards[unit.session]
        rows += [_row(unit, images[name], sources[name], entry.split, shard) for name in sources]
    _forget_units(results, set(units))
    return rows


def _forget_units(results: Results, units: set[Unit]) -> None:
    """Remove the records of units whose DICOM is gone."""
    wanted = {results.unit_source(unit) for unit in units}
    folder = results.unit_source(Unit("x", "y")).parent
    for path in folder.glob("sub-*.json"):
        if path not in wanted:
            path.unlink()


def _source(item: Candidate) -> Source:
    volume, parts = item.volume, times.split(item.volume)
    stack = parts[0].stack
    if stack is None:
        raise VoxelwayError("E-INTERNAL", f"A volume without geometry passed as {item.suffix}")
    headers, planes = _laid_out(parts)
    return Source(
        suffix=item.suffix,
        series=volume.series.label,
        files=tuple(SourceFile(h.path, h.size, h.mtime_ns, h.member) for h in headers),
        geometry=stack.geometry(volume.common),
        echo=volume.echo,
        facts=_facts(item),
        findings=tuple((note.code, note.message) for note in item.notes),
        rewrite=any(header.bare or _unreadable(header) for header in volume.headers),
        volumes=len(parts),
        planes=planes,
    )


def _laid_out(parts: list[Volume]) -> tuple[list[Header], tuple[tuple[int, int], ...]]:
    """The files in the order of the slices, volume after volume, and where each slice is."""
    planes = [plane for part in parts for plane in part.planes]
    headers = list({id(plane.header): plane.header for plane in planes}.values())
    if len(headers) == len(planes):
        return headers, ()
    number = {id(header): n for n, header in enumerate(headers)}
    return headers, tuple((number[id(plane.header)], plane.frame.index) for plane in planes)


#: Transfer syntaxes that dcm2niix does not decode: JPEG Extended (12 bit), deflated.
_UNREADABLE = {"1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.1.99"}


def _unreadable(header: Header) -> bool:
    return header.common.transfer_syntax in _UNREADABLE


def _facts(item: Candidate) -> dict[str, Any]:
    """Physical facts of a volume under their BIDS names and in BIDS units (s, T, mm, degrees)."""
    common = item.volume.common
    milliseconds = {
        "RepetitionTime": common.repetition_time,
        "InversionTime": common.inversion_time,
        "EchoTime": item.volume.echo_time,
    }
    plain = {
        "MagneticFieldStrength": common.field_strength,
        "FlipAngle": common.flip_angle,
        "SliceThickness": common.thickness,
        "SpacingBetweenSlices": common.slice_distance,
    }
    facts: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in common.facts
    }
    facts["Manufacturer"] = common.manufacturer
    facts.update({name: round(ms / 1000.0, 9) for name, ms in milliseconds.items() if ms})
    facts.update({name: value for name, value in plain.items() if value})
    return facts


def _row(unit: Unit, item: Candidate, source: Source, split: str, shard: int) -> Row:
    geometry, common = source.geometry, item.volume.common
    return Row(
        subject=unit.subject,
        session=unit.session,
        series=source.series,
        suffix=item.suffix,
        modality=common.modality,
        manufacturer=common.manufacturer,
        field_strength=common.field_strength,
        rows=geometry.rows,
        columns=geometry.columns,
        slices=geometry.slices,
        spacing_x=geometry.spacing[0],
        spacing_y=geometry.spacing[1],
        spacing_z=geometry.spacing[2],
        thickness=common.thickness,
        files=len(source.files),
        voxels=geometry.rows * geometry.columns * geometry.slices,
        split=split,
        shard=shard,
        digest=_digest(source),
    )


def _digest(source: Source) -> str:
    """Changes when a file of the series is added, removed, replaced or reordered."""
    lines = [f"{n} {item.size} {item.mtime_ns}\n" for n, item in enumerate(source.files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def _write_tables(index: Index, rows: list[Row], results: Results) -> None:
    ordered = sorted(
        index.refusals, key=lambda r: (r.left_out, r.subject, r.series, r.finding.code)
    )
    public = [
        {
            "code": item.finding.code,
            "message": item.finding.message,
            "subject": item.subject,
            "series": item.series,
            "files": len(item.paths),
        }
        for item in ordered
    ]
    files.write_tsv(results.quarantine, QUARANTINE, public)
    # where the files are is told only in the private folder
    private = {item.series: sorted({*item.paths}) for item in ordered}
    for item in ordered:
        private |= {file_label(index.key, path): [path] for path in item.finding.paths}
    files.write_json(results.private / "quarantine.json", private)
    bids.write_dataset(results, rows)


def _write_folders(tree: walk.Tree, results: Results) -> None:
    text = json.dumps(tree.folders, indent=0, sort_keys=True) + "\n"
    files.write_text(results.private / "dirs.json", text)


def _tell(index: Index, rows: list[Row]) -> None:
    """One line of numbers, and the counts of the codes."""
    subjects = len({row.subject for row in rows})
    sessions = len({row.unit for row in rows})
    print(f"{len(rows)} images of {subjects} subjects in {sessions} sessions", file=sys.stderr)
    for kind, wanted in (("refused", False), ("left out", True)):
        codes = Counter(r.finding.code for r in index.refusals if r.left_out is wanted)
        if codes:
            told = ", ".join(f"{code} {count}" for code, count in sorted(codes.items()))
            print(f"{kind}: {told}", file=sys.stderr)
