"""The manifest: one row a series that was kept; light, because the workflow reads it at parse."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.paths import Unit

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Row:
    """One image of one unit; workflow/schemas/manifest.schema.yaml tells units and ranges."""

    subject: str
    session: str
    series: str
    suffix: str
    modality: str
    manufacturer: str
    field_strength: float | None
    rows: int
    columns: int
    slices: int
    spacing_x: float
    spacing_y: float
    spacing_z: float
    thickness: float | None
    files: int
    voxels: int
    split: str
    shard: int
    digest: str
    place: int = 0

    @property
    def unit(self) -> Unit:
        """The unit that this image belongs to."""
        return Unit(self.subject, self.session)

    def shard_name(self, size: int) -> str:
        """Name of the job on at most ``size`` units that this one belongs to; it never changes."""
        return f"{self.shard:05d}x{self.place // size:03d}of{size}"


COLUMNS = tuple(item.name for item in dataclasses.fields(Row))
_READERS: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "float | None": lambda text: float(text) if text else None,
}
_TYPES = {item.name: _READERS[str(item.type)] for item in dataclasses.fields(Row)}


def read_manifest(path: Path) -> list[Row]:
    """Read and check a manifest.

    Raises:
        VoxelwayError: E-MANIFEST with the columns that are missing or the field that is wrong;
            E-FILE-READ when the file is absent.
    """
    _check_columns(path)
    rows = [_row(fields, f"{path}, line {n}") for n, fields in enumerate(files.read_tsv(path), 2)]
    seen: set[tuple[Unit, str]] = set()
    for row in rows:
        if (row.unit, row.suffix) in seen:
            what = f"{row.unit.name} has two rows of {row.suffix}"
            raise VoxelwayError("E-MANIFEST", what, where=str(path), hint=_HINT)
        seen.add((row.unit, row.suffix))
    return rows


_HINT = "Run `voxelway index` again; the manifest is not meant to be edited"


def _check_columns(path: Path) -> None:
    try:
        with path.open(encoding="utf-8") as handle:
            header = handle.readline().rstrip("\r\n").split("\t")
    except UnicodeDecodeError as error:
        raise VoxelwayError("E-MANIFEST", "No text file", where=str(path), hint=_HINT) from error
    except OSError as error:
        raise VoxelwayError("E-FILE-READ", str(error.strerror), where=str(path)) from error
    missing, extra = set(COLUMNS) - set(header), set(header) - set(COLUMNS)
    if missing or extra or len(header) != len(COLUMNS):
        parts = [f"lacks the columns {', '.join(sorted(missing))}"] if missing else []
        parts += [f"has unknown columns {', '.join(sorted(extra))}"] if extra else []
        what = "The manifest " + (" and ".join(parts) or "names a column twice")
        raise VoxelwayError("E-MANIFEST", what, where=str(path), hint=_HINT)


def _row(fields: Mapping[str, str | None], where: str) -> Row:
    values: dict[str, Any] = {}
    for name, read in _TYPES.items():
        text = fields[name]
        try:
            if not isinstance(text, str):
                raise TypeError("the line is short")
            values[name] = read(text)
        except (TypeError, ValueError) as error:
            what = f"{name} is {text!r}"
            raise VoxelwayError("E-MANIFEST", what, where=where, hint=_HINT) from error
    row = Row(**values)
    if row.split not in SPLITS:
        what = f"split is {row.split!r}, not one of {', '.join(SPLITS)}"
        raise VoxelwayError("E-MANIFEST", what, where=where, hint=_HINT)
    return row


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """Write a manifest, sorted by unit and suffix."""
    ordered = sorted(rows, key=lambda row: (row.unit, row.suffix))
    files.write_tsv(path, COLUMNS, [dataclasses.asdict(row) for row in ordered])


def units(rows: Iterable[Row]) -> list[Unit]:
    """The units of a manifest, sorted."""
    return sorted({row.unit for row in rows})


def contrasts_of(rows: Iterable[Row], unit: Unit) -> list[str]:
    """Suffixes that a unit has, sorted."""
    return sorted(row.suffix for row in rows if row.unit == unit)


def split_of(rows: Iterable[Row], unit: Unit) -> str:
    """``train``, ``val`` or ``test``, the same for all sessions of a subject.

    Raises:
        VoxelwayError: E-MANIFEST when the unit is not in the manifest.
    """
    return first(rows, unit).split


def voxels_of(rows: Sequence[Row], unit: Unit) -> int:
    """Voxels of the largest image of a unit, which decides the memory that its jobs ask for."""
    return max((row.voxels for row in rows if row.unit == unit), default=0)


def first(rows: Iterable[Row], unit: Unit) -> Row:
    """A row of the unit.

    Raises:
        VoxelwayError: E-MANIFEST when it has none.
    """
    for row in rows:
        if row.unit == unit:
            return row
    raise VoxelwayError("E-MANIFEST", "The unit is not in the manifest", where=unit.name)
