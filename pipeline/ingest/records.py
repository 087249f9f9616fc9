"""What is written down of a chosen volume: the private record of its files, its manifest row."""

from __future__ import annotations

import hashlib
from typing import Any

from pipeline.errors import VoxelwayError
from pipeline.ingest import times
from pipeline.ingest.headers import Header
from pipeline.ingest.manifest import Row
from pipeline.ingest.patient import Candidate
from pipeline.ingest.source import Source, SourceFile
from pipeline.ingest.volume import Volume
from pipeline.paths import Unit

#: Transfer syntaxes that dcm2niix does not decode: JPEG Extended (12 bit), deflated.
_UNREADABLE = {"1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.1.99"}


def source_of(item: Candidate) -> Source:
    """The record that conversion works from."""
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
        compressed=any(_encapsulated(header) for header in headers),
    )


def _laid_out(parts: list[Volume]) -> tuple[list[Header], tuple[tuple[int, int], ...]]:
    """The files in the order of the slices, volume after volume, and where each slice is."""
    planes = [plane for part in parts for plane in part.planes]
    headers = list({id(plane.header): plane.header for plane in planes}.values())
    if len(headers) == len(planes):
        return headers, ()
    number = {id(header): n for n, header in enumerate(headers)}
    return headers, tuple((number[id(plane.header)], plane.frame.index) for plane in planes)


def _encapsulated(header: Header) -> bool:
    from pydicom.uid import UID

    syntax = UID(header.common.transfer_syntax)
    return bool(syntax.is_transfer_syntax and syntax.is_encapsulated)


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
    promised = common.promised
    facts: dict[str, Any] = {
        # without a promise nobody can tell whether slices are missing at the ends
        "SlicesPromised": promised if promised is not None else "by no attribute of the header",
    } | {name: list(value) if isinstance(value, tuple) else value for name, value in common.facts}
    facts["Manufacturer"] = common.manufacturer
    facts.update({name: round(ms / 1000.0, 9) for name, ms in milliseconds.items() if ms})
    facts.update({name: value for name, value in plain.items() if value})
    return facts


def row_of(unit: Unit, item: Candidate, source: Source) -> Row:
    """The manifest row, its split and shard still open."""
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
        split="",
        shard=-1,
        digest=_digest(source),
    )


def _digest(source: Source) -> str:
    """Changes when a file of the series is added, removed, replaced or reordered."""
    lines = [f"{n} {item.size} {item.mtime_ns}\n" for n, item in enumerate(source.files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
