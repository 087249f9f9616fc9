"""Which jobs run, and why: the first time, after a change, when a subject comes or fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .conftest import Project

EACH = ("ingest", "preprocess", "denoise", "superres", "register", "synthesize", "segment",
        "evaluate", "export", "report")  # fmt: skip
AFTER_DENOISE = {
    **dict.fromkeys(EACH[2:], 2),
    "train_synthesize": 1,
    "cohort": 1,
}
AFTER_SEGMENT = {"segment": 2, "evaluate": 2, "export": 2, "report": 2, "cohort": 1}
NOTHING = "Nothing to be done"


def edit(project: Project, name: str, old: str, new: str) -> None:
    path = project.root / name
    text = path.read_text()
    assert old in text, f"{name} holds no {old!r}"
    path.write_text(text.replace(old, new, 1))


def append(project: Project, name: str, text: str) -> None:
    path = project.root / name
    path.write_text(path.read_text() + text)


def test_a_fresh_run_then_nothing(project: Project) -> None:
    dry = project.snakemake("--dry-run")
    assert dry.code == 0, dry.text
    assert dry.jobs.get("index") == 1

    run = project.snakemake()
    assert run.code == 0, run.text
    assert run.executed == {
        "index": [""],
        "template": [""],
        "train_synthesize": [""],
        "cohort": [""],
        **{key: ["one", "two"] for key in EACH},
    }
    again = project.snakemake()
    assert again.code == 0 and NOTHING in again.text


def test_comments_docstrings_and_ages_run_nothing(finished: Project) -> None:
    for path in (finished.root / "pipeline").rglob("*.py"):
        path.write_text(path.read_text() + "\n# a comment\n")
    edit(finished, "pipeline/denoise/stage.py", '"""', '"""Another docstring. ')
    later = 4_000_000_000
    for path in (finished.root / "workflow").rglob("*.py"):
        os.utime(path, (later, later))
    assert NOTHING in finished.snakemake("--dry-run").text


def test_a_line_of_the_denoise_method(finished: Project) -> None:
    append(finished, "pipeline/denoise/methods/collaborative.py", "\nEXTRA = 1\n")
    dry = finished.snakemake("--dry-run")
    assert dry.jobs == AFTER_DENOISE, dry.text
    assert "Params have changed since last execution" in dry.text


def test_a_method_that_is_not_used_runs_nothing(finished: Project) -> None:
    append(finished, "pipeline/denoise/methods/bilateral.py", "\nEXTRA = 1\n")
    append(finished, "pipeline/cli.py", "\nEXTRA = 1\n")
    assert NOTHING in finished.snakemake("--dry-run").text


def test_the_denoise_strength(finished: Project) -> None:
    finished.configure("denoise:\n  strength: 0.7\n")
    assert finished.snakemake("--dry-run").jobs == AFTER_DENOISE


def test_a_segmentation_parameter(finished: Project) -> None:
    finished.configure("segment:\n  coarse:\n    spacing: 5.0\n")
    assert finished.snakemake("--dry-run").jobs == AFTER_SEGMENT


def test_where_and_how_wide_it_runs_does_not_count(finished: Project) -> None:
    dry = finished.snakemake("--dry-run", "--cores", "1", "--default-resources", "mem_mb=9999")
    assert NOTHING in dry.text


def test_a_new_subject_runs_alone(finished: Project) -> None:
    finished.add_subject("three")
    dry = finished.snakemake("--dry-run")
    assert dry.jobs.get("index") == 1
    assert set(dry.jobs) <= {"index", "cohort"}, dry.text
    run = finished.snakemake()
    assert run.code == 0, run.text
    assert run.executed == {
        "index": [""],
        "cohort": [""],
        **{key: ["three"] for key in EACH},
    }
    assert NOTHING in finished.snakemake("--dry-run").text


def test_a_refused_subject_stops_nobody_else(project: Project) -> None:
    project.order("fail denoise one")
    run = project.snakemake()
    assert run.code == 5
    assert "Traceback" not in run.text
    assert "sub-one_ses-01  denoise  E-MASK-EMPTY" in run.text
    assert "Some subjects failed" in run.text
    table = (project.root / "results" / "status.tsv").read_text()
    assert "one\t01\tdenoise\tfailed" in table
    assert "one\t01\tsegment\tskipped" in table
    assert "one\t01\treport\tok" in table
    assert "two\t01\treport\tok" in table
    assert NOTHING in project.snakemake("--dry-run").text


@pytest.mark.parametrize("before", ["nothing", "a whole run"])
def test_a_crash_stops_nobody_else_and_is_mended_by_the_next_run(
    project: Project, before: str
) -> None:
    if before == "a whole run":
        assert project.snakemake().code == 0
        append(project, "pipeline/register/methods/syn.py", "\nEXTRA = 1\n")
    project.order("crash register two")
    run = project.snakemake()
    assert run.code != 0
    done = project.root / "results/derivatives/report/sub-one/ses-01/sub-one_ses-01_status.json"
    assert done.is_file()
    project.order("")
    run = project.snakemake()
    assert run.code == 0, run.text
    assert set(run.executed) == {*EACH[4:5], *EACH[6:], "cohort"}
    assert all(who in (["two"], [""]) for who in run.executed.values())


@pytest.mark.parametrize("profile", ["local", "slurm"])
def test_the_profiles_are_read(project: Project, profile: str) -> None:
    run = project.snakemake("--profile", str(Path("workflow/profiles") / profile), "--dry-run")
    assert run.code == 0, run.text
