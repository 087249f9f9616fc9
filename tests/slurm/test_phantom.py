"""The phantom cohort through every real stage on a cluster: the results of a local run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import files
from tests.dag.conftest import Project, Run, make
from tests.dag.storm import contents

from .conftest import OnCluster, beside
from .test_faults import SENT

pytestmark = pytest.mark.e2e

#: What one cohort's results have to share with another's, byte for byte. JSON is left out: digests
#: of files that tell how many seconds a registration took are in it.
EXACT = (".nii.gz", ".mat", ".tsv", ".dcm")
QUARANTINE = "quarantine.tsv"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with the real `voxelway`, and a phantom of two subjects and the broken ones."""
    project = make(tmp_path_factory.mktemp("phantom"))
    (project.root / "bin" / "voxelway").unlink()
    (project.root / "bin" / "voxelway").symlink_to(Path(sys.executable).with_name("voxelway"))
    shutil.rmtree(project.root / "dicom")
    phantom = [sys.executable, "-m", "pipeline.cli", "phantom", ".", "--subjects", "3",
               "--spacing", "4"]  # fmt: skip
    subprocess.run(phantom, check=True, cwd=project.root, env=project.environment)
    project.configure("evaluate: {truth: truth}\nregister: {template_spacing: 3.0}\n")
    last = files.read_tsv(project.root / "truth" / "participants.tsv")[2]["patient_id"]
    (project.root / "dicom" / last).rename(project.root / "later")
    return project


@pytest.fixture(scope="module")
def local(pristine: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The cohort, run on this machine."""
    project = pristine.copied(tmp_path_factory.mktemp("local") / "project")
    run = project.snakemake("--cores", "2")
    assert run.code == 0, run.text
    return project


@pytest.fixture(scope="module")
def first(
    local: Project, pristine: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[OnCluster, Run]]:
    """The same cohort, run on the cluster, with the same pseudonyms."""
    project = pristine.copied(tmp_path_factory.mktemp("cluster") / "project")
    private = project.root / "results-private"
    private.mkdir(mode=0o700)
    shutil.copy2(local.root / "results-private" / "pseudonym.key", private)
    with beside(project) as on_cluster:
        yield on_cluster, on_cluster.snakemake()


def test_a_chain_of_stages_is_one_job(first: tuple[OnCluster, Run]) -> None:
    _, run = first
    assert run.code == 0, run.text
    # index, template, training, cohort; prepare, register, synthesize, finish of two subjects
    assert len(SENT.findall(run.text)) == 4 + 2 * 4, run.text
    assert "Auto-selected partition 'cpu'" in run.text
    assert "partition 'gpu'" not in run.text


def test_the_results_are_those_of_a_local_run(first: tuple[OnCluster, Run], local: Project) -> None:
    here, there = (contents(p.root / "results") for p in (local, first[0].project))
    assert set(here) == set(there)
    compared = [name for name in here if name.endswith(EXACT) and name != QUARANTINE]
    assert len([name for name in compared if name.endswith(".nii.gz")]) > 20
    assert [name for name in compared if here[name] != there[name]] == []
    # files that a message names have pseudonyms of their paths, which differ
    told = [
        re.sub(r" \(files [^)]*\)", "", (p.root / "results" / QUARANTINE).read_text())
        for p in (local, first[0].project)
    ]
    assert told[0] == told[1]


def test_a_new_subject_sends_its_own_jobs_only(first: tuple[OnCluster, Run]) -> None:
    on_cluster, _ = first
    root = on_cluster.project.root
    known = {path.name for path in (root / "results" / "rawdata").glob("sub-*")}
    ages = {p: p.stat().st_mtime_ns for p in (root / "results" / "derivatives").rglob("*.gz")}
    (root / "later").rename(root / "dicom" / "later")
    run = on_cluster.snakemake()
    assert run.code == 0, run.text
    (new,) = {path.name for path in (root / "results" / "rawdata").glob("sub-*")} - known
    everybody = {who for whom in run.executed.values() for who in whom if who}
    assert everybody == {new.removeprefix("sub-")}
    assert all(path.stat().st_mtime_ns == age for path, age in ages.items())
    assert {row["status"] for row in files.read_tsv(root / "results" / "status.tsv")} == {"ok"}
    # index, its four jobs, cohort
    assert len(SENT.findall(run.text)) == 6, run.text
