"""Faults on a real cluster: jobs that are killed, starved, pre-empted; nodes and runs that die.

After each, one command finishes the run, and the results are those of an undisturbed run.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.paths import Results, Unit
from tests.dag.conftest import Project, copy
from tests.dag.storm import contents, half_written, with_workers

from .conftest import STATE, OnCluster, beside, job_of, queue, wait_for

NOTHING = "Nothing to be done"
#: What is asked of the cluster: the first stage of everybody, which is enough to go wrong.
INGEST = [str(Results(Path("results")).status("ingest", Unit(who, "01"))) for who in
          ("one", "two", "three")]  # fmt: skip
#: How the executor tells of a job that it sends.
SENT = re.compile(r"submitted with SLURM jobid (\d+)")


def tell(*command: str) -> None:
    subprocess.run(command, check=True, timeout=60, capture_output=True)


def state(job: str) -> str:
    """How a job ended, as Slurm has it."""
    asked = ["squeue", "--states", "all", "--noheader", "--jobs", job, "--format", "%T"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Three subjects whose stages go through the real runner; only the index has run."""
    project = with_workers(tmp_path_factory.mktemp("pristine"))
    project.add_subject("three")
    assert project.snakemake("index").code == 0
    return project


@pytest.fixture(scope="module")
def expected(pristine: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a run leaves that nobody disturbs."""
    project = copy(pristine, tmp_path_factory.mktemp("undisturbed") / "project")
    run = project.snakemake()
    assert run.code == 0, run.text
    return contents(project.root / "results")


@pytest.fixture
def on_cluster(pristine: Project, tmp_path: Path) -> Iterator[OnCluster]:
    """A fresh copy."""
    with beside(copy(pristine, tmp_path / "project")) as found:
        yield found


def finishes(project: Project, expected: dict[str, str]) -> None:
    """One command, here without the cluster, which makes the whole no slower than it has to be."""
    run = project.snakemake()
    assert run.code == 0, run.text
    assert contents(project.root / "results") == expected
    assert half_written(project.root) == []
    assert NOTHING in project.snakemake("--dry-run").text


def test_jobs_that_are_killed_or_take_too_much_are_tried_again(
    on_cluster: OnCluster, expected: dict[str, str]
) -> None:
    """`kill -9` of a job, out of memory, time limit: each is sent once more, with more."""
    project = on_cluster.project
    project.order("hang ingest one\neat ingest two\nhang ingest three\n")
    run = on_cluster.begin(*INGEST, "--set-resources", "ingest:mem_mb=800*attempt")
    killed, greedy, slow = (on_cluster.process(f"ingest-{who}") for who in ("one", "two", "three"))
    jobs = [job_of(process)[0] for process in (killed, greedy, slow)]
    # from here on the second eats
    project.order("")
    os.kill(killed, signal.SIGKILL)
    tell("scontrol", "update", f"JobId={jobs[2]}", "TimeLimit=1")
    ended = on_cluster.ended(run)
    assert ended.code == 0, ended.text
    assert len(SENT.findall(ended.text)) == 3 + 3, ended.text
    states = [state(job) for job in jobs]
    assert "COMPLETED" not in states and states[2] == "TIMEOUT", states
    assert "mem_mb=800," in ended.text and "mem_mb=1600," in ended.text
    finishes(project, expected)


def test_lost_nodes_and_preemption_are_survived(
    on_cluster: OnCluster, expected: dict[str, str]
) -> None:
    """Slurm brings the jobs back; with more memory than half a node each has a node for itself."""
    project = on_cluster.project
    # a partition of low priority, from which jobs of the others take what they need
    partitions = project.root / "workflow" / "profiles" / "slurm" / "partitions.yaml"
    partitions.write_text(partitions.read_text().replace("  cpu:", "  scavenge:"))
    project.order("hang ingest one\nhang ingest two\n")
    run = on_cluster.begin(*INGEST, "--set-resources", "ingest:mem_mb=5000")
    lost, preempted = (job_of(on_cluster.process(f"ingest-{who}")) for who in ("one", "two"))
    assert lost[1] != preempted[1]
    project.order("")
    os.kill(int((STATE / f"slurmd.{lost[1]}.pid").read_text()), signal.SIGKILL)
    tell("sbatch", "--partition", "cpu", "--nodelist", preempted[1], "--exclusive", "--mem", "6000",
         "--output", "/dev/null", "--wrap", "sleep 2")  # fmt: skip
    try:
        ended = on_cluster.ended(run)
    finally:
        tell("slurmd", "-N", lost[1])
    assert ended.code == 0, ended.text
    assert "Auto-selected partition 'scavenge'" in ended.text
    # none was given up and sent anew
    assert len(SENT.findall(ended.text)) == 3, ended.text
    finishes(project, expected)


def test_runs_that_are_ended_leave_no_jobs(on_cluster: OnCluster, expected: dict[str, str]) -> None:
    """Ctrl-C cancels the jobs at once, after `kill -9` the next run does, SIGTERM lets them end."""
    project = on_cluster.project
    interrupted = hung(on_cluster, "hang")
    interrupted.send_signal(signal.SIGINT)
    assert interrupted.wait(timeout=300) != 0
    wait_for(lambda: not queue())
    killed = hung(on_cluster, "hang")
    killed.kill()
    killed.wait()
    assert queue()
    asked = hung(on_cluster, "nap")
    asked.send_signal(signal.SIGTERM)
    ended = on_cluster.ended(asked)
    assert "jobs that a killed run had left" in ended.text
    assert queue() == []
    assert (project.root / INGEST[0]).is_file()
    project.order("")
    finishes(project, expected)


def hung(on_cluster: OnCluster, how: str) -> subprocess.Popen[str]:
    """A run in the background, whose first subject hangs or takes a nap now."""
    (on_cluster.project.root / "ingest-one.pid").unlink(missing_ok=True)
    on_cluster.project.order(f"{how} ingest one\n")
    run = on_cluster.begin(*INGEST)
    on_cluster.process("ingest-one")
    return run
