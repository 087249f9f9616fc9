"""The cohort page beside the workflow: made early by jobs, taken along in Snakemake's report."""

from __future__ import annotations

import zipfile

from .conftest import Project


def test_a_page_that_stands_early_keeps_no_rule_from_running(project: Project) -> None:
    early = project.root / "results" / "qc" / "index.html"
    early.parent.mkdir(parents=True)
    early.write_text("refreshed by a job")
    run = project.snakemake()
    assert run.code == 0 and run.executed["cohort"] == [""]
    assert early.read_text() != "refreshed by a job"


def test_a_page_that_is_written_again_reruns_nothing(finished: Project) -> None:
    qc = finished.root / "results" / "qc"
    for name in ("index.html", "cohort.js", "cohort-live.js", "cohort-stamp.js"):
        (qc / name).write_text("refreshed by a job")
    assert finished.snakemake().executed == {}


def test_outlier_limits_run_the_cohort_page_and_no_subject_page(finished: Project) -> None:
    finished.configure("report: {outliers: {robust_z: 5}}\n")
    assert set(finished.snakemake().executed) == {"cohort"}


def test_snakemakes_report_holds_the_page_with_its_captions(finished: Project) -> None:
    run = finished.snakemake("--report", "report.zip")
    assert run.code == 0, run.text
    with zipfile.ZipFile(finished.root / "report.zip") as archive:
        names = archive.namelist()
        shown = archive.read("report/report.html").decode()
        page = archive.read(next(name for name in names if name.endswith("/index.html")))
    assert page == (finished.root / "results" / "qc" / "index.html").read_bytes()
    assert any(name.endswith("/metrics.tsv") for name in names)
    assert "One row a session: the verdict" in shown and "Every number of every session" in shown
