"""Conversion: the voxels and the affine of the headers, no text of the headers, faults isolated."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from pipeline import cli, files, runner, status
from pipeline.errors import Exit, VoxelwayError
from pipeline.ingest import convert, geometry, stage
from pipeline.ingest.convert import anonymous
from pipeline.ingest.folder import convert_folder
from pipeline.ingest.index import index_folder
from pipeline.ingest.manifest import read_manifest, units
from pipeline.ingest.source import Geometry, Source, read_sources
from pipeline.paths import Results, Unit

from .ingest_dicom import COLUMNS, ROWS, SHARED, SLICES, STEP, change, params, pixels, series

MARKER = "XQZMARK"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="development data are absent")


def ingest(folder: Path) -> Results:
    results = Results(folder / "results")
    index_folder(folder / "dicom", results, params())
    todo = units(read_manifest(results.manifest))
    runner.run_units(stage, todo, runner.Setup(results, params(), keep_going=True))
    return results


def image(results: Results, suffix: str = "T1w") -> Path:
    return next(results.rawdata.rglob(f"*_{suffix}.nii.gz"))


def valid(folder: Path) -> bool:
    program = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run([program, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return "ERROR" not in done.stdout


def test_voxels_and_affine_are_those_of_the_headers(tmp_path: Path) -> None:
    series(tmp_path / "dicom")
    results = ingest(tmp_path)
    found = nib.load(image(results))
    assert found.shape == (COLUMNS, ROWS, SLICES)
    # RAS: x and y of LPS change their sign; dcm2niix turns both axes of this 3D series around
    expected = np.array([[1, 0, 0, -5.5], [0, 1, 0, -6.5], [0, 0, STEP, -9.0], [0, 0, 0, 1.0]])
    assert np.allclose(found.affine, expected)
    for number in (0, 4, 9):
        voxels = np.asarray(found.dataobj)[::-1, ::-1, number].T
        assert np.array_equal(voxels, pixels(number))
    facts = json.loads(image(results).with_suffix("").with_suffix(".json").read_text())
    assert facts["SlicesCompared"] == 3 and facts["GeometryErrorMM"] < 0.001
    assert facts["ConversionSuffix"] == "" and facts["RepetitionTime"] == 2.0
    assert next(iter(facts["Inputs"])).startswith("series s")
    assert valid(results.rawdata)


def test_same_bytes_twice(tmp_path: Path) -> None:
    series(tmp_path / "dicom")
    first = image(ingest(tmp_path)).read_bytes()
    assert image(ingest(tmp_path)).read_bytes() == first


def plant(dataset: Dataset) -> None:
    """A marker in every attribute that can hold text, also in sequences and private ones."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                plant(item)
        elif element.VR in ("LO", "SH", "ST", "LT", "UT", "UC", "PN", "AE", "UR"):
            element.value = MARKER
        elif element.VR == "CS" and element.keyword not in (
            "Modality",
            "PhotometricInterpretation",
        ):
            element.value = [MARKER]
        elif element.VR == "AS":
            element.value = "077Y"


def test_planted_text_is_found_nowhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)

    def edit(ds: Any, number: int) -> None:
        for keyword in TEXTS:
            setattr(ds, keyword, MARKER)
        ds.RequestAttributesSequence = [Dataset()]
        ds.RequestAttributesSequence[0].ScheduledProcedureStepDescription = MARKER
        block = ds.private_block(0x0029, MARKER, create=True)
        block.add_new(0x01, "LO", MARKER)
        plant(ds)
        ds.PatientID = MARKER
        ds.preamble = MARKER.encode().ljust(128, b"\0")
        ds.file_meta.SourceApplicationEntityTitle = MARKER

    series(tmp_path / "dicom" / MARKER, name=MARKER, edit=edit)
    broken = series(tmp_path / "dicom" / MARKER, name=MARKER + "broken", edit=edit)
    broken[4].unlink()
    (tmp_path / "dicom" / f"{MARKER}.txt").write_text(MARKER)
    rule = {"suffix": "T1w", "te": [0, 10]}
    out = tmp_path / "bids"
    assert convert_folder(tmp_path / "dicom", out, params(protocol=[rule])) == Exit.SOME
    said = capfd.readouterr()
    assert MARKER not in said.out + said.err
    assert len(list(out.rglob("*.nii.gz"))) == 1
    assert list(temporary.iterdir()) == []
    for path in out.rglob("*"):
        assert MARKER not in str(path.relative_to(tmp_path)), path
        if path.is_file():
            content = path.read_bytes()
            content += gzip.decompress(content) if path.suffix == ".gz" else b""
            assert MARKER.encode() not in content, path


TEXTS = (
    "PatientName", "PatientComments", "AccessionNumber", "StudyDescription", "SeriesDescription",
    "ProtocolName", "InstitutionName", "InstitutionAddress", "StationName", "OperatorsName",
    "ReferringPhysicianName", "DeviceSerialNumber", "SoftwareVersions", "SequenceName",
    "ImageComments", "AcquisitionComments", "ManufacturerModelName", "StudyID", "BodyPartExamined",
    "ReceiveCoilName", "TransmitCoilName", "OtherPatientIDs", "EthnicGroup", "Manufacturer",
    "AdditionalPatientHistory", "RequestedProcedureDescription", "DerivationDescription",
)  # fmt: skip


