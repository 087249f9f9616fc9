"""Real DICOM through ``voxelway convert``: voxels and affine of the references, all of them."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from pipeline import cli, files
from pipeline.errors import Exit, VoxelwayError
from pipeline.ingest import tool
from pipeline.ingest.folder import Tree, convert_folder
from pipeline.ingest.manifest import read_manifest

from .ingest_dicom import SHARED, params

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not SHARED.is_dir(), reason="development data are absent"),
]
ALL: dict[str, Any] = {"take": "all", "min_slices": 8}


def equal(path: Path, reference: Path) -> bool:
    found, wanted = nib.load(path), nib.load(reference)
    same = found.shape == wanted.shape and np.array_equal(found.affine, wanted.affine)
    return bool(same and np.array_equal(np.asarray(found.dataobj), np.asarray(wanted.dataobj)))


def facts(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.with_suffix("").with_suffix(".json").read_text())
    return content


def valid(folder: Path) -> bool:
    """Whether the BIDS validator finds no error."""
    program = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run([program, folder], capture_output=True, text=True, check=False)
    return done.returncode == 0 and "ERROR" not in done.stdout


SETS = ["enhanced_multiframe_t1", "pd_t2_dual_echo", "multi_echo_shared_instance_numbers"]
CASES = [(name, SHARED / name / "dicom", SHARED / name / "reference") for name in SETS]
_TS = SHARED / "transfer_syntaxes"
CASES += [
    (f"transfer_syntax_{n}", _TS / "dicom" / f"{n}.dcm", _TS / "reference" / f"{n}.nii")
    for n in range(1, 10)
]


@pytest.mark.parametrize(("name", "dicom", "reference"), CASES, ids=[case[0] for case in CASES])
def test_every_image_equals_its_reference(
    tmp_path: Path, name: str, dicom: Path, reference: Path
) -> None:
    if dicom.is_file():
        (tmp_path / "dicom").mkdir()
        (tmp_path / "dicom" / "image").symlink_to(dicom)
        dicom = tmp_path / "dicom"
    code = cli.main(["convert", str(dicom), str(tmp_path / "bids"), "--params", json.dumps(ALL)])
    told = (tmp_path / "bids" / "quarantine.tsv").read_text()
    assert code == Exit.DONE, told
    found = sorted((tmp_path / "bids").rglob("*.nii.gz"))
    wanted = [reference] if reference.is_file() else sorted(reference.glob("*.nii"))
    assert len(found) == len(wanted), told
    for path in wanted:
        assert any(equal(image, path) for image in found), f"{path.name} has no equal\n{told}"
    for image in found:
        content = facts(image)
        assert content["GeometryErrorMM"] < 0.01 and content["Findings"] == [], image.name
        # pydicom decodes all of these syntaxes, so the voxels were compared as well
        assert content["SlicesCompared"] >= 3, image.name
    if list((tmp_path / "bids").glob("sub-*")):
        assert valid(tmp_path / "bids")


def test_cohort_of_three_equals_the_references(tmp_path: Path) -> None:
    dicom = tmp_path / "dicom"
    dicom.mkdir()
    with tarfile.open(SHARED / "t1_384_slices" / "t1_dicom.tar.gz") as archive:
        archive.extractall(dicom / "t1", filter="data")
    for name in ("enhanced_multiframe_t1", "pd_t2_dual_echo"):
        (dicom / name).symlink_to(SHARED / name / "dicom")
    out = tmp_path / "bids"
    assert convert_folder(dicom, out, params()) == Exit.DONE
    found = {row.suffix + str(row.slices): row for row in read_manifest(out / "manifest.tsv")}
    assert set(found) == {"T1w384", "T1w96", "PDw35", "T2w35"}
    assert len({row.subject for row in found.values()}) == 3
    assert {row.split for row in found.values()} == {"train", "val", "test"}
    plain = tmp_path / "plain"
    plain.mkdir()
    options = ["-g", "i", "-z", "n", "-f", "t1", "-o", str(plain), str(dicom / "t1" / "dicoms")]
    subprocess.run([tool.program(), *options], check=True, capture_output=True)
    dual = SHARED / "pd_t2_dual_echo" / "reference"
    references = {
        "T1w384": plain / "t1.nii",
        "T1w96": SHARED / "enhanced_multiframe_t1" / "reference" / "6_anat-T1w_acq-tfl.nii",
        "PDw35": dual / "Siemens_pd+t2_tse_sag_ISO_1.8mm_3_e1.nii",
        "T2w35": dual / "Siemens_pd+t2_tse_sag_ISO_1.8mm_3_e2.nii",
    }
    for name, reference in references.items():
        row = found[name]
        assert equal(Tree(out).image("ingest", row.unit, row.suffix), reference), name
    assert valid(out)


def test_tilted_head_ct_is_refused_or_corrected_and_said(tmp_path: Path) -> None:
    dicom = SHARED / "head_ct_gantry_tilt" / "dicom"
    for name, code, policy in (
        ("spacing", "D-SPACING-VARIABLE", {}),
        ("tilt", "D-TILT", {"D-SPACING-VARIABLE": "repair", "D-TILT": "refuse"}),
    ):
        with pytest.raises(VoxelwayError, match="E-DCM-NONE"):
            convert_folder(dicom, tmp_path / name, params(**ALL, policy=policy))
        rows = files.read_tsv(tmp_path / name / "quarantine.tsv")
        assert {row["code"] for row in rows} == {code, "D-CONTRAST"}
        assert not list((tmp_path / name).rglob("*.nii.gz"))
    chosen = params(**ALL, policy={"D-SPACING-VARIABLE": "repair"})
    assert convert_folder(dicom, tmp_path / "bids", chosen) == Exit.DONE
    (path,) = (tmp_path / "bids" / "unsorted").rglob("*_CT.nii.gz")
    content = facts(path)
    assert content["ConversionSuffix"] == "_Tilt_Eq"
    assert "the gantry was tilted" in content["ConversionWarnings"]
    assert [text.partition(":")[0] for text in content["Findings"]] == [
        "D-SPACING-VARIABLE",
        "D-TILT",
    ]
    assert content["SlicesCompared"] == 2
    image = nib.load(path)
    # sheared slices need more rows, and 28 slices become as many as the smallest distance asks for
    assert image.shape[0] == 512 and image.shape[1] > 512 and image.shape[2] > 28


def test_protocol_takes_no_ct_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(VoxelwayError) as caught:
        convert_folder(SHARED / "head_ct_gantry_tilt" / "dicom", tmp_path / "bids", params())
    assert caught.value.code == "E-DCM-NONE"
    (row,) = files.read_tsv(tmp_path / "bids" / "quarantine.tsv")
    assert row["code"] == "D-CONTRAST" and row["files"] == "28"
