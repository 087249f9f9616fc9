"""The same series twice: copies are told from contradictions."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pydicom
import pytest

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.ingest import resent
from pipeline.ingest.index import index_folder
from pipeline.ingest.manifest import read_manifest
from pipeline.ingest.source import read_sources
from pipeline.paths import Results

from .ingest_dicom import change, params, series


def index(folder: Path) -> Results:
    results = Results(folder / "results")
    index_folder(folder / "dicom", results, params())
    return results


def quarantine(results: Results) -> dict[str, tuple[str, str]]:
    return {
        row["code"]: (row["files"], row["message"]) for row in files.read_tsv(results.quarantine)
    }


def test_copies_in_another_folder_are_left_out_with_a_note(tmp_path: Path) -> None:
    series(tmp_path / "dicom" / "a")
    shutil.copytree(tmp_path / "dicom" / "a", tmp_path / "dicom" / "b")
    results = index(tmp_path)
    (row,) = read_manifest(results.manifest)
    paths = [item.path for item in read_sources(results, row.unit)["T1w"].files]
    assert row.files == 10 and {Path(path).parent.name for path in paths} == {"a"}
    count, message = quarantine(results)["D-COPY"]
    assert count == "10" and "10 files are copies" in message
    listed = files.read_json(results.private / "quarantine.json")[row.series]
    assert {Path(path).parent.name for path in listed} == {"b"} and len(listed) == 10


def test_copies_that_another_sender_wrote_are_copies(tmp_path: Path) -> None:
    paths = series(tmp_path / "dicom" / "a")
    (tmp_path / "dicom" / "b").mkdir()
    for path in paths[2:5]:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"
        dataset.preamble = b"II" + bytes(126)
        dataset.save_as(tmp_path / "dicom" / "b" / path.name, enforce_file_format=True)
    results = index(tmp_path)
    assert read_manifest(results.manifest)[0].files == 10
    assert quarantine(results)["D-COPY"][0] == "3"


def test_copies_in_an_archive_are_left_out(tmp_path: Path) -> None:
    paths = series(tmp_path / "dicom" / "a")
    with zipfile.ZipFile(tmp_path / "dicom" / "b.zip", "w", zipfile.ZIP_DEFLATED) as made:
        for path in paths:
            made.write(path, path.name)
    results = index(tmp_path)
    (row,) = read_manifest(results.manifest)
    found = read_sources(results, row.unit)["T1w"].files
    assert row.files == 10 and not any(item.member for item in found)
    assert quarantine(results)["D-COPY"][0] == "10"


@pytest.mark.parametrize("what", ["a pixel", "a name", "a position", "cut", "syntax"])
def test_versions_that_differ_are_refused(tmp_path: Path, what: str) -> None:
    paths = series(tmp_path / "dicom" / "a")
    other = tmp_path / "dicom" / "b"
    other.mkdir()
    target = Path(shutil.copy(paths[4], other))
    if what == "a pixel":
        content = bytearray(target.read_bytes())
        content[-1] ^= 1
        target.write_bytes(content)
    elif what == "a name":
        change(target, PatientName="Other^Name")
    elif what == "a position":
        change(target, ImagePositionPatient=[-5.5, -6.5, 40])
    elif what == "cut":
        target.write_bytes(target.read_bytes()[:-20])
    else:
        dataset = pydicom.dcmread(target)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        dataset.save_as(target, enforce_file_format=True, implicit_vr=True)
    with pytest.raises(VoxelwayError) as caught:
        index(tmp_path)
    assert caught.value.code == "E-DCM-NONE"
    count, message = quarantine(Results(tmp_path / "results"))["D-COPY-DIFFERS"]
    assert count == "11" and message.startswith("1 objects are there in several versions")


def test_damaged_meta_length_makes_no_copies(tmp_path: Path) -> None:
    paths = series(tmp_path / "dicom")
    for path in paths[:2]:
        content = bytearray(path.read_bytes())
        place = content.index(b"\x02\x00\x00\x00UL\x04\x00") + 8
        content[place : place + 4] = b"\xff\xff\xff\x00"
        path.write_bytes(content)
    assert [resent.file_checksum(str(path)) for path in paths[:2]] == ["", ""]
    assert len({resent.file_checksum(str(path)) for path in paths[2:]}) == 8


def test_series_under_another_name_is_another_series(tmp_path: Path) -> None:
    series(tmp_path / "dicom")
    series(tmp_path / "dicom", name="t1b", SeriesTime="120000")
    results = index(tmp_path)
    assert set(quarantine(results)) == {"D-DUPLICATE-CONTRAST"}


def test_second_index_reads_no_content_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series(tmp_path / "dicom" / "a")
    shutil.copytree(tmp_path / "dicom" / "a", tmp_path / "dicom" / "b")
    first = index(tmp_path)
    before = first.quarantine.read_text()

    def never(path: str) -> str:
        raise AssertionError(path)

    monkeypatch.setattr(resent, "file_checksum", never)
    assert index(tmp_path).quarantine.read_text() == before
