"""A Slurm cluster of four nodes on this host, and the project with stages that compute nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.dag.conftest import ANSI, Project, Run, project  # noqa: F401  (a fixture)

HERE = Path(__file__).resolve().parent
PROGRAMS = ("slurmctld", "slurmd", "munged", "squeue", "sbatch")
STATE = Path(os.environ.get("SLURM_CI_RUN", "/tmp/voxelway-slurm"))


@pytest.fixture(scope="session", autouse=True)
def cluster() -> Iterator[None]:
    """Start the cluster; the tests skip where Slurm is not installed or this is not root."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking or os.getuid() != 0:
        pytest.skip(f"needs root and {', '.join(lacking or PROGRAMS)}: `make test-slurm`")
    # no job, node or requeue of an earlier cluster
    shutil.rmtree(STATE, ignore_errors=True)
    environment = {**os.environ, "SLURM_CI_RUN": str(STATE)}
    up, down = (["bash", str(HERE / "cluster" / f"{name}.sh")] for name in ("up", "down"))
    subprocess.run([*up, "none"], check=True, timeout=120, env=environment)
    try:
        yield
    finally:
        subprocess.run(down, check=False, timeout=120, env=environment)


def queue() -> list[str]:
    """Jobs that wait or run: id and comment."""
    asked = ["squeue", "--noheader", "--states", "PENDING,RUNNING", "--format", "%i %k"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()


def job_of(process: int) -> tuple[str, str]:
    """The Slurm job that a process belongs to, and its node."""
    words = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    found = dict(word.partition("=")[::2] for word in words)
    return found["SLURM_JOB_ID"], found["SLURMD_NODENAME"]


def wait_for(what: Callable[[], object], seconds: float = 240) -> None:
    """Wait until something is so; fail when it is not in time."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


@dataclass
class OnCluster:
    """The project, run with the slurm profile as a user types it, but polled every second."""

    project: Project
    runs: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def command(self) -> list[str]:
        """Command line of a run."""
        return [
            *(sys.executable, str(HERE / "fastpoll.py"), "--profile", "slurm"),
            *("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10"),
        ]

    def snakemake(self, *arguments: str) -> Run:
        """Run to its end."""
        return self.ended(self.begin(*arguments))

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a run in the background."""
        log = (self.project.root / "run.log").open("w", encoding="utf-8")
        run = subprocess.Popen(
            [*self.command, *arguments], cwd=self.project.root, env=self.project.environment,
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True, text=True,
            # in the background of a shell Ctrl-C is ignored, and that is passed on
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        self.runs.append(run)
        return run

    def ended(self, run: subprocess.Popen[str]) -> Run:
        """How a run in the background ended."""
        code = run.wait(timeout=600)
        return Run(code, ANSI.sub("", (self.project.root / "run.log").read_text()))

    def process(self, work: str) -> int:
        """The process that was ordered to hang at a stage of a subject, once it does."""
        mark = self.project.root / f"{work}.pid"
        wait_for(lambda: mark.is_file() and mark.read_text())
        return int(mark.read_text())

    def end(self) -> None:
        """End what a test that failed half-way has left, which would fail those after it."""
        for run in self.runs:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
        subprocess.run(["scancel", "--user", "root"], check=True, timeout=60)
        wait_for(lambda: not queue())


@pytest.fixture
def on_cluster(project: Project) -> Iterator[OnCluster]:  # noqa: F811
    """Two subjects, the profiles where Snakemake looks for them."""
    with beside(project) as found:
        yield found


@contextmanager
def beside(project: Project) -> Iterator[OnCluster]:  # noqa: F811
    """A project whose profile for Slurm stands where Snakemake looks for it."""
    (project.root / "slurm").symlink_to("workflow/profiles/slurm")
    found = OnCluster(project)
    try:
        yield found
    finally:
        found.end()
