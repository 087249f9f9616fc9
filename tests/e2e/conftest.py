"""One small cohort, run once through the whole workflow for all end-to-end tests."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.ingest.manifest import read_manifest, units
from pipeline.paths import Results, Unit

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Cohort:
    """A phantom cohort with its results."""

    folder: Path
    code: int
    text: str

    @property
    def results(self) -> Results:
        return Results(self.folder / "results")

    @property
    def units(self) -> list[Unit]:
        return units(read_manifest(self.results.manifest))


def workflow(folder: Path, *arguments: str, truth: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the workflow of this checkout on a folder with `dicom` (and `truth`)."""
    reference = str(folder / "truth") if truth else ""
    command = [
        *(sys.executable, "-m", "snakemake", "--profile", "workflow/profiles/local"),
        *("--cores", "2", "--nolock", *arguments, "--config"),
        *(f"dicom={folder / 'dicom'}", f"results={folder / 'results'}"),
        *(f"evaluate={{truth: '{reference}'}}", "register={template_spacing: 3.0}"),
    ]
    return subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Three subjects at 3 mm and the two broken ones, through every stage."""
    folder = tmp_path_factory.mktemp("cohort")
    voxelway = [sys.executable, "-m", "pipeline.cli"]
    phantom = [*voxelway, "phantom", str(folder), "--subjects", "4", "--spacing", "3"]
    subprocess.run(phantom, check=True, cwd=ROOT)
    run = workflow(folder)
    return Cohort(folder, run.returncode, run.stdout)