def test_refusals_do_not_stop_the_others(tmp_path: Path) -> None:
    series(tmp_path / "dicom", "GOOD")
    bad = series(tmp_path / "dicom", "BAD")
    bad[3].unlink()
    (tmp_path / "dicom" / "notes.txt").write_text("hello")
    out = tmp_path / "bids"
    assert convert_folder(tmp_path / "dicom", out, params()) == Exit.SOME
    assert len(list(out.glob("sub-*"))) == 1
    codes = [row["code"] for row in files.read_tsv(out / "quarantine.tsv")]
    assert codes == ["D-SLICES-MISSING", "D-NOT-DICOM"]
    assert valid(out)


def test_dataset_stays_valid_when_the_dicom_of_a_subject_goes(tmp_path: Path) -> None:
    series(tmp_path / "dicom", "P1")
    gone = series(tmp_path / "dicom", "P2")
    out = tmp_path / "bids"
    assert convert_folder(tmp_path / "dicom", out, params()) == Exit.DONE
    for path in gone:
        path.unlink()
    assert convert_folder(tmp_path / "dicom", out, params()) == Exit.DONE
    assert sorted(row["split"] for row in files.read_tsv(out / "participants.tsv"))[0] == "n/a"
    assert len(read_manifest(out / "manifest.tsv")) == 1 and valid(out)


def test_only_left_out_series_end_well(tmp_path: Path) -> None:
    series(tmp_path / "dicom")
    series(tmp_path / "dicom", name="loc", slices=3, SeriesDescription="localizer")
    assert convert_folder(tmp_path / "dicom", tmp_path / "bids", params()) == Exit.DONE


def test_nothing_to_convert_is_a_refusal(tmp_path: Path) -> None:
    series(tmp_path / "dicom")[2].unlink()
    code = cli.main(["convert", str(tmp_path / "dicom"), str(tmp_path / "bids")])
    assert code == Exit.REFUSED
    assert (tmp_path / "bids" / "manifest.tsv").read_text().count("\n") == 1


def test_file_that_vanished_after_the_index(tmp_path: Path) -> None:
    paths = series(tmp_path / "dicom", "P1")
    other = series(tmp_path / "dicom", "P2")
    results = Results(tmp_path / "results")
    index_folder(tmp_path / "dicom", results, params())
    paths[4].unlink()
    change(other[0], RepetitionTime=1999)
    todo = units(read_manifest(results.manifest))
    code = runner.run_units(stage, todo, runner.Setup(results, params()))
    assert code == Exit.REFUSED
    found = [status.read(results, unit, "ingest") for unit in todo]
    assert {item.code for item in found if item} == {"D-UNREADABLE"}
    told = " ".join(item.message for item in found if item)
    assert "can't be read any more" in told and "changed after it was indexed" in told
    assert "dicom" not in told and not list(results.rawdata.rglob("*.nii.gz"))


def test_one_image_that_fails_leaves_the_others(tmp_path: Path) -> None:
    series(tmp_path / "dicom")
    t2 = series(tmp_path / "dicom", name="t2", SeriesDescription="t2_tse", EchoTime=95)
    results = Results(tmp_path / "results")
    index_folder(tmp_path / "dicom", results, params())
    t2[0].unlink()
    (unit,) = units(read_manifest(results.manifest))
    assert runner.run_units(stage, [unit], runner.Setup(results, params())) == Exit.DONE
    found = status.read(results, unit, "ingest")
    assert found is not None and found.status == "ok"
    assert any(text.startswith("T2w: D-UNREADABLE") for text in found.warnings)
    assert [path.name[-10:] for path in results.rawdata.rglob("*.nii.gz")] == ["T1w.nii.gz"]


def test_image_that_fails_in_conversion_is_quarantined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series(tmp_path / "dicom")
    series(tmp_path / "dicom", name="t2", SeriesDescription="t2_tse", EchoTime=95)
    real = convert.convert

    def fail(source: Source, *rest: Any) -> Any:
        if source.suffix == "T2w":
            raise VoxelwayError("D-GEOMETRY", "a corner is off")
        return real(source, *rest)

    monkeypatch.setattr(convert, "convert", fail)
    assert convert_folder(tmp_path / "dicom", tmp_path / "bids", params()) == Exit.SOME
    (row,) = files.read_tsv(tmp_path / "bids" / "quarantine.tsv")
    assert row["code"] == "D-GEOMETRY" and row["message"] == "T2w: a corner is off."


