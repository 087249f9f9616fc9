"""Runs that are killed, or started twice: one command finishes, nothing is left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import pytest

from pipeline import made
from pipeline.paths import Results, Unit

from .conftest import Project

NOTHING = "Nothing to be done"


def wait_for(what: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def begun(project: Project, name: str) -> int:
    """Start a run in the background and wait until a job hangs; the run's process."""
    run = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--profile", "local", "--cores", "4"],
        cwd=project.root, env=project.environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
        # in the background of a shell Ctrl-C is ignored, and that is passed on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    wait_for((project.root / f"{name}.pid").exists)
    return run.pid


def alive(project: Project, name: str) -> bool:
    process = int((project.root / f"{name}.pid").read_text())
    return psutil.pid_exists(process) and psutil.Process(process).status() != "zombie"


@pytest.mark.parametrize("how", ["kill -9", "Ctrl-C"])
def test_after_a_killed_run_one_command_finishes(project: Project, how: str) -> None:
    project.order("hang denoise two")
    run = begun(project, "denoise-two")
    if how == "Ctrl-C":  # the terminal sends it to all processes of the run
        os.killpg(run, signal.SIGINT)
    else:
        os.kill(run, signal.SIGKILL)
    wait_for(lambda: not psutil.pid_exists(run) or psutil.Process(run).status() == "zombie")
    left = alive(project, "denoise-two")
    assert left == (how == "kill -9")
    project.order("")
    again = project.snakemake()
    assert again.code == 0, again.text
    assert not alive(project, "denoise-two")
    assert ("Ended" in again.text) == left
    assert NOTHING in project.snakemake("--dry-run").text


def test_a_second_run_on_the_same_results_is_refused(project: Project) -> None:
    project.order("hang denoise two")
    run = begun(project, "denoise-two")
    try:
        second = project.snakemake()
        assert second.code == 4, second.text
        assert f"E-RUNNING: Another run works on these results: process {run} on" in second.text
        assert alive(project, "denoise-two")
        assert project.snakemake("--dry-run").code == 0
    finally:
        os.killpg(run, signal.SIGKILL)


def test_what_was_damaged_is_made_again_from_there(finished: Project) -> None:
    made.spoil(Results(finished.root / "results"), Unit("two", "01"), "denoise")
    (finished.root / "results" / "logs" / "cohort" / "complete").unlink()  # as a failed run does
    run = finished.snakemake()
    assert run.code == 0, run.text
    assert run.executed["denoise"] == run.executed["register"] == ["two"]
    assert "ingest" not in run.executed and "preprocess" not in run.executed
    # a model was trained on it, which is used for both
    assert run.executed["train_synthesize"] == [""]
    assert run.executed["report"] == ["one", "two"]
