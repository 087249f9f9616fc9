"""Several subjects a job: who runs again when one comes, goes, fails, or is rated."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Project, copy, make

ON_SHARDS = ("denoise", "superres", "register", "synthesize", "segment")
NOTHING = "Nothing to be done"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Four subjects, three of them in the first job of each stage."""
    project = make(tmp_path_factory.mktemp("sharded"))
    for name in ("three", "four"):
        project.add_subject(name)
    project.configure("shards:\n" + "".join(f"  {stage}: 3\n" for stage in ON_SHARDS))
    run = project.snakemake()
    assert run.code == 0, run.text
    assert {rule: len(jobs) for rule, jobs in run.executed.items() if rule in ON_SHARDS} == (
        dict.fromkeys(ON_SHARDS, 2)
    )
    assert len(run.executed["evaluate"]) == 4
    return project


@pytest.fixture
def sharded(whole: Project, tmp_path: Path) -> Project:
    """A copy of it for one test."""
    return copy(whole, tmp_path / "project")


def test_nothing_runs_twice(sharded: Project) -> None:
    assert NOTHING in sharded.snakemake("--dry-run").text


def test_a_new_subject_disturbs_no_job_that_stands(sharded: Project) -> None:
    sharded.add_subject("five")
    run = sharded.snakemake()
    assert run.code == 0, run.text
    assert run.executed["evaluate"] == run.executed["preprocess"] == ["five"]
    assert all(len(run.executed[stage]) == 1 for stage in ON_SHARDS)
    assert NOTHING in sharded.snakemake("--dry-run").text


def test_a_subject_that_failed_holds_nobody_up(sharded: Project) -> None:
    sharded.order("fail denoise three")
    sharded.add_subject("five")
    run = sharded.snakemake("--forcerun", "denoise")
    assert run.code == 5, run.text
    assert len(run.executed["evaluate"]) == 5
    assert NOTHING in sharded.snakemake("--dry-run").text


def test_sizes_that_follow_from_the_method(project: Project) -> None:
    """A learned method with a model to load takes several subjects a job, others one."""
    project.configure("register: {method: voxelmorph}\n")
    run = project.snakemake()
    assert run.code == 0, run.text
    assert len(run.executed["register"]) == 1
    assert len(run.executed["denoise"]) == len(run.executed["synthesize"]) == 2
