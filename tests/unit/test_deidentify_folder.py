"""`voxelway deidentify`: what is written, what is refused, and that the images are the same."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from pipeline import cli, files
from pipeline.deidentify import pixels as deidentify_pixels
from pipeline.ingest.identity import normalised, pseudonym
from pipeline.ingest.tool import program
from pipeline.phantom.cohort import write_subject

from .ingest_dicom import SHARED, change, series

needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="development data are absent")
KEY = bytes(range(32))


def run(source: Path, out: Path, key: bytes | None = KEY, **params: Any) -> int:
    """The verb, with a key file beside OUT_DIR."""
    options = ["--params", json.dumps(params)]
    if key is not None:
        file = out.parent / "key"
        file.write_text(key.hex())
        options += ["--key", str(file)]
    return cli.main(["deidentify", str(source), str(out), *options])


def written(out: Path) -> dict[Path, Path]:
    """Original → de-identified file."""
    told = json.loads((out.with_name(out.name + "-private") / "deidentified.json").read_text())
    return {Path(source): out / target for source, target in told["written"].items()}


def converted(folder: Path, target: Path) -> Counter[tuple[object, ...]]:
    """What dcm2niix makes of a folder: lattice and voxels of every image."""
    target.mkdir()
    options = ["-b", "n", "-z", "n", "-w", "2", "-f", "%s_%e"]
    subprocess.run([program(), *options, "-o", target, folder], capture_output=True, check=False)
    found = [nib.load(path) for path in target.glob("*.nii")]
    return Counter(
        (i.shape, tuple(np.round(i.affine.ravel(), 4)), np.asarray(i.dataobj).tobytes())
        for i in found
    )


def errors(path: Path) -> Counter[str]:
    """The errors that dciodvfy finds, without values."""
    tool = Path(sys.executable).with_name("dciodvfy")
    done = subprocess.run([tool, path], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return Counter(re.sub(r"<.*?>", "<>", line) for line in lines if line.startswith("Error"))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int]:
    folder = tmp_path_factory.mktemp("cohort")
    write_subject("P001", folder, 6.0, 0)
    return folder / "dicom", folder / "out", run(folder / "dicom", folder / "out")


def test_phantom_is_written_whole_and_refused_with_codes(cohort: tuple[Path, Path, int]) -> None:
    source, out, code = cohort
    assert code == 5
    refused = {row["code"]: int(row["files"]) for row in files.read_tsv(out / "quarantine.tsv")}
    assert refused.keys() == {"D-NOT-IMAGE"}
    count = sum(path.is_file() for path in source.rglob("*"))
    assert len(written(out)) == len(list(out.rglob("*.dcm"))) == count - sum(refused.values())
    assert not list(out.rglob(".part-*"))


def test_phantom_converts_to_the_same_images(
    cohort: tuple[Path, Path, int], tmp_path: Path
) -> None:
    source, out, _ = cohort
    before, after = converted(source, tmp_path / "a"), converted(out, tmp_path / "b")
    assert before and before == after


def test_phantom_has_no_new_errors(cohort: tuple[Path, Path, int]) -> None:
    first = {target.parent: (source, target) for source, target in written(cohort[1]).items()}
    for source, target in first.values():
        assert not errors(target) - errors(source)


@needs_data
@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["enhanced_multiframe_t1", "pd_t2_dual_echo", "head_ct_gantry_tilt"]
)
def test_scanners_images_stay_and_stay_valid(name: str, tmp_path: Path) -> None:
    source, out = SHARED / name / "dicom", tmp_path / "out"
    assert run(source, out) == 0
    assert converted(source, tmp_path / "a") == converted(out, tmp_path / "b")
    original, target = sorted(written(out).items())[0]
    assert not errors(target) - errors(original)


@needs_data
@pytest.mark.shared
def test_every_transfer_syntax_keeps_its_pixels(tmp_path: Path) -> None:
    folder = tmp_path / "dicom"
    folder.mkdir()
    for path in (SHARED / "transfer_syntaxes" / "dicom").rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        # only as a mosaic would it be refused
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID}.{len(list(folder.iterdir()))}"
        dataset.save_as(folder / path.name)
    assert run(folder, tmp_path / "out") == 0
    assert len(written(tmp_path / "out")) == 9
    for source, target in written(tmp_path / "out").items():
        before, after = pydicom.dcmread(source), pydicom.dcmread(target)
        assert before.file_meta.TransferSyntaxUID == after.file_meta.TransferSyntaxUID
        assert np.array_equal(before.pixel_array, after.pixel_array)


@needs_data
@pytest.mark.shared
def test_mosaic_is_refused(tmp_path: Path) -> None:
    assert run(SHARED / "transfer_syntaxes" / "dicom", tmp_path / "out") == 3
    rows = files.read_tsv(tmp_path / "out" / "quarantine.tsv")
    assert {row["code"] for row in rows} == {"D-MOSAIC"}


def test_patient_and_uids_are_those_of_the_key_over_jobs(tmp_path: Path) -> None:
    series(tmp_path / "a", "PAT-1", "t1", slices=2)
    series(tmp_path / "b", "pat-1 ", "t2", slices=2, FrameOfReferenceUID="1.2.3.4")
    series(tmp_path / "a", "PAT-1", "pd", slices=2, FrameOfReferenceUID="1.2.3.4")
    assert run(tmp_path / "a", tmp_path / "out1") == run(tmp_path / "b", tmp_path / "out2") == 0
    one = [pydicom.dcmread(path) for path in (tmp_path / "out1").rglob("*.dcm")]
    two = [pydicom.dcmread(path) for path in (tmp_path / "out2").rglob("*.dcm")]
    name = pseudonym(KEY, "PAT-1")
    assert {str(ds.PatientID) for ds in one + two} == {str(ds.PatientName) for ds in one} == {name}
    assert {path.name for path in (tmp_path / "out1").iterdir()} == {name, "quarantine.tsv"}
    frame = two[0].FrameOfReferenceUID
    assert frame.startswith("2.25.") and frame.is_valid and frame != "1.2.3.4"
    assert sum(ds.FrameOfReferenceUID == frame for ds in one) == 2
    for ds in one:
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert ds.preamble == bytes(128) and "SourceApplicationEntityTitle" not in ds.file_meta
    assert run(tmp_path / "a", tmp_path / "out3", bytes(32)) == 0
    assert not (tmp_path / "out3" / name).exists()


def test_declares_what_was_done(tmp_path: Path) -> None:
    series(tmp_path / "in", slices=1)
    assert run(tmp_path / "in", tmp_path / "plain") == 0
    chosen = {"dates": "shifted", "descriptors": True, "device": True}
    assert run(tmp_path / "in", tmp_path / "full", **chosen) == 0
    plain, full = (
        pydicom.dcmread(next((tmp_path / name).rglob("*.dcm"))) for name in ("plain", "full")
    )

    def codes(ds: FileDataset) -> list[str]:
        return [item.CodeValue for item in ds.DeidentificationMethodCodeSequence]

    assert plain.PatientIdentityRemoved == "YES" and plain.DeidentificationMethod
    assert codes(plain) == ["113100"]
    assert codes(full) == ["113100", "113105", "113107", "113109"]
    assert plain.LongitudinalTemporalInformationModified == "REMOVED"
    assert full.LongitudinalTemporalInformationModified == "MODIFIED"


def test_key_is_made_beside_the_output_and_taken_again(tmp_path: Path) -> None:
    series(tmp_path / "in", slices=1)
    assert run(tmp_path / "in", tmp_path / "out", None) == 0
    key = tmp_path / "out-private" / "pseudonym.key"
    assert key.stat().st_mode & 0o777 == 0o600 and key.parent.stat().st_mode & 0o777 == 0o700
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert run(tmp_path / "in", tmp_path / "out", None) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    key.unlink()
    assert run(tmp_path / "in", tmp_path / "out", None) == 4


def test_one_bad_file_stops_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    series(folder, "GOOD", slices=3)
    burned = series(folder, "BURNED", slices=3)
    change(burned[1], BurnedInAnnotation="YES")
    captured = series(folder, "CAPTURE", slices=1)
    change(captured[0], SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    change(series(folder, "SCREEN", slices=1)[0], ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"])
    change(series(folder, "PALETTE", slices=1)[0], PhotometricInterpretation="PALETTE COLOR")
    change(series(folder, "REPORT", slices=1)[0], SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    change(series(folder, "ANON", slices=1)[0], PatientID="")
    short = series(folder, "SHORT", slices=1)[0]
    short.write_bytes(short.read_bytes()[:-40])
    (folder / "again.dcm").write_bytes(series(folder, "TWICE", slices=1)[0].read_bytes())
    (folder / "junk.dcm").write_bytes(b"\0" * 200)
    (folder / "notes.txt").write_text("no DICOM")
    assert run(folder, tmp_path / "out") == 5
    rows = files.read_tsv(tmp_path / "out" / "quarantine.tsv")
    counts = Counter[str]()
    for row in rows:
        counts[row["code"]] += int(row["files"])
    assert counts == {
        "D-BURNED-IN": 6, "D-NOT-IMAGE": 1, "D-NO-PATIENT": 1, "D-TRUNCATED": 1,
        "D-SLICES-DUPLICATE": 1, "D-UNREADABLE": 1, "D-NOT-DICOM": 1,
    }  # fmt: skip
    kept = {pydicom.dcmread(path).PatientID for path in (tmp_path / "out").rglob("*.dcm")}
    assert kept == {pseudonym(KEY, "GOOD"), pseudonym(KEY, "TWICE")}
    assert normalised("GOOD") not in (tmp_path / "out" / "quarantine.tsv").read_text()


def test_pixels_hold_nothing_but_pixels() -> None:
    # SOI, APP1, comment, quantisation table, start of scan, data
    picture = (
        b"\xff\xd8\xff\xe1\x00\x06NAME\xff\xfe\x00\x06NAME\xff\xdb\x00\x04QT\xff\xda\x00\x02xy"
    )
    stripped = deidentify_pixels.without_talk(picture)
    assert stripped == b"\xff\xd8\xff\xdb\x00\x04QT\xff\xda\x00\x02xy"
    wavelet = b"\xff\x4f\xff\x51\x00\x04SZ\xff\x64\x00\x08\x00\x01NAME\xff\x90\x00\x04xx\xff\xd9"
    cleaned = deidentify_pixels.without_comments(wavelet)
    assert cleaned == b"\xff\x4f\xff\x51\x00\x04SZ\xff\x90\x00\x04xx\xff\xd9"


def test_overlay_among_the_pixels_goes(tmp_path: Path) -> None:
    def draw(ds: FileDataset, number: int) -> None:
        ds.BitsStored, ds.HighBit = 12, 11
        ds.add_new(0x60000010, "US", ds.Rows)
        ds.add_new(0x60000102, "US", 15)
        drawn = ds.pixel_array.astype(np.uint16) | 0x8000
        ds.PixelData = drawn.tobytes()

    path = series(tmp_path / "in", slices=1, edit=draw)[0]
    assert np.all(np.frombuffer(pydicom.dcmread(path).PixelData, "<u2") & 0x8000)
    assert run(tmp_path / "in", tmp_path / "out") == 0
    found = pydicom.dcmread(next((tmp_path / "out").rglob("*.dcm")))
    values = np.frombuffer(found.PixelData, "<u2")
    assert not np.any(values & 0xF000) and values[0] == 100
