"""`kill -9` at random times: nothing lost, nothing half-written, the same results.

Five kills in the suite; `make test-kills` does twenty (VOXELWAY_KILLS, VOXELWAY_KILLS_SEED).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from .conftest import Project
from .storm import contents, family, half_written, with_workers

KILLS = int(os.environ.get("VOXELWAY_KILLS", "5"))
SEED = int(os.environ.get("VOXELWAY_KILLS_SEED", "0"))
NOTHING = "Nothing to be done"
SHARDS = "shards: {register: 3, segment: 2}\n"


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody disturbed: what it began with, what it left, how long it took."""

    pristine: Project
    results: dict[str, str]
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The run that all others have to equal."""
    pristine = with_workers(tmp_path_factory.mktemp("pristine"))
    pristine.configure("shards: {register: 2, segment: 2}\n")
    project = pristine.copied(tmp_path_factory.mktemp("undisturbed") / "project")
    began = time.monotonic()
    run = project.snakemake()
    assert run.code == 0, run.text
    return Undisturbed(pristine, contents(project.root / "results"), time.monotonic() - began)


def killed_run(project: Project, chance: random.Random, most: float) -> bool:
    """Start a run and kill all of it, or one of its processes; whether it still lived then."""
    run = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--profile", "local", "--cores", "4"],
        cwd=project.root, env=project.environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.wait(chance.uniform(0, most))
        return False
    if chance.random() < 0.5:
        os.killpg(run.pid, signal.SIGKILL)
    else:
        with contextlib.suppress(psutil.NoSuchProcess):
            chance.choice(family(run.pid)).kill()
    run.wait(timeout=300)  # with one of its jobs gone, a run goes on with the others
    return True


def test_kills_at_random_times_change_nothing(undisturbed: Undisturbed, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    kills = lives = 0
    while kills < KILLS:
        lives += 1
        told = f"seed {SEED}, life {lives}"
        project = undisturbed.pristine.copied(tmp_path / f"life{lives}")
        for _ in range(min(3, KILLS - kills)):
            kills += killed_run(project, chance, undisturbed.seconds)
        again = project.snakemake()
        assert again.code == 0, f"{told}: {again.text}"
        expected, found = undisturbed.results, contents(project.root / "results")
        different = [name for name in {*expected, *found} if expected.get(name) != found.get(name)]
        assert not different, f"{told}: {sorted(different)}"
        assert half_written(project.root) == [], told
        assert NOTHING in project.snakemake("--dry-run").text
