"""DICOM in archives: the same index as of plain files, series unpacked one by one."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline import files, runner
from pipeline.errors import VoxelwayError
from pipeline.ingest import archives, stage
from pipeline.ingest.headers import Header, Reject
from pipeline.ingest.index import index_folder
from pipeline.ingest.manifest import read_manifest, units
from pipeline.ingest.source import read_sources
from pipeline.paths import Results

from .ingest_dicom import params, series

KINDS = ("zip", "tar", "tar.gz", "tgz")


def pack(folder: Path, target: Path) -> None:
    """Put a folder into an archive and take it away."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if target.name.endswith(".zip"):
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
            for path in paths:
                made.write(path, f"../../{path.name}")
    else:
        mode = "w" if target.suffix == ".tar" else "w:gz"
        with tarfile.open(target, mode) as made:  # type: ignore[call-overload]
            for path in paths:
                made.add(path, f"../../{path.name}")
    shutil.rmtree(folder)


def packed(folder: Path, kind: str) -> Path:
    """A series in an archive in FOLDER/dicom."""
    series(folder / "loose")
    (folder / "dicom").mkdir()
    target = folder / "dicom" / f"export.{kind}"
    pack(folder / "loose", target)
    return target


def convert(folder: Path) -> Path:
    results = Results(folder / "results")
    index_folder(folder / "dicom", results, params())
    todo = units(read_manifest(results.manifest))
    runner.run_units(stage, todo, runner.Setup(results, params(), keep_going=True))
    return next(results.rawdata.rglob("*_T1w.nii.gz"))


@pytest.mark.parametrize("kind", KINDS)
def test_series_in_an_archive_is_converted_like_one_in_a_folder(tmp_path: Path, kind: str) -> None:
    plain, inside = tmp_path / "plain", tmp_path / "inside"
    series(plain / "dicom")
    inside.mkdir()
    packed(inside, kind)
    one, other = nib.load(convert(plain)), nib.load(convert(inside))
    assert np.array_equal(one.affine, other.affine)
    assert np.array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
    assert [path.name for path in (inside / "dicom").iterdir()] == [f"export.{kind}"]


def test_series_in_part_in_an_archive_and_in_part_beside_it(tmp_path: Path) -> None:
    paths = series(tmp_path / "loose")
    (tmp_path / "dicom").mkdir()
    for path in paths[5:]:
        shutil.move(path, tmp_path / "dicom" / path.name)
    pack(tmp_path / "loose", tmp_path / "dicom" / "rest.zip")
    assert nib.load(convert(tmp_path)).shape[2] == 10


def test_what_else_is_in_an_archive_is_reported(tmp_path: Path) -> None:
    series(tmp_path / "loose")
    (tmp_path / "loose" / "letter.txt").write_text("hello")
    (tmp_path / "loose" / "empty.dcm").write_bytes(b"")
    shutil.make_archive(str(tmp_path / "loose" / "inner"), "zip", tmp_path / "loose")
    pack(tmp_path / "loose", tmp_path / "a.zip")
    found = archives.read_archive(str(tmp_path / "a.zip"))
    assert sum(isinstance(item, Header) for item in found) == 10
    told = {Path(item.member).name: item.code for item in found if isinstance(item, Reject)}
    assert told == {
        "letter.txt": "D-NOT-DICOM",
        "empty.dcm": "D-UNREADABLE",
        "inner.zip": "D-UNREADABLE",
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
def test_archive_that_is_cut_off_is_refused_as_a_whole(
    tmp_path: Path, kind: str, share: float
) -> None:
    path = packed(tmp_path, kind)
    whole = path.read_bytes()
    # tar fills its end with zeros; a cut there loses nothing
    length = len(whole.rstrip(b"\0")) if kind == "tar" else len(whole)
    path.write_bytes(whole[: int(length * share)])
    (only,) = archives.read_archive(str(path))
    assert isinstance(only, Reject) and only.code in ("D-TRUNCATED", "D-UNREADABLE")
    assert only.path == str(path) and not only.member


def test_cut_between_two_members_is_noticed(tmp_path: Path) -> None:
    path = packed(tmp_path, "tar")
    with tarfile.open(path) as made:
        cut = made.getmembers()[6].offset
    path.write_bytes(path.read_bytes()[:cut])
    (only,) = archives.read_archive(str(path))
    assert isinstance(only, Reject) and only.code == "D-TRUNCATED" and "6 could be" in only.message


def test_damaged_member_header_is_no_end(tmp_path: Path) -> None:
    path = packed(tmp_path, "tar")
    with tarfile.open(path) as made:
        place = made.getmembers()[6].offset
    content = bytearray(path.read_bytes())
    content[place + 148 : place + 156] = b"99999999"
    path.write_bytes(content)
    (only,) = archives.read_archive(str(path))
    assert isinstance(only, Reject) and only.code == "D-TRUNCATED"


def test_encrypted_members_are_reported(tmp_path: Path) -> None:
    path = packed(tmp_path, "zip")
    content = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := content.find(mark, start)) >= 0:
            content[start + flags] |= 1
            start += 4
    path.write_bytes(content)
    found = archives.read_archive(str(path))
    assert {item.code for item in found if isinstance(item, Reject)} == {"D-UNREADABLE"}
    assert len(found) == 10 and "encrypted" in found[0].message  # type: ignore[union-attr]


