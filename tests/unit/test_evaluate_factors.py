"""Factors of sessions from small files, whole, absent and damaged."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline import files
from pipeline.evaluate import factors
from pipeline.ingest import manifest
from pipeline.paths import Results, Unit

UNIT = Unit("a", "01")


def row(unit: Unit, suffix: str, sides: tuple[float, float, float], **more: Any) -> manifest.Row:
    fields: dict[str, Any] = {
        "subject": unit.subject, "session": unit.session, "series": "s", "suffix": suffix,
        "modality": "MR", "manufacturer": "GE", "field_strength": 1.5, "rows": 9, "columns": 9,
        "slices": 9, "spacing_x": sides[0], "spacing_y": sides[1], "spacing_z": sides[2],
        "thickness": None, "files": 9, "voxels": 729, "split": "train", "shard": 0,
        "digest": "0" * 16,
    }  # fmt: skip
    return manifest.Row(**{**fields, **more})


def header(results: Results, unit: Unit, suffix: str, content: Any) -> Path:
    path = results.image("ingest", unit, suffix, extension=".json")
    files.write_text(path, content if isinstance(content, str) else json.dumps(content))
    return path


def test_headers_and_manifest_together(tmp_path: Path) -> None:
    results = Results(tmp_path)
    manifest.write_manifest(results.manifest, [
        row(UNIT, "T1w", (1.0, 4.0, 1.5), thickness=1.2), row(UNIT, "T2w", (0.5, 0.5, 30.0)),
    ])  # fmt: skip
    header(results, UNIT, "T1w", {
        "Manufacturer": "Siemens", "ManufacturersModelName": "Prisma", "InstitutionName": "North",
        "StationName": "MR2", "MagneticFieldStrength": 3, "SliceThickness": 1.4,
        "AcquisitionDateTime": "2021-03-04T11:22:33.5",
    })  # fmt: skip
    header(results, UNIT, "T2w", {"AcquisitionDate": "20210302", "MagneticFieldStrength": 7})
    found = factors.read(results, [UNIT])[UNIT]
    assert (found.scanner, found.manufacturer, found.site) == ("Siemens Prisma", "Siemens", "North")
    # of the finest image: T1w with 6 mm^3 against 7.5; its header wins over the manifest
    assert (found.field_strength, found.thickness, found.in_plane) == (3.0, 1.4, 2.0)
    assert found.date == "2021-03-02"
    assert found.contrasts == ("T1w", "T2w")
    thick = found.of("T2w")
    assert thick is not None and (thick.thickness, thick.volume) == (30.0, 7.5)


def test_nothing_known_is_no_error(tmp_path: Path) -> None:
    assert factors.read(Results(tmp_path), [UNIT]) == {UNIT: factors.Factors()}


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "[" * 100_000])
def test_damaged_sidecar_leaves_the_manifest(tmp_path: Path, content: str) -> None:
    results = Results(tmp_path)
    manifest.write_manifest(results.manifest, [row(UNIT, "T1w", (1.0, 1.0, 1.0))])
    header(results, UNIT, "T1w", content)
    found = factors.read(results, [UNIT])[UNIT]
    assert (found.scanner, found.field_strength, found.thickness) == ("GE", 1.5, 1.0)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"subject\tsession\na\n", b"\0\n\0"])
def test_damaged_manifest_leaves_the_sidecars(tmp_path: Path, content: bytes) -> None:
    results = Results(tmp_path)
    results.manifest.write_bytes(content)
    header(results, UNIT, "FLAIR", {"Manufacturer": "Philips"})
    found = factors.read(results, [UNIT])[UNIT]
    assert (found.scanner, found.contrasts, found.in_plane) == ("Philips", ("FLAIR",), None)


def test_values_of_other_kinds_are_silent(tmp_path: Path) -> None:
    results = Results(tmp_path)
    header(results, UNIT, "T1w", {
        "Manufacturer": ["x"], "ManufacturersModelName": "m" * 500, "MagneticFieldStrength": True,
        "SliceThickness": -1, "AcquisitionDate": "yesterday", "StationName": "a\x07b",
        "InstitutionName": "unknown",
    })  # fmt: skip
    assert factors.read(results, [UNIT])[UNIT] == factors.Factors(
        contrasts=("T1w",), series=(factors.Series("T1w"),)
    )


def test_dates_of_scans_tsv(tmp_path: Path) -> None:
    results = Results(tmp_path)
    path = results.anat("ingest", UNIT).parent / f"{UNIT.name}_scans.tsv"
    files.write_text(path, "filename\tacq_time\nanat/x\t1923-05-06T01:02:03\nanat/y\tn/a\n")
    assert factors.read(results, [UNIT])[UNIT].date == "1923-05-06"


def test_model_is_not_doubled_and_other_units_do_not_mix(tmp_path: Path) -> None:
    results, other = Results(tmp_path), Unit("ab", "01")
    header(results, UNIT, "T1w", {"Manufacturer": "GE", "ManufacturersModelName": "ge Signa"})
    header(results, other, "T1w", {"Manufacturer": "Canon"})
    found = factors.read(results, [UNIT, other])
    assert [found[unit].scanner for unit in (UNIT, other)] == ["ge Signa", "Canon"]


def test_many_sessions_take_seconds(tmp_path: Path) -> None:
    results = Results(tmp_path)
    units = [Unit(f"s{n:04d}", "01") for n in range(500)]
    rows = [row(unit, suffix, (1, 1, 1)) for unit in units for suffix in ("T1w", "T2w")]
    manifest.write_manifest(results.manifest, rows)
    for one in rows:
        header(results, one.unit, one.suffix, {"Manufacturer": "GE", "Parameters": ["x" * 2000]})
    began = time.perf_counter()
    found = factors.read(results, units)
    assert time.perf_counter() - began < 5
    assert len(found) == 500 and all(one.scanner == "GE" for one in found.values())
