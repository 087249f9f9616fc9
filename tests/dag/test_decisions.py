"""Decisions of the QC pages in the workflow: what they run again, and what not."""

from __future__ import annotations

from .conftest import Project

HEAD = "subject\tsession\tstage\trating\tcomment\trater\tdate\n"
NOTHING = "Nothing to be done"


def decide(project: Project, *rows: str) -> None:
    """Write the table and name it in the configuration."""
    text = HEAD + "".join(row.replace(" - ", "  ").replace(" ", "\t") + "\n" for row in rows)
    (project.root / "ratings.tsv").write_text(text)
    project.configure("qc_decisions: ratings.tsv\n")


def test_a_rerun_is_of_that_stage_and_subject_and_happens_once(finished: Project) -> None:
    decide(finished, "one 01 segment rerun - R 2026-01-01")
    run = finished.snakemake()
    after = ("segment", "evaluate", "export", "report")
    assert run.executed == {**{rule: ["one"] for rule in after}, "cohort": [""]}, run.text
    assert NOTHING in finished.snakemake("--dry-run").text


def test_ratings_that_decide_nothing_run_nothing(finished: Project) -> None:
    decide(finished, "one 01 segment pass - R 2026-01-01", "two 01 - pass - R 2026-01-01")
    assert NOTHING in finished.snakemake("--dry-run").text


def test_an_excluded_subject_runs_from_preprocess_and_the_other_not(finished: Project) -> None:
    decide(finished, "two 01 - exclude moved R 2026-01-01")
    dry = finished.snakemake("--dry-run")
    assert dry.code == 0, dry.text
    assert [dry.jobs[rule] for rule in ("preprocess", "denoise", "superres", "register")] == [1] * 4
    assert "ingest" not in dry.jobs
    # what was trained on it is trained again, without it
    assert dry.jobs["train_synthesize"] == 1 and dry.jobs["synthesize"] == 2


def test_a_wrong_table_is_refused_before_any_job(finished: Project) -> None:
    decide(finished, "one 01 segment perhaps - R 2026-01-01")
    run = finished.snakemake("--dry-run")
    assert run.code != 0
    assert "E-QC-DECISIONS" in run.text and "perhaps" in run.text
