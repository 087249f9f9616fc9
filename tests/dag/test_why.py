"""What `voxelway why` tells is what runs; Snakemake's own reasons name what changed."""

from __future__ import annotations

import re
import subprocess
import sys

from .conftest import Project
from .test_models import AFTER_REGISTER
from .test_reruns import append


def why(project: Project, *arguments: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "why", *arguments],
        cwd=project.root, env=project.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return {stage: told for _, stage, told in rows}


def test_before_and_after_a_change(finished: Project) -> None:
    told = why(finished, "sub-one")
    assert set(told.values()) == {"stands"}, told

    append(finished, "pipeline/segment/methods/em.py", "\nEXTRA = 1\n")
    finished.configure("export: {identity: original}\n")
    told = why(finished, "one")
    assert told["segment"] == "runs: code changed"
    assert told["export"] == "runs: configuration changed"
    assert told["evaluate"] == "runs: after segment, unless that comes out as it was"
    assert told["report"] == "runs: after evaluate, unless that comes out as it was"
    assert told["register"] == told["denoise"] == "stands"

    dry = finished.snakemake("--dry-run")
    assert "before: 'code of segment" in dry.text and "now: 'code of segment" in dry.text


def test_a_package_of_another_version(finished: Project) -> None:
    other = finished.root / "antspyx-99.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: antspyx\nVersion: 99.0\n")
    told = why(finished, "one")
    assert re.fullmatch(r"runs: packages changed \(antspyx [\d.]+ → 99\.0\)", told["register"])
    assert told["denoise"] == told["superres"] == "stands"

    dry = finished.snakemake("--dry-run")
    assert dry.jobs == AFTER_REGISTER, dry.text
    assert "now: 'register with antspyx 99.0'" in dry.text


def test_a_subject_that_is_not_there(finished: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "why", "nobody"],
        cwd=finished.root, env=finished.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "E-MANIFEST: 'nobody' is not in the manifest" in done.stderr
