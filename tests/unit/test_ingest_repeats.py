"""Several images of one contrast: one goes on, the others get BIDS's `ce` and `run` on request."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib

from pipeline.ingest.folder import convert_folder

from .ingest_dicom import params, series


def cohort(folder: Path) -> Path:
    """Three T1w without agent, of 10, 9 and 8 slices, two with, and a T2w."""
    for slices in (9, 10, 8):
        series(folder, name=f"t1{slices}", slices=slices)
    for slices in (12, 11):
        series(folder, name=f"t1c{slices}", slices=slices, ContrastBolusAgent="Gadovist")
    series(folder, name="t2", EchoTime=95, SeriesDescription="t2_tse")
    return folder


def images(folder: Path) -> dict[str, int]:
    """Slices of each image, by its name after the session."""
    found = {}
    for path in folder.rglob("*.nii.gz"):
        name = path.name.split("_ses-01_")[1].removesuffix(".nii.gz")
        found[name] = nib.load(path).shape[2]
    return found


def test_one_image_a_contrast_goes_on(tmp_path: Path) -> None:
    assert convert_folder(cohort(tmp_path / "dicom"), tmp_path / "bids", params()) == 0
    assert images(tmp_path / "bids") == {"T1w": 10, "T2w": 10}


def test_the_others_are_runs_in_the_order_of_preference(tmp_path: Path) -> None:
    bids = tmp_path / "bids"
    assert convert_folder(cohort(tmp_path / "dicom"), bids, params(take="all")) == 0
    assert images(bids) == {
        "T1w": 10,
        "run-02_T1w": 9,
        "run-03_T1w": 8,
        "ce-agent_T1w": 12,
        "ce-agent_run-02_T1w": 11,
        "T2w": 10,
    }
    rows = (bids / "manifest.tsv").read_text().splitlines()
    assert len(rows) == 3
    program = Path(sys.executable).with_name("bids-validator-deno")
    command = [program, bids, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert not [issue for issue in issues if issue["severity"] == "error"]
