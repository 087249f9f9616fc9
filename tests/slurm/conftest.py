"""A Slurm cluster of four nodes on this host, and the project with stages that compute nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.dag.conftest import ANSI, Project, Run, project  # noqa: F401  (a fixture)

HERE = Path(__file__).resolve().parent
PROGRAMS = ("slurmctld", "slurmd", "munged", "squeue", "sbatch")


@pytest.fixture(scope="session", autouse=True)
def cluster() -> Iterator[None]:
    """Start the cluster; the tests skip where Slurm is not installed or this is not root."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking or os.getuid() != 0:
        pytest.skip(f"needs root and {', '.join(lacking or PROGRAMS)}: `make test-slurm`")
    subprocess.run(["bash", str(HERE / "cluster" / "up.sh"), "none"], check=True, timeout=120)
    try:
        yield
    finally:
        subprocess.run(["bash", str(HERE / "cluster" / "down.sh")], check=False, timeout=120)


def queue() -> list[str]:
    """Jobs that wait or run: id and comment."""
    asked = ["squeue", "--noheader", "--states", "PENDING,RUNNING", "--format", "%i %k"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()


@dataclass
class OnCluster:
    """The project, run with the slurm profile as a user types it, but polled every second."""

    project: Project

    @property
    def command(self) -> list[str]:
        """Command line of a run."""
        return [
            *(sys.executable, str(HERE / "fastpoll.py"), "--profile", "slurm"),
            *("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10"),
        ]

    def snakemake(self, *arguments: str) -> Run:
        """Run to its end."""
        done = subprocess.run(
            [*self.command, *arguments], cwd=self.project.root, env=self.project.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600,
        )  # fmt: skip
        return Run(done.returncode, ANSI.sub("", done.stdout))

    def begin(self) -> subprocess.Popen[bytes]:
        """Start a run in the background."""
        return subprocess.Popen(
            self.command, cwd=self.project.root, env=self.project.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip


@pytest.fixture
def on_cluster(project: Project) -> OnCluster:  # noqa: F811
    """Two subjects, the profiles where Snakemake looks for them."""
    (project.root / "slurm").symlink_to("workflow/profiles/slurm")
    return OnCluster(project)
