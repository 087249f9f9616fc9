"""What is known of each session's acquisition: scanner, site, date, contrasts, resolution.

Batch effects and robustness are told by these. They come from the manifest and from the sidecars
and scans.tsv of rawdata, never from an image. Voxelway's own sidecars hold no place, no date and
no model of a scanner, because those may identify a person; a dataset converted elsewhere may.
"""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.paths import Results, Unit

#: Longest text that is taken from a header; a longer one is no name of a scanner or site.
LONGEST = 80
#: Texts that stand where nothing is known.
SILENT = frozenset({"unknown", "n/a", "none", "anonymous", "anonymized"})


@dataclass(frozen=True)
class Series:
    """One acquired image.

    Attributes:
        suffix: contrast, as T1w.
        spacing: distance of columns, rows and slices in mm; None where the manifest is silent.
        thickness: slice thickness in mm; None where neither header nor manifest tells.
    """

    suffix: str
    spacing: tuple[float, float, float] | None = None
    thickness: float | None = None

    @property
    def in_plane(self) -> float | None:
        """Side of the square with the area of a pixel, mm."""
        return None if self.spacing is None else math.sqrt(self.spacing[0] * self.spacing[1])

    @property
    def volume(self) -> float | None:
        """Volume of a voxel, mm^3."""
        return None if self.spacing is None else math.prod(self.spacing)


@dataclass(frozen=True)
class Factors:
    """What is known of one session; texts are empty and numbers None where nothing is.

    Attributes:
        scanner: manufacturer and model.
        manufacturer: alone, for models that are too rare to compare.
        field_strength: tesla.
        site: institution, or station where there is no institution; as the header spells it.
        date: day of the acquisition, ``YYYY-MM-DD``; it may be shifted by de-identification.
        contrasts: suffixes of the acquired images, sorted.
        in_plane: in-plane voxel size in mm of the series with the smallest voxels.
        thickness: slice thickness in mm of the same series.
        series: every acquired image, sorted by suffix.
    """

    scanner: str = ""
    manufacturer: str = ""
    field_strength: float | None = None
    site: str = ""
    date: str = ""
    contrasts: tuple[str, ...] = ()
    in_plane: float | None = None
    thickness: float | None = None
    series: tuple[Series, ...] = ()

    def of(self, suffix: str) -> Series | None:
        """The acquired image of one contrast."""
        return next((one for one in self.series if one.suffix == suffix), None)

    @property
    def finest(self) -> Series | None:
        """The image with the smallest voxels, which the session rests on."""
        return min(self.series, key=lambda one: one.volume or math.inf, default=None)


def read(results: Results, units: Sequence[Unit]) -> dict[Unit, Factors]:
    """Read the factors of sessions; files that are absent or damaged count as silent.

    Args:
        results: the results folder.
        units: sessions; each gets an entry.
    """
    listed = _manifest(results.manifest)
    return {unit: _factors(results, unit, listed.get(unit, [])) for unit in units}


def _factors(results: Results, unit: Unit, rows: Sequence[Mapping[str, Any]]) -> Factors:
    folder = results.anat("ingest", unit)
    sidecars = _sidecars(folder, unit)
    listed = {suffix: row for row in rows if (suffix := _text(row.get("suffix")))}
    suffixes = sorted({*listed, *sidecars})
    found = [_series(name, listed.get(name, {}), sidecars.get(name, {})) for name in suffixes]
    finest = Factors(series=tuple(found)).finest or Series("")
    # the finest series first: where headers differ, it is the one that the session rests on
    order = sorted(found, key=lambda one: (one.suffix != finest.suffix, one.suffix))
    headers = [sidecars[one.suffix] for one in order if one.suffix in sidecars]
    facts = [listed[one.suffix] for one in order if one.suffix in listed]
    maker = _first_text(headers, "Manufacturer") or _first_text(facts, "manufacturer")
    return Factors(
        scanner=_scanner(maker, _first_text(headers, "ManufacturersModelName")),
        manufacturer=maker,
        field_strength=_first_number(headers, "MagneticFieldStrength")
        or _first_number(facts, "field_strength"),
        site=_first_text(headers, "InstitutionName") or _first_text(headers, "StationName"),
        date=_date(headers, folder.parent / f"{unit.name}_scans.tsv"),
        contrasts=tuple(suffixes),
        in_plane=finest.in_plane,
        thickness=finest.thickness,
        series=tuple(found),
    )


def _series(suffix: str, row: Mapping[str, Any], header: Mapping[str, Any]) -> Series:
    sides = [_number(row.get(f"spacing_{axis}")) for axis in "xyz"]
    x, y, z = sides
    spacing = None if x is None or y is None or z is None else (x, y, z)
    thickness = _number(header.get("SliceThickness")) or _number(row.get("thickness")) or z
    return Series(suffix, spacing, thickness)


def _scanner(maker: str, model: str) -> str:
    if maker.casefold() in model.casefold():
        return model
    return f"{maker} {model}".strip()


def _date(headers: Iterable[Mapping[str, Any]], scans: Path) -> str:
    """The earliest day that sidecars or scans.tsv give."""
    names = ("AcquisitionDateTime", "AcquisitionDate")
    told = [_text(header.get(name)) for header in headers for name in names]
    told += [_text(row.get("acq_time")) for row in _rows(scans)]
    return min(filter(None, map(_day, told)), default="")


def _day(text: str) -> str:
    try:
        return datetime.fromisoformat(text).date().isoformat()
    except ValueError:
        return ""


def _manifest(path: Path) -> dict[Unit, list[dict[str, Any]]]:
    found: dict[Unit, list[dict[str, Any]]] = defaultdict(list)
    for row in _rows(path):
        found[Unit(_text(row.get("subject")), _text(row.get("session")))].append(row)
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            return list(csv.DictReader(handle, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _sidecars(folder: Path, unit: Unit) -> dict[str, dict[str, Any]]:
    """Suffix → content of the sidecars of a unit's acquired images."""
    try:
        paths = sorted(folder.glob(f"{unit.name}_*.json"))
    except OSError:
        return {}
    found = {path.stem.rpartition("_")[2]: _json(path) for path in paths}
    return {suffix: content for suffix, content in found.items() if suffix}


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _text(value: Any) -> str:
    """Text of a header on one line; nothing for what is no text or too long for a name."""
    text = " ".join(value.split()) if isinstance(value, str) else ""
    known = len(text) <= LONGEST and text.isprintable() and text.casefold() not in SILENT
    return text if known else ""


def _number(value: Any) -> float | None:
    """A positive finite number, of a number or its text; None else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _first_text(contents: Iterable[Mapping[str, Any]], name: str) -> str:
    return next(filter(None, (_text(content.get(name)) for content in contents)), "")


def _first_number(contents: Iterable[Mapping[str, Any]], name: str) -> float | None:
    return next(filter(None, (_number(content.get(name)) for content in contents)), None)
