"""Disks that are full, read-only or lie; signals: one command finishes, with the same results."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import made
from pipeline.paths import Results, Unit

from .conftest import Project, copy
from .storm import contents, family, half_written, with_workers

NOTHING = "Nothing to be done"
TWO = Unit("two", "01")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two subjects whose stages go through the real runner; nothing has run."""
    return with_workers(tmp_path_factory.mktemp("pristine"))


@pytest.fixture(scope="module")
def undisturbed(pristine: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after a run that nobody disturbed; not to be changed."""
    project = pristine.copied(tmp_path_factory.mktemp("undisturbed") / "project")
    run = project.snakemake()
    assert run.code == 0, run.text
    return project


@pytest.fixture
def project(pristine: Project, tmp_path: Path) -> Project:
    """A fresh copy."""
    return pristine.copied(tmp_path / "project")


def finishes(project: Project, undisturbed: Project) -> None:
    run = project.snakemake()
    assert run.code == 0, run.text
    here, there = (contents(one.root / "results") for one in (project, undisturbed))
    assert [name for name in {*here, *there} if here.get(name) != there.get(name)] == []
    assert half_written(project.root) == []
    assert NOTHING in project.snakemake("--dry-run").text


@pytest.fixture
def small_disk(project: Project) -> Iterator[Callable[[str], None]]:
    """Results on a file system of 4 MB; remounts it with other options."""
    results = project.root / "results"
    results.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(results)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can't be mounted here")

    def again(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(results)], check=True)

    try:
        yield again
    finally:
        subprocess.run(["umount", str(results)], check=True)


def test_a_full_disk(
    project: Project, undisturbed: Project, small_disk: Callable[[str], None]
) -> None:
    run = project.snakemake()
    assert run.code not in (0, 5), run.text
    assert "E-DISK-FULL" in run.text
    small_disk("size=200m")
    finishes(project, undisturbed)


def test_results_that_can_t_be_written(
    project: Project, undisturbed: Project, small_disk: Callable[[str], None]
) -> None:
    small_disk("size=200m")
    small_disk("ro")
    run = project.snakemake()
    assert run.code == 4, run.text
    assert "E-DIR-WRITE: The folder can't be written. In results." in run.text
    assert "Traceback" not in run.text
    small_disk("rw")
    finishes(project, undisturbed)


def test_an_image_that_was_damaged_is_noticed_and_made_again(
    undisturbed: Project, tmp_path: Path
) -> None:
    project = copy(undisturbed, tmp_path / "project")
    results = Results(project.root / "results")
    image = results.image("denoise", TWO, "T1w")
    content = bytearray(image.read_bytes())
    content[len(content) // 2] ^= 1
    image.write_bytes(content)
    # the next stage has to read it
    made.spoil(results, TWO, "superres")
    (project.root / "results" / "logs" / "cohort" / "complete").unlink()  # as a failed run does
    run = project.snakemake()
    assert run.code not in (0, 5), run.text
    assert "E-IMG-CHANGED" in run.text and "the next run makes denoise anew" in run.text
    finishes(project, undisturbed)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_to_the_run_alone(project: Project, undisturbed: Project, name: str) -> None:
    """As a scheduler or a closed terminal sends it; Ctrl-C goes to all of its processes."""
    project.order("nap denoise two")
    run = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--profile", "local", "--cores", "4"],
        cwd=project.root, env=project.environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
        # who runs the tests may have told their processes to ignore it, as nohup does
        preexec_fn=lambda: signal.signal(signal.Signals[name], signal.SIG_DFL),
    )  # fmt: skip
    mark = project.root / "denoise-two.pid"
    while not mark.is_file():
        assert run.poll() is None
        time.sleep(0.1)
    os.kill(run.pid, signal.Signals[name])
    assert run.wait(timeout=120) != 0
    project.order("")
    finishes(project, undisturbed)
    assert family(int(mark.read_text())) == []
