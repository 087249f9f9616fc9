"""The private record of one unit: which DICOM files its images come from.

Light on imports: ``export`` reads it to find the series that labels belong to.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.paths import Results, Unit


@dataclass(frozen=True)
class SourceFile:
    """One file: absolute path, size in bytes, modification time in nanoseconds.

    Of a member of an archive, ``path`` is the archive's, size and time are the member's.
    """

    path: str
    size: int
    mtime_ns: int
    member: str = ""

    def check(self) -> None:
        """Refuse a file that vanished or changed since the index; its name is not told.

        Members of archives are compared when they are unpacked.

        Raises:
            VoxelwayError: D-UNREADABLE.
        """
        hint = "Run `voxelway index` again"
        try:
            found = Path(self.path).stat()
        except OSError as error:
            what = f"A source file can't be read any more ({error.strerror})"
            raise VoxelwayError("D-UNREADABLE", what, hint=hint) from error
        same = (found.st_size, found.st_mtime_ns) == (self.size, self.mtime_ns)
        if not self.member and not same:
            what = "A source file changed after it was indexed"
            raise VoxelwayError("D-UNREADABLE", what, hint=hint)


@dataclass(frozen=True)
class Geometry:
    """Grid of a volume as the headers tell it.

    ``orientation`` is ImageOrientationPatient; ``spacing`` is between columns, between rows and
    between slices in mm; ``first`` and ``last`` are ImagePositionPatient of the outermost slices
    along the normal; ``tilt`` is the angle in degrees between the normal and the line of the
    slices; ``regular`` tells whether the slices are evenly spaced.
    """

    rows: int
    columns: int
    slices: int
    spacing: tuple[float, float, float]
    orientation: tuple[float, float, float, float, float, float]
    first: tuple[float, float, float]
    last: tuple[float, float, float]
    tilt: float = 0.0
    regular: bool = True


@dataclass(frozen=True)
class Source:
    """One image to be converted.

    ``files`` are in the order of the slices. ``echo`` is the echo time in ms when the files hold
    several echoes of which this image is one. ``facts`` go into the BIDS sidecar.
    """

    suffix: str
    series: str
    files: tuple[SourceFile, ...]
    geometry: Geometry
    echo: float | None
    facts: dict[str, Any]
    findings: tuple[tuple[str, str], ...]
    #: files that dcm2niix can't read as they are
    rewrite: bool = False
    #: time points of a 4D image
    volumes: int = 1
    #: file and frame of each slice, volume after volume; empty where each file is one slice
    planes: tuple[tuple[int, int], ...] = ()
    #: whether the pixels are compressed, so that damage shows when they are decoded only
    compressed: bool = False


def read_sources(results: Results, unit: Unit) -> dict[str, Source]:
    """The images of one unit, suffix → source, sorted.

    Raises:
        VoxelwayError: E-FILE-READ when the unit was not indexed or the record is damaged.
    """
    path = results.unit_source(unit)
    content = files.read_json(path)
    try:
        return {suffix: _source(item) for suffix, item in sorted(content["images"].items())}
    except (KeyError, TypeError, AttributeError) as error:
        what = f"The record of the unit is damaged ({type(error).__name__}: {error})"
        hint = "Run `voxelway index` again"
        raise VoxelwayError("E-FILE-READ", what, where=unit.name, hint=hint) from error


def write_sources(results: Results, unit: Unit, sources: dict[str, Source]) -> bool:
    """Write the record of one unit when it differs; its age decides about a new conversion."""
    content = {
        "subject": unit.subject,
        "session": unit.session,
        "images": {suffix: dataclasses.asdict(source) for suffix, source in sources.items()},
    }
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
    return files.write_text_if_changed(results.unit_source(unit), text)


def _source(item: dict[str, Any]) -> Source:
    geometry: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in item["geometry"].items()
    }
    return Source(
        **{
            **item,
            "files": tuple(SourceFile(**each) for each in item["files"]),
            "geometry": Geometry(**geometry),
            "findings": tuple((code, text) for code, text in item["findings"]),
            "planes": tuple((file, frame) for file, frame in item["planes"]),
        }
    )
