"""Real DICOM of three subjects through the whole workflow; skips where the data are absent."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile

import pytest

from pipeline import files
from pipeline.ingest.manifest import contrasts_of, read_manifest, units
from pipeline.paths import Results

from .conftest import ROOT

DATA = ROOT.parent / "shared" / "data" / "dicom"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.shared,
    pytest.mark.skipif(not DATA.is_dir(), reason="the development data are absent"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, subprocess.CompletedProcess]:
    """The preset brain-mr, at 2 mm and with fast restoration to save time."""
    folder = tmp_path_factory.mktemp("real")
    dicom = folder / "dicom"
    with tarfile.open(DATA / "t1_384_slices" / "t1_dicom.tar.gz") as archive:
        archive.extractall(dicom / "a", filter="data")
    shutil.copytree(DATA / "enhanced_multiframe_t1" / "dicom", dicom / "b")
    shutil.copytree(DATA / "pd_t2_dual_echo" / "dicom", dicom / "c")
    command = [
        *(sys.executable, "-m", "snakemake", "--profile", "workflow/profiles/local"),
        *("--cores", "2", "--nolock", "--configfile", "config/presets/brain-mr.yaml", "--config"),
        *(f"dicom={dicom}", f"results={folder / 'results'}", "superres={spacing: 2.0}"),
        *("denoise={method: anisotropic_diffusion}", "register={template_spacing: 3.0}"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return Results(folder / "results"), done


def test_three_subjects_and_their_contrasts(run: tuple) -> None:
    results, done = run
    rows = read_manifest(results.manifest)
    assert sorted(contrasts_of(rows, unit) for unit in units(rows)) == [
        ["PDw", "T2w"],
        ["T1w"],
        ["T1w"],
    ], done.stdout + done.stderr


def test_heads_end_well_and_the_bottle_is_refused(run: tuple) -> None:
    """The dual-echo series shows a bottle of water, which no brain mask should accept."""
    results, done = run
    rows = read_manifest(results.manifest)
    bottle = next(unit for unit in units(rows) if "PDw" in contrasts_of(rows, unit))
    for row in files.read_tsv(results.status_table):
        if row["subject"] != bottle.subject:
            assert row["status"] == "ok", row
    mine = {r["stage"]: r for r in files.read_tsv(results.status_table)
            if r["subject"] == bottle.subject}  # fmt: skip
    assert mine["preprocess"]["status"] == "failed"
    assert mine["preprocess"]["code"].startswith("E-")
    assert mine["segment"]["status"] == "skipped"
    assert done.returncode == 5
    assert mine["preprocess"]["code"] in done.stdout + done.stderr


def test_every_subject_has_a_page(run: tuple) -> None:
    results, _ = run
    for unit in units(read_manifest(results.manifest)):
        text = results.page(unit).read_text(encoding="utf-8")
        assert unit.subject in text
        assert results.page(unit).stat().st_size < 8e6


def test_brains_are_plausible(run: tuple) -> None:
    results, _ = run
    volumes = [
        float(row["value"])
        for row in files.read_tsv(results.metrics)
        if row["stage"] == "preprocess" and row["metric"] == "volume" and row["label"] == "brain"
    ]
    assert len(volumes) == 2
    assert all(900 < volume < 2000 for volume in volumes)
