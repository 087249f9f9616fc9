"""`snakemake --profile slurm` on a real cluster: how many jobs, where, and what a kill leaves."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable

from .conftest import OnCluster, queue

SUBMITTED = re.compile(
    r"^(?:Job|Group job) (\S+) has been submitted with SLURM jobid", re.MULTILINE
)
NOTHING = "Nothing to be done"


def wait_for(what: Callable[[], bool], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def test_chains_of_a_subject_are_one_job_each(on_cluster: OnCluster) -> None:
    run = on_cluster.snakemake()
    assert run.code == 0, run.text
    # index, template, training, cohort; prepare, register, synthesize, finish of two subjects
    assert len(SUBMITTED.findall(run.text)) == 4 + 2 * 4, run.text
    assert "Auto-selected partition 'cpu'" in run.text
    assert "partition 'gpu'" not in run.text
    assert queue() == []
    assert NOTHING in on_cluster.project.snakemake("--dry-run").text


def test_a_model_is_loaded_once_for_several_subjects_on_a_gpu(on_cluster: OnCluster) -> None:
    on_cluster.project.add_subject("three")
    on_cluster.project.configure("register: {method: voxelmorph}\n")
    run = on_cluster.snakemake()
    assert run.code == 0, run.text
    chosen = Counter(re.findall(r"Auto-selected partition '(\w+)' for job (\w+)", run.text))
    assert chosen["gpu", "register"] == 1
    assert {rule for partition, rule in chosen if partition == "gpu"} == {"register"}


def test_after_a_killed_run_its_jobs_are_cancelled_and_one_command_finishes(
    on_cluster: OnCluster,
) -> None:
    project = on_cluster.project
    project.order("hang register two")
    run = on_cluster.begin()
    wait_for((project.root / "register-two.pid").exists)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert any("register" in job for job in queue())
    project.order("")
    again = on_cluster.snakemake()
    assert again.code == 0, again.text
    assert "jobs that a killed run had left" in again.text
    assert queue() == []
    assert NOTHING in project.snakemake("--dry-run").text


def test_a_job_that_is_killed_is_tried_again(on_cluster: OnCluster) -> None:
    project = on_cluster.project
    project.order("hang denoise one")
    run = on_cluster.begin()
    mark = project.root / "denoise-one.pid"
    wait_for(mark.exists)
    project.order("")
    os.kill(int(mark.read_text()), signal.SIGKILL)
    assert run.wait(timeout=300) == 0
    assert NOTHING in project.snakemake("--dry-run").text
