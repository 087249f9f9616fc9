"""The protocol: orientation, contrast agent and numbers, and the order of preference."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.ingest import select
from pipeline.ingest.headers import Header, read_header
from pipeline.ingest.index import index_folder
from pipeline.ingest.manifest import read_manifest
from pipeline.ingest.source import read_sources
from pipeline.ingest.volume import Series, Volume, volumes
from pipeline.paths import Results

from .ingest_dicom import params, series

AXIAL, CORONAL, SAGITTAL = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1)


def volume(folder: Path, **values: object) -> Volume:
    found = [read_header(str(path)) for path in series(folder, slices=2, **values)]  # type: ignore[arg-type]
    headers = tuple(item for item in found if isinstance(item, Header))
    (only,) = volumes(Series("s1", headers))
    return only


def tilted(degrees: float) -> tuple[float, ...]:
    """Axial slices, nodded by so much."""
    angle = math.radians(degrees)
    return (1, 0, 0, 0, math.cos(angle), math.sin(angle))


@pytest.mark.parametrize(
    ("axes", "name"),
    [
        (AXIAL, "axial"),
        (CORONAL, "coronal"),
        (SAGITTAL, "sagittal"),
        (tilted(30), "axial"),
        (tilted(36), "axial"),
        (tilted(38), "oblique"),
        (tilted(52), "oblique"),
        (tilted(54), "coronal"),
        (None, ""),
    ],
)
def test_orientation_by_the_normal(
    tmp_path: Path, axes: tuple[float, ...] | None, name: str
) -> None:
    # arccos 0.8 is 36.9 degrees, and 90 - 36.9 is 53.1
    wanted = None if axes is None else [round(value, 6) for value in axes]
    assert select.orientation(volume(tmp_path, ImageOrientationPatient=wanted)) == name


@pytest.mark.parametrize(
    ("values", "given"),
    [
        ({}, False),
        ({"ContrastBolusAgent": "Gadovist"}, True),
        ({"ContrastBolusAgent": "NONE"}, False),
        ({"ContrastBolusAgent": " no "}, False),
        ({"SeriesDescription": "t1_mprage post"}, True),
        ({"SeriesDescription": "T1 SE +C"}, True),
        ({"SeriesDescription": "T1_GD_tra"}, True),
        ({"SeriesDescription": "t1 km tra"}, True),
        ({"SeriesDescription": "T1 pre contrast"}, False),
        ({"SeriesDescription": "T1 w/o contrast"}, False),
        ({"SeriesDescription": "t1 ohne KM"}, False),
        ({"SeriesDescription": "T1 posterior fossa"}, False),
    ],
)
def test_contrast_agent_by_header_and_description(
    tmp_path: Path, values: dict[str, object], given: bool
) -> None:
    assert select.enhanced(volume(tmp_path, **values), params()) is given


RULES = [
    {"suffix": "T1w", "description": "t1", "orientation": ["sagittal", "coronal"]},
    {"suffix": "T2w", "description": "t1", "contrast_agent": True},
    {"suffix": "PDw", "tr": [1500, 2500], "te": [0, 10], "ti": [800, 1000], "thickness": [3, 5]},
    {"suffix": "FLAIR", "description": "mprage", "thickness": [1, 2.5]},
]


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"ImageOrientationPatient": list(SAGITTAL)}, 0),
        ({"ImageOrientationPatient": list(CORONAL), "ContrastBolusAgent": "Gd"}, 0),
        ({"ContrastBolusAgent": "Gd"}, 1),
        ({"ImageOrientationPatient": None}, 0),
        ({"SliceThickness": 4}, 2),
        ({"SliceThickness": 4, "InversionTime": None}, None),
        ({}, 3),
        ({"SliceThickness": None}, 3),
        ({"SliceThickness": 2.6}, None),
    ],
)
def test_rules_by_geometry_agent_and_numbers(
    tmp_path: Path, values: dict[str, object], rule: int | None
) -> None:
    assert select.rule_of(volume(tmp_path, **values), params(protocol=RULES)) == rule


def index(folder: Path, **changes: object) -> Results:
    results = Results(folder / "results")
    index_folder(folder / "dicom", results, params(**changes))
    return results


def test_image_without_agent_is_preferred_to_a_thinner_one_with(tmp_path: Path) -> None:
    series(tmp_path / "dicom", name="plain", MRAcquisitionType="2D")
    series(tmp_path / "dicom", name="post", SeriesDescription="t1_mprage post", slices=20)
    results = index(tmp_path)
    (row,) = read_manifest(results.manifest)
    source = read_sources(results, row.unit)["T1w"]
    assert "_plain_" in source.files[0].path and not source.findings
    (left,) = files.read_tsv(results.quarantine)
    assert "no contrast agent" in left["message"]


def test_image_with_agent_is_taken_where_there_is_no_other_and_says_so(tmp_path: Path) -> None:
    series(tmp_path / "dicom", ContrastBolusAgent="x", ContrastBolusIngredient="GADOLINIUM")
    results = index(tmp_path)
    (row,) = read_manifest(results.manifest)
    source = read_sources(results, row.unit)["T1w"]
    assert [code for code, _ in source.findings] == ["D-CONTRAST-AGENT"]
    assert source.facts["ContrastBolusIngredient"] == "GADOLINIUM"


def test_rule_can_leave_images_with_agent_out(tmp_path: Path) -> None:
    series(tmp_path / "dicom", ContrastBolusAgent="x")
    rules = [{"suffix": "T1w", "description": "t1", "contrast_agent": False}]
    with pytest.raises(VoxelwayError, match="E-DCM-NONE"):
        index(tmp_path, protocol=rules)
    (left,) = files.read_tsv(Results(tmp_path / "results").quarantine)
    assert left["code"] == "D-CONTRAST"
