"""A real archive: what is pushed comes back the same, by every way, and so do the results."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import config, files
from pipeline.ingest.index import index_folder
from pipeline.paths import Results
from pipeline.phantom.cohort import write_subject

from . import orthanc
from .conftest import ROOT

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(bool(orthanc.missing()), reason=orthanc.missing() or "it can run"),
]

BIN = Path(sys.executable).parent
DATA = ROOT.parent / "shared" / "data" / "dicom"
WAYS = ("get", "move", "web")
SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34"


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    write_subject("P001", folder, 6.0, 0)
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, phantom: Path) -> Iterator[orthanc.Orthanc]:
    """Orthanc with the phantom in it."""
    with orthanc.running(tmp_path_factory.mktemp("orthanc")) as found:
        where = ("--pacs", found.configuration)
        done = found.voxelway("push", *where, phantom / "dicom")
        assert done.returncode == 0, done.stderr
        yield found


def datasets(folder: Path) -> dict[str, pydicom.Dataset]:
    found = [pydicom.dcmread(path) for path in folder.rglob("*") if path.is_file()]
    return {str(item.SOPInstanceUID): item for item in found}


def patients(phantom: Path, tmp_path: Path) -> Path:
    names = sorted({str(item.PatientID) for item in datasets(phantom / "dicom").values()})
    path = tmp_path / "list.tsv"
    path.write_text("\n".join(["patient", *names]) + "\n")
    return path


def pulled(archive: orthanc.Orthanc, wanted: Path, out: Path, *more: object) -> str:
    where = ("--pacs", archive.configuration)
    done = archive.voxelway("pull", out, *where, "--list", wanted, *more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def tables(dicom: Path, results: Path, key: bytes) -> tuple[list, list]:
    """Manifest and quarantine of a folder, without what depends on the age of files."""
    private = Results(results).private
    private.mkdir(mode=0o700)
    (private / "pseudonym.key").write_text(key.hex() + "\n")
    params = {**config.section("ingest"), "seed": 0}
    assert index_folder(dicom, Results(results), params) == 0
    rows = files.read_tsv(Results(results).manifest)
    quarantine = files.read_tsv(Results(results).quarantine)
    return [{k: v for k, v in row.items() if k != "digest"} for row in rows], quarantine


@pytest.mark.parametrize("via", WAYS)
def test_pulled_is_what_was_pushed(
    archive: orthanc.Orthanc, phantom: Path, via: str, tmp_path: Path
) -> None:
    wanted, out = patients(phantom, tmp_path), tmp_path / "in"
    told = pulled(archive, wanted, out, "--via", via)
    before, after = datasets(phantom / "dicom"), datasets(out)
    assert before.keys() == after.keys()
    assert all(after[uid] == before[uid] for uid in before)
    identity = {str(item.PatientID) for item in before.values()}
    identity |= {str(item.StudyInstanceUID) for item in before.values()}
    names = " ".join(path.as_posix() for path in out.rglob("*"))
    assert not [value for value in identity if value in told + names]
    # again: nothing is asked for, and nothing changes
    ages = {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")}
    assert f"{len(before)} of them were there" in pulled(archive, wanted, out, "--via", via)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")} == ages


def test_index_of_the_pulled_is_that_of_the_original(
    archive: orthanc.Orthanc, phantom: Path, tmp_path: Path
) -> None:
    pulled(archive, patients(phantom, tmp_path), tmp_path / "in")
    key = bytes(range(32))
    manifest, quarantine = tables(phantom / "dicom", tmp_path / "a", key)
    assert len(manifest) >= 3
    assert (manifest, quarantine) == tables(tmp_path / "in", tmp_path / "b", key)


def exported(phantom: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Segmentation and report of the phantom's true labels on its T1w series."""
    truth = phantom / "truth" / "P001"
    native = sitk.ReadImage(str(truth / "native_T1w.nii.gz"))
    for series in sorted((phantom / "dicom").glob("*/*")):
        items = list(datasets(series).values())
        if len(items) == native.GetSize()[2] and "t1" in items[0].SeriesDescription.lower():
            break
    out = tmp_path / "seg.dcm", tmp_path / "volumes.dcm"
    command = ["export-seg", truth / "dseg.nii.gz", series, out[0], "--volumes", out[1]]
    subprocess.run([sys.executable, "-m", "pipeline.cli", *map(str, command)], check=True, cwd=ROOT)
    return out


