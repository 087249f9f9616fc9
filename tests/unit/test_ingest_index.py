"""The index: what is selected, under which names, with which split and session."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline import cli, files
from pipeline.errors import VoxelwayError
from pipeline.ingest import manifest, select
from pipeline.ingest.identity import make_key, normalised, pseudonym, read_key
from pipeline.ingest.index import index_folder
from pipeline.ingest.manifest import Row, read_manifest, units
from pipeline.ingest.registry import Registry, Subject, draw
from pipeline.ingest.source import read_sources
from pipeline.paths import Results, Unit

from .ingest_dicom import STEP, params, series, uid

T2 = {"SeriesDescription": "t2_tse_tra", "ProtocolName": "t2_tse_tra", "EchoTime": 95}
SHARES = {"train": 0.6, "val": 0.2}


def index(folder: Path, **changes: object) -> Results:
    results = Results(folder / "results")
    assert index_folder(folder / "dicom", results, params(**changes)) == 0
    return results


def left(results: Results) -> dict[str, str]:
    return {row["code"]: row["message"] for row in files.read_tsv(results.quarantine)}


def test_one_subject_with_two_contrasts(tmp_path: Path) -> None:
    series(tmp_path / "dicom" / "a")
    series(tmp_path / "dicom" / "deep" / "er", name="t2", **T2)
    results = index(tmp_path)
    rows = read_manifest(results.manifest)
    assert [row.suffix for row in rows] == ["T1w", "T2w"]
    first = rows[0]
    assert (first.rows, first.columns, first.slices, first.files) == (14, 12, 10, 10)
    assert (first.spacing_x, first.spacing_y, first.spacing_z) == (1.0, 1.0, STEP)
    assert first.voxels == 1680 and first.manufacturer == "Siemens" and first.session == "01"
    (unit,) = units(rows)
    source = read_sources(results, unit)["T1w"]
    assert [Path(item.path).name[-7:-4] for item in source.files] == [f"{n:03d}" for n in range(10)]
    assert source.facts["RepetitionTime"] == 2.0 and source.facts["EchoTime"] == 0.003


def test_what_is_no_anatomical_image_is_left_out_with_a_reason(tmp_path: Path) -> None:
    folder = tmp_path / "dicom"
    series(folder)
    series(folder, name="loc", slices=3, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    series(folder, name="mpr", ImageType=["DERIVED", "SECONDARY", "MPR"])
    series(folder, name="sr", slices=1, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    series(folder, name="bold", SeriesDescription="ep2d_bold", ProtocolName="ep2d_bold")
    (folder / "README.txt").write_text("not an image")
    later = series(folder, name="later", SeriesTime="120000")
    shutil.copy(later[0], folder / "again.dcm")
    results = index(tmp_path)
    assert len(read_manifest(results.manifest)) == 1
    found = left(results)
    assert set(found) == select.LEFT_OUT
    assert "acquired later" in found["D-DUPLICATE-CONTRAST"]


@pytest.mark.parametrize(
    ("better", "worse", "reason"),
    [
        ({}, {"ContrastBolusAgent": "Gd"}, "no contrast agent"),
        ({}, {"ImageType": ["DERIVED", "SECONDARY"]}, "original"),
        ({}, {"MRAcquisitionType": "2D"}, "3D"),
        ({}, {"slices": 9}, "more slices"),
        ({"SeriesNumber": 9}, {}, "higher series number"),
    ],
)
def test_the_best_of_two_series_is_taken(
    tmp_path: Path, better: dict[str, object], worse: dict[str, object], reason: str
) -> None:
    series(tmp_path / "dicom", name="x", **better)  # type: ignore[arg-type]
    series(tmp_path / "dicom", name="y", **worse)  # type: ignore[arg-type]
    results = index(tmp_path)
    (row,) = read_manifest(results.manifest)
    taken = read_sources(results, row.unit)["T1w"]
    assert "_x_" in taken.files[0].path
    assert any(reason in message for message in left(results).values())


def test_a_refused_series_gives_way_to_the_next_best(tmp_path: Path) -> None:
    series(tmp_path / "dicom", name="good")
    broken = series(tmp_path / "dicom", name="broken", SeriesTime="120000")
    broken[5].unlink()
    results = index(tmp_path)
    (row,) = read_manifest(results.manifest)
    assert "_good_" in read_sources(results, row.unit)["T1w"].files[0].path
    assert set(left(results)) == {"D-SLICES-MISSING"}


def test_series_that_only_says_derived_is_taken_when_there_is_no_other(tmp_path: Path) -> None:
    series(tmp_path / "dicom", ImageType=["DERIVED", "SECONDARY"])
    assert [row.suffix for row in read_manifest(index(tmp_path).manifest)] == ["T1w"]


@pytest.mark.parametrize(
    ("values", "suffix"),
    [
        ({"SeriesDescription": "AX FLAIR", "EchoTime": 90}, "FLAIR"),
        ({"SeriesDescription": "PD_tse", "EchoTime": 12}, "PDw"),
        ({"SeriesDescription": "pd+t2_tse", "EchoTime": 92}, "T2w"),
        ({"SeriesDescription": "sag 3D FSPGR"}, "T1w"),
        ({"SeriesDescription": "series 7", "ScanningSequence": ["GR", "IR"]}, "T1w"),
        (
            {
                "SeriesDescription": "?",
                "ScanningSequence": ["SE"],
                "EchoTime": 95,
                "RepetitionTime": 5000,
            },
            "T2w",
        ),
        (
            {"SeriesDescription": "?", "ScanningSequence": ["SE", "IR"], "EchoTime": 110}
            | {"InversionTime": 2500, "RepetitionTime": 9000},
            "FLAIR",
        ),
    ],
)
def test_protocol_goes_by_description_then_by_numbers(
    tmp_path: Path, values: dict[str, object], suffix: str
) -> None:
    series(tmp_path / "dicom", ProtocolName="", **values)  # type: ignore[arg-type]
    assert [row.suffix for row in read_manifest(index(tmp_path).manifest)] == [suffix]


def test_dual_echo_gives_both_contrasts(tmp_path: Path) -> None:
    for echo, name in ((11, "e1"), (92, "e2")):
        values = {"SeriesDescription": "pd+t2_tse", "EchoTime": echo, "SeriesInstanceUID": uid(1)}
        series(tmp_path / "dicom", name=name, ProtocolName="", **values)  # type: ignore[arg-type]
    results = index(tmp_path)
    rows = read_manifest(results.manifest)
    assert [row.suffix for row in rows] == ["PDw", "T2w"] and rows[0].series == rows[1].series
    found = read_sources(results, rows[0].unit)
    assert {suffix: item.echo for suffix, item in found.items()} == {"PDw": 11.0, "T2w": 92.0}
    assert all("_e2_" in item.path for item in found["T2w"].files)


def test_ids_that_differ_in_padding_or_case_are_one_subject(tmp_path: Path) -> None:
    series(tmp_path / "dicom", "abc-1 ")
    series(tmp_path / "dicom", "ABC-1", date="20210305")
    rows = read_manifest(index(tmp_path).manifest)
    assert len({row.subject for row in rows}) == 1
    assert [row.session for row in rows] == ["01", "02"]


def test_id_that_tries_to_be_a_path_stays_a_label(tmp_path: Path) -> None:
    series(tmp_path / "dicom", name="p", edit=lambda ds, n: setattr(ds, "PatientID", "../../etc"))
    results = index(tmp_path)
    (row,) = read_manifest(results.manifest)
    assert row.subject.isalnum()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dicom",
        "results",
        "results-private",
    ]


def test_sessions_follow_dates_and_stay_once_given(tmp_path: Path) -> None:
    series(tmp_path / "dicom", date="20200505")
    series(tmp_path / "dicom", name="t2", date="20200505", **T2)
    results = index(tmp_path)
    assert [row.session for row in read_manifest(results.manifest)] == ["01", "01"]
    series(tmp_path / "dicom", date="20190101")
    series(tmp_path / "dicom", date="20210101")
    index(tmp_path)
    rows = read_manifest(results.manifest)
    dates = {
        row.session: read_sources(results, row.unit)["T1w"].files[0].path[-16:-8]
        for row in rows
        if row.suffix == "T1w"
    }
    assert dates == {"01": "20200505", "02": "20190101", "03": "20210101"}


def test_new_subject_leaves_the_records_of_the_others_alone(tmp_path: Path) -> None:
    for number in range(5):
        series(tmp_path / "dicom", f"P{number}")
    results = index(tmp_path)
    before = {row.subject: row for row in read_manifest(results.manifest)}
    ages = {path.name: path.stat().st_mtime_ns for path in results.private.glob("units/*")}
    series(tmp_path / "dicom", "P9")
    index(tmp_path)
    after = {row.subject: row for row in read_manifest(results.manifest)}
    assert {name: after[name] for name in before} == before
    (new,) = set(after) - set(before)
    assert after[new].split == "test" and after[new].shard == 1
    paths = {path.name: path for path in results.private.glob("units/*")}
    assert len(paths) == 6
    assert {name: paths[name].stat().st_mtime_ns for name in ages} == ages


def test_a_changed_file_changes_the_digest_and_the_record(tmp_path: Path) -> None:
    paths = series(tmp_path / "dicom")
    results = index(tmp_path)
    (before,) = read_manifest(results.manifest)
    os.utime(paths[3], ns=(1, 1))
    index(tmp_path)
    (after,) = read_manifest(results.manifest)
    assert before.digest != after.digest


def test_subject_whose_dicom_is_gone_leaves_the_manifest(tmp_path: Path) -> None:
    series(tmp_path / "dicom", "P1")
    gone = series(tmp_path / "dicom", "P2")
    results = index(tmp_path)
    for path in gone:
        path.unlink()
    index(tmp_path)
    assert len(units(read_manifest(results.manifest))) == 1
    assert len(list(results.private.glob("units/*"))) == 1


def test_folders_are_written_down_before_the_manifest(tmp_path: Path) -> None:
    series(tmp_path / "dicom" / "a" / "b")
    results = index(tmp_path)
    ledger = results.private / "dirs.json"
    known = json.loads(ledger.read_text())
    root = (tmp_path / "dicom").resolve()
    assert set(known) == {str(root), str(root / "a"), str(root / "a" / "b")}
    assert known[str(root)] == root.stat().st_mtime_ns
    assert ledger.stat().st_mtime_ns <= results.manifest.stat().st_mtime_ns


def test_links_and_loops_are_read_once(tmp_path: Path) -> None:
    paths = series(tmp_path / "elsewhere")
    folder = tmp_path / "dicom"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    (folder / "a.dcm").symlink_to(paths[0])
    (folder / "nowhere").symlink_to(tmp_path / "gone")
    results = index(tmp_path)
    (row,) = read_manifest(results.manifest)
    assert row.files == 10
    assert set(left(results)) == {"D-UNREADABLE"}


def test_private_folder_and_key_are_the_owners_only(tmp_path: Path) -> None:
    series(tmp_path / "dicom")
    results = index(tmp_path)
    assert stat.S_IMODE(results.private.stat().st_mode) == 0o700
    key = results.private / "pseudonym.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    text = key.read_text().strip()
    assert not any(text in p.read_text(errors="ignore") for p in results.root.rglob("*.*"))
    assert make_key(results) == read_key(results)


def test_lost_key_is_refused_instead_of_new_names(tmp_path: Path) -> None:
    series(tmp_path / "dicom")
    results = index(tmp_path)
    before = results.manifest.read_bytes()
    (results.private / "pseudonym.key").unlink()
    with pytest.raises(VoxelwayError, match="the key they were made with is gone"):
        index(tmp_path)
    assert results.manifest.read_bytes() == before


@given(st.text(min_size=1, max_size=30))
def test_pseudonyms_are_labels_and_depend_on_the_key(patient: str) -> None:
    if not normalised(patient):
        with pytest.raises(VoxelwayError) as caught:
            pseudonym(b"k" * 32, patient)
        assert caught.value.code == "D-NO-PATIENT"
        return
    label = pseudonym(b"k" * 32, patient)
    assert label.isascii() and label.isalnum() and len(label) == 11 and label == label.lower()
    assert label == pseudonym(b"k" * 32, f"  {patient}  ")
    assert label != pseudonym(b"K" * 32, patient)


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=60), st.integers(0, 9))
def test_split_has_every_part_and_ignores_the_pseudonym(numbers: set[int], seed: int) -> None:
    patients = {f"p{number}": f"ID{number}" for number in numbers}
    split = draw(patients, SHARES, seed)
    assert set(split) == set(patients)
    if len(numbers) >= 3:
        assert set(split.values()) == {"train", "val", "test"}
        train = sum(value == "train" for value in split.values())
        assert abs(train - 0.6 * len(numbers)) <= 1.5
    renamed = draw({f"q{number}": f" id{number} " for number in numbers}, SHARES, seed)
    assert {name[1:]: part for name, part in renamed.items()} == {
        name[1:]: part for name, part in split.items()
    }


def test_seven_subjects_split_by_hand() -> None:
    # 7 x 0.6 = 4.2 -> 4 and 7 x 0.2 = 1.4 -> 1, so 2 are left for testing
    split = list(draw({str(n): str(n) for n in range(7)}, SHARES, 0).values())
    assert (split.count("train"), split.count("val"), split.count("test")) == (4, 1, 2)
    assert set(draw({"a": "1"}, SHARES, 0).values()) == {"train"}
    assert sorted(draw({"a": "1", "b": "2"}, SHARES, 0).values()) == ["test", "train"]


def test_shards_are_never_filled_up() -> None:
    registry = Registry({name: Subject("test") for name in "abcd"})
    registry.assign_shards([Unit(name, "01") for name in "abc"], 2)
    registry.assign_shards([Unit(name, "01") for name in "abcd"], 2)
    assert [registry.subjects[name].shards["01"] for name in "abcd"] == [0, 0, 1, 2]


def test_manifest_columns_are_those_of_the_schema() -> None:
    folder = Path(manifest.__file__).parents[2] / "workflow" / "schemas"
    schema = yaml.safe_load((folder / "manifest.schema.yaml").read_text())
    assert list(schema["properties"]) == list(manifest.COLUMNS) == schema["required"]


def test_manifest_is_read_back_and_checked(tmp_path: Path) -> None:
    row = Row(
        "p1", "01", "s1", "T1w", "MR", "GE", None, 4, 5, 6, 1, 1, 2, None, 6, 120, "val", 0, "ab"
    )
    path = tmp_path / "manifest.tsv"
    other = dataclasses.replace(row, suffix="T2w", voxels=240)
    manifest.write_manifest(path, [other, row])
    assert read_manifest(path) == [row, other]
    assert manifest.contrasts_of([row, other], row.unit) == ["T1w", "T2w"]
    assert manifest.split_of([row], row.unit) == "val"
    assert manifest.voxels_of([row, other], row.unit) == 240
    text = path.read_text()
    for damage, words in (
        (text.replace("suffix\t", "", 1), "lacks the columns suffix"),
        (text.replace("digest", "digest\textra", 1), "unknown columns extra"),
        (text.replace("\t120\t", "\tmany\t", 1), "voxels is 'many'"),
        (text.replace("\tval\t", "\tholdout\t", 1), "split is 'holdout'"),
        (text.rstrip()[:-8], "shard is None"),
        (text + text.splitlines()[1] + "\n", "two rows of T1w"),
    ):
        path.write_text(damage)
        with pytest.raises(VoxelwayError) as caught:
            read_manifest(path)
        assert caught.value.code == "E-MANIFEST" and words in str(caught.value)


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_folders_without_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("index", empty, tmp_path / "results") == 3
    assert "E-DCM-FOLDER" in capsys.readouterr().err
    (empty / "letter.txt").write_text("hello")
    assert run("index", empty, tmp_path / "results") == 3
    told = capsys.readouterr().err
    assert "E-DCM-NONE" in told and "None of the 1 files" in told and "Traceback" not in told
    assert run("index", tmp_path / "nowhere", tmp_path / "results") == 2
    assert "E-CONFIG-PATH" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


def test_results_that_can_not_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series(tmp_path / "dicom")
    (tmp_path / "results").write_text("a file, no folder")
    assert run("index", tmp_path / "dicom", tmp_path / "results") == 4
    assert "E-DIR-WRITE" in capsys.readouterr().err
    assert run("convert", tmp_path / "dicom", tmp_path / "results" / "below") == 4
    assert "E-DIR-WRITE" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dicom", "results"]
