"""Helpers of the workflow: arrivals, the cohort, what a job asks for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import config
from pipeline.ingest.manifest import Row, write_manifest
from pipeline.paths import Results, Unit
from workflow.lib import arrivals, cohort, jobs, resources


def row(subject: str, suffix: str, spacing: tuple[float, float, float], split: str) -> Row:
    return Row(
        subject=subject, session="01", series=subject + suffix, suffix=suffix, modality="MR",
        manufacturer="", field_strength=None, rows=10, columns=20, slices=5,
        spacing_x=spacing[0], spacing_y=spacing[1], spacing_z=spacing[2], thickness=None,
        files=5, voxels=1000, split=split, shard=0, digest="d",
    )  # fmt: skip


def known(*folders: Path) -> dict[str, int]:
    return {str(folder.resolve()): folder.stat().st_mtime_ns for folder in folders}


@pytest.fixture
def dicom(tmp_path: Path) -> Path:
    (tmp_path / "dicom" / "one" / "series").mkdir(parents=True)
    return tmp_path / "dicom"


def test_nothing_arrived(dicom: Path) -> None:
    assert not arrivals.changed(known(dicom, dicom / "one", dicom / "one" / "series"), dicom)


def test_a_file_deep_down_is_noticed(dicom: Path) -> None:
    before = known(dicom, dicom / "one", dicom / "one" / "series")
    os.utime(dicom / "one" / "series", ns=(1, 1))
    before[str((dicom / "one" / "series").resolve())] = 1
    (dicom / "one" / "series" / "IM1").write_text("x")
    assert arrivals.changed(before, dicom)


def test_a_folder_that_left_and_another_root_are_noticed(dicom: Path, tmp_path: Path) -> None:
    before = known(dicom, dicom / "one", dicom / "one" / "series")
    (dicom / "one" / "series").rmdir()
    assert arrivals.changed(before, dicom)
    (tmp_path / "other").mkdir()
    assert arrivals.changed(known(dicom), tmp_path / "other")


def test_the_ledger_is_marked_once(dicom: Path, tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    arrivals.refresh(results, dicom)
    path = arrivals.ledger(results)
    assert json.loads(path.read_text()) == {"stale": 0}
    assert results.private.stat().st_mode & 0o077 == 0
    age = path.stat().st_mtime_ns
    arrivals.refresh(results, dicom)
    assert path.stat().st_mtime_ns == age


def test_the_cohort_knows_its_units_splits_and_common_grid(tmp_path: Path) -> None:
    rows = [
        row("b", "T2w", (2.0, 2.0, 6.0), "test"),
        row("a", "T1w", (1.0, 1.0, 1.0), "train"),
        row("a", "T2w", (1.0, 1.0, 4.0), "train"),
    ]
    write_manifest(tmp_path / "manifest.tsv", rows)
    found = cohort.load(tmp_path / "manifest.tsv")
    assert found.units == [Unit("a", "01"), Unit("b", "01")]
    assert found.split("train") == [Unit("a", "01")]
    # 20 x 10 x 5 voxels of 4 mm3 fill 4,000 voxels of 1 mm3; of 24 mm3 3,000 of 8 mm3
    assert found.isotropic_voxels(Unit("a", "01")) == 4000
    assert found.isotropic_voxels(Unit("b", "01")) == 3000
    assert found.isotropic_voxels(Unit("c", "01")) == 0


@given(st.sampled_from(sorted(resources.NEEDS)), st.integers(0, 10**9), st.integers(1, 5))
def test_a_job_asks_for_more_with_size_and_attempt(stage: str, voxels: int, attempt: int) -> None:
    memory = resources.memory_mb(stage, voxels, attempt)
    assert memory >= 400 * attempt
    assert resources.memory_mb(stage, voxels, attempt + 1) > memory
    assert resources.memory_mb(stage, voxels + 10**7, attempt) > memory
    once = resources.minutes(stage, [voxels], attempt)
    assert once >= 1
    assert resources.minutes(stage, [voxels], attempt + 1) > once
    assert once < resources.minutes(stage, [voxels] * 16, attempt) <= 16 * once


def test_chains_hold_no_stage_that_asks_for_a_gpu_or_takes_several_units(tmp_path: Path) -> None:
    def never() -> cohort.Cohort:
        raise AssertionError("not asked for")

    sizes = {"superres": 4, "denoise": 1, "segment": 1}
    made = jobs.Jobs(Results(tmp_path), sizes, never, frozenset({"segment"}))
    assert made.group("preprocess") == made.group("denoise") == "prepare"
    assert made.group("superres") is None
    assert made.group("segment") is None
    assert made.group("export") == "finish"
    assert made.group("register") is None


def test_sizes_of_jobs_follow_from_the_method_unless_given() -> None:
    settings = config.resolve({"dicom": "d", "results": "r", "register": {"method": "voxelmorph"}})
    assert jobs.sizes(settings)["register"] == jobs.MANY
    assert jobs.sizes(settings)["denoise"] == jobs.sizes(settings)["synthesize"] == 1
    settings["shards"] |= {"register": 3, "denoise": 5}
    assert (jobs.sizes(settings)["register"], jobs.sizes(settings)["denoise"]) == (3, 5)
    assert jobs.with_models(settings) == {"register"}