@pytest.mark.parametrize("via", ["store", "web"])
def test_results_go_back_and_come_again(
    archive: orthanc.Orthanc, phantom: Path, via: str, tmp_path: Path
) -> None:
    seg, report = exported(phantom, tmp_path)
    where = ("--pacs", archive.configuration)
    done = archive.voxelway("push", *where, "--via", via, seg, report)
    assert done.returncode == 0 and "2 stored" in done.stdout, done.stderr
    out = tmp_path / "in"
    pulled(archive, patients(phantom, tmp_path), out)
    kinds = {pydicom.dcmread(path).SOPClassUID: path for path in out.rglob("*.dcm")}
    for kind, sent in ((SEG, seg), (SR, report)):
        assert pydicom.dcmread(kinds[kind]) == pydicom.dcmread(sent)
        check = subprocess.run(
            [BIN / "dciodvfy", kinds[kind]], capture_output=True, text=True, check=False
        )
        assert not [line for line in check.stderr.splitlines() if line.startswith("Error")]
    target = tmp_path / "back"
    target.mkdir()
    command = [BIN / "segimage2itkimage", "--inputDICOM", kinds[SEG], "--outputDirectory", target]
    subprocess.run([*command, "-t", "nii", "--mergeSegments"], check=True, capture_output=True)
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(next(target.glob("*.nii*")))))
    counts = np.bincount(values.ravel())[1:]
    assert sorted(counts[counts > 0]) == sorted(
        json.loads(seg.with_suffix(".json").read_text())["SegmentVoxels"].values()
    )


def test_wrong_titles_and_passwords(
    archive: orthanc.Orthanc, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = patients(phantom, tmp_path)
    for old, new, via, code in (
        ("ORTHANC", "OTHER", "get", "E-PACS-AE"),
        ("11112", "11113", "move", "E-PACS-"),
    ):
        path = tmp_path / "pacs.yaml"
        path.write_text(archive.configuration.read_text().replace(old, new) + "retries: 0\n")
        done = archive.voxelway("pull", tmp_path / "in", "--pacs", path, "--list", wanted,
                                "--via", via)  # fmt: skip
        assert done.returncode == 4 and code in done.stderr, (done.stdout, done.stderr)
    monkeypatch.setattr(orthanc, "PASSWORD", "wrong")
    done = archive.voxelway("pull", tmp_path / "in", "--pacs", archive.configuration, "--list",
                            wanted, "--via", "web")  # fmt: skip
    assert done.returncode == 4 and "E-PACS-AUTH" in done.stderr
    assert not list((tmp_path / "in").rglob("*.dcm"))


def test_dicom_over_tls_both_ways(phantom: Path, tmp_path: Path) -> None:
    """Orthanc asks for our certificate, and we for its own when it sends to us (C-MOVE)."""
    folder = tmp_path / "orthanc"
    folder.mkdir()
    series = sorted((phantom / "dicom").glob("*/*"))[0]
    before, wanted = datasets(series), patients(phantom, tmp_path)
    with orthanc.running(folder, tls=True) as found:
        done = found.voxelway("push", "--pacs", found.configuration, series)
        assert done.returncode == 0, done.stderr
        for via in ("get", "move"):
            pulled(found, wanted, tmp_path / via, "--via", via)
            after = datasets(tmp_path / via)
            assert after.keys() == before.keys()
            assert all(after[uid] == before[uid] for uid in before)
        other = orthanc.certificate(folder, "other")
        text = found.configuration.read_text()
        path, ask = tmp_path / "pacs.yaml", ("--list", wanted)
        for ours, theirs in (("archive.pem", other[0]), ("ours.pem", other[0])):
            changed = text.replace(str(folder / ours), str(theirs))
            path.write_text(changed.replace(str(folder / "ours.key"), str(other[1]))
                            if ours == "ours.pem" else changed)  # fmt: skip
            done = found.voxelway("pull", tmp_path / "no", "--pacs", path, *ask)
            assert done.returncode == 4 and "E-PACS-TLS" in done.stderr, done.stderr
        assert not (tmp_path / "no").exists() or not list((tmp_path / "no").rglob("*.dcm"))


@pytest.mark.shared
@pytest.mark.skipif(not DATA.is_dir(), reason="no development data")
@pytest.mark.parametrize("name", ["transfer_syntaxes", "enhanced_multiframe_t1"])
def test_real_files_of_every_kind(archive: orthanc.Orthanc, name: str, tmp_path: Path) -> None:
    """Compressed and multi-frame files come as they are, not transcoded."""
    found = {}
    for path in sorted((DATA / name).rglob("*.dcm")):
        item = pydicom.dcmread(path)
        found[str(item.SOPInstanceUID)] = item
    where = ("--pacs", archive.configuration)
    done = archive.voxelway("push", *where, DATA / name / "dicom")
    wanted = tmp_path / "list.tsv"
    studies = sorted({str(item.StudyInstanceUID) for item in found.values()})
    wanted.write_text("\n".join(["study", *studies]) + "\n")
    for via in WAYS:
        pulled(archive, wanted, tmp_path / via, "--via", via)
        after = datasets(tmp_path / via)
        assert after.keys() == found.keys(), done.stdout
        for uid, item in after.items():
            assert item.file_meta.TransferSyntaxUID == found[uid].file_meta.TransferSyntaxUID
            assert item == found[uid]