def test_disk_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    series(tmp_path / "dicom")
    usage = SimpleNamespace(total=1 << 40, used=1 << 40, free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert cli.main(["convert", str(tmp_path / "dicom"), str(tmp_path / "bids")]) == Exit.OUTSIDE
    told = capsys.readouterr().err
    assert "E-DISK-FULL: The temporary folder has 0 MB left" in told and "Traceback" not in told
    assert not list((tmp_path / "bids").rglob("*.nii.gz"))


def test_files_that_dcm2niix_can_not_read_are_rewritten(tmp_path: Path) -> None:
    for path in series(tmp_path / "dicom"):
        ds = pydicom.dcmread(path)
        if path.stem.endswith(("0", "2", "4", "6", "8")):
            ds.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
            ds.save_as(path, enforce_file_format=True)
        else:
            ds.preamble, ds.file_meta = None, pydicom.dataset.FileMetaDataset()
            ds.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
    found = nib.load(image(ingest(tmp_path)))
    assert np.array_equal(np.asarray(found.dataobj)[::-1, ::-1, 3].T, pixels(3))


def test_variable_spacing_is_made_even_when_the_config_accepts_it(tmp_path: Path) -> None:
    def edit(ds: Any, n: int) -> None:
        z = -9.0 + STEP * n + (0.6 if n > 4 else 0.0)
        ds.ImagePositionPatient = [-5.5, -6.5, z]

    # dcm2niix makes slices even for signed integers only
    series(tmp_path / "dicom", edit=edit, PixelRepresentation=1)
    chosen = params(policy={"D-SPACING-VARIABLE": "repair"})
    assert convert_folder(tmp_path / "dicom", tmp_path / "bids", chosen) == Exit.DONE
    (path,) = (tmp_path / "bids").rglob("*_T1w.json")
    facts = json.loads(path.read_text())
    assert facts["ConversionSuffix"] == "_Eq" and facts["ConversionIgnored"] == ["as acquired"]
    assert "2.000 to 2.600 mm" in facts["Findings"][0]


def geometry_of(**changes: Any) -> Geometry:
    values: dict[str, Any] = {
        "rows": ROWS,
        "columns": COLUMNS,
        "slices": SLICES,
        "spacing": (1.0, 1.0, STEP),
        "orientation": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        "first": (-5.5, -6.5, -9.0),
        "last": (-5.5, -6.5, 9.0),
    }
    return Geometry(**{**values, **changes})


def nifti(values: np.ndarray, affine: np.ndarray) -> bytes:
    content: bytes = nib.Nifti1Image(values, affine).to_bytes()
    return content


@pytest.mark.parametrize(
    ("change_of", "words"),
    [
        ({"first": (-5.5, -6.5, -8.0)}, "a corner lies 1.00 mm"),
        ({"slices": 11}, "size (12, 14, 10) in place of (12, 14, 11)"),
        ({"spacing": (1.2, 1.0, STEP)}, "a corner lies 2.20 mm"),
    ],
)
def test_geometry_that_contradicts_the_headers_is_refused(
    change_of: dict[str, Any], words: str
) -> None:
    affine = np.array([[-1, 0, 0, 5.5], [0, 1, 0, -6.5], [0, 0, STEP, -9], [0, 0, 0, 1.0]])
    content = nifti(np.zeros((COLUMNS, ROWS, SLICES), np.int16), affine)
    good = Source("T1w", "s", (), geometry_of(), None, {}, ())
    assert geometry.check(content, good, "", 0)["GeometryErrorMM"] == 0.0
    bad = Source("T1w", "s", (), geometry_of(**change_of), None, {}, ())
    with pytest.raises(VoxelwayError) as caught:
        geometry.check(content, bad, "", 0)
    assert caught.value.code == "D-GEOMETRY" and words in str(caught.value)


def test_slices_in_the_wrong_order_are_seen(tmp_path: Path) -> None:
    series(tmp_path / "dicom")
    results = ingest(tmp_path)
    (source,) = read_sources(results, units(read_manifest(results.manifest))[0]).values()
    found = nib.load(image(results))
    swapped = np.asarray(found.dataobj)[:, :, ::-1]
    # each slice of this series is another one plus a constant: make them unlike
    swapped = swapped * np.arange(COLUMNS * ROWS * SLICES).reshape(swapped.shape) % 251
    with pytest.raises(VoxelwayError, match="are not those of its file"):
        geometry.check(nifti(swapped.astype(np.int16), found.affine), source, "", 3)


def test_header_texts_of_the_nifti_are_blanked() -> None:
    made = nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.eye(4))
    made.header["descrip"], made.header["aux_file"] = b"TE=3;Time=101500", b"Jane"
    made.header["db_name"], made.header["intent_name"] = b"Doe", b"Doe"
    blank = nib.Nifti1Image.from_bytes(bytes(anonymous(bytearray(made.to_bytes()))))
    assert not any(
        blank.header[name].tobytes().strip(b"\0")
        for name in ("descrip", "aux_file", "db_name", "intent_name")
    )
    assert np.array_equal(blank.affine, np.eye(4)) and blank.shape == (3, 3, 3)
    with pytest.raises(VoxelwayError, match="no plain NIfTI-1"):
        anonymous(bytearray(400))


def test_unit_that_was_never_indexed(tmp_path: Path) -> None:
    series(tmp_path / "dicom")
    results = ingest(tmp_path)
    with pytest.raises(VoxelwayError) as caught:
        read_sources(results, Unit("nobody", "01"))
    assert caught.value.code == "E-FILE-READ"