def test_damaged_member_of_a_zip_costs_only_itself(tmp_path: Path) -> None:
    path = packed(tmp_path, "zip")
    content = bytearray(path.read_bytes())
    second = content.find(b"PK\x03\x04", 4)
    content[second] = 0
    third = content.find(b"PK\x03\x04", second + 4)
    content[third + 200] ^= 0x10
    path.write_bytes(content)
    found = archives.read_archive(str(path))
    assert [isinstance(item, Header) for item in found] == [True, False, False, *[True] * 7]
    codes = [item.code for item in found if isinstance(item, Reject)]
    assert set(codes) <= {"D-UNREADABLE", "D-TRUNCATED"}


def test_archive_without_files_is_reported(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w"):
        pass
    (only,) = archives.read_archive(str(tmp_path / "a.zip"))
    assert isinstance(only, Reject) and "no file" in only.message


def test_series_whose_archive_changed_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path, "zip")
    results = Results(tmp_path / "results")
    index_folder(tmp_path / "dicom", results, params())
    (unit,) = units(read_manifest(results.manifest))
    source = read_sources(results, unit)["T1w"]
    with archives.unpacked(source) as plain:
        assert len({item.path for item in plain.files}) == 10
        folder = Path(plain.files[0].path).parent
        assert all(Path(item.path).parent == folder and not item.member for item in plain.files)
    assert not folder.exists()
    series(tmp_path / "other", slices=9)
    pack(tmp_path / "other", path)
    with pytest.raises(VoxelwayError) as caught, archives.unpacked(source):
        pass
    assert caught.value.code == "D-UNREADABLE" and "lacks" in caught.value.what
    path.unlink()
    with pytest.raises(VoxelwayError, match="can't be read any more"), archives.unpacked(source):
        pass


def test_paths_of_members_are_told_in_the_private_folder_only(tmp_path: Path) -> None:
    packed(tmp_path, "tar.gz")
    with tarfile.open(tmp_path / "dicom" / "b.tgz", "w:gz") as made:
        note = tmp_path / "Doe_Jane.txt"
        note.write_text("hello")
        made.add(note, "Doe_Jane.txt")
    results = Results(tmp_path / "results")
    index_folder(tmp_path / "dicom", results, params())
    (row,) = files.read_tsv(results.quarantine)
    listing = files.read_json(results.private / "quarantine.json")
    assert listing[row["series"]] == [f"{tmp_path / 'dicom' / 'b.tgz'}|Doe_Jane.txt"]
    assert not any("Doe" in p.read_text() for p in results.root.rglob("*") if p.is_file())
