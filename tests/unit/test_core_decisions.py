"""Decisions of the QC pages: what is read, what counts, what a stage does about it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import decisions, files, runner, status
from pipeline.decisions import COLUMNS, Decision, Decisions
from pipeline.errors import VoxelwayError
from pipeline.paths import STAGES, Results, Unit

ONE, TWO = Unit("one", "01"), Unit("two", "01")


def row(rating: str, stage: str = "", date: str = "2026-01-01", unit: Unit = ONE) -> Decision:
    return Decision(unit.subject, unit.session, stage, rating, "", "R", date)


def table(path: Path, *rows: Decision) -> Path:
    files.write_tsv(path, COLUMNS, [vars(each) for each in rows])
    return path


def stopped(chosen: Decisions, unit: Unit = ONE) -> list[str]:
    return [stage for stage in STAGES if chosen.against(unit, stage) is not None]


def marked(chosen: Decisions, unit: Unit = ONE) -> list[str]:
    return [stage for stage in STAGES if chosen.mark(unit, stage)]


@pytest.mark.parametrize(
    ("rating", "stage", "stops", "runs_again"),
    [
        ("exclude", "", ["preprocess"], ["preprocess"]),
        ("exclude", "segment", ["preprocess"], ["preprocess"]),
        ("fail", "", ["preprocess"], ["preprocess"]),
        ("fail", "segment", ["segment"], ["segment"]),
        ("fail", "ingest", ["ingest"], ["ingest"]),
        ("rerun", "register", [], ["register"]),
        ("rerun", "", [], ["preprocess"]),
        ("pass", "", [], []),
        ("pass", "segment", [], []),
    ],
)
def test_what_a_rating_does(
    rating: str, stage: str, stops: list[str], runs_again: list[str]
) -> None:
    chosen = Decisions([row(rating, stage)])
    assert stopped(chosen) == stops
    assert marked(chosen) == runs_again
    assert stopped(chosen, TWO) == [] and marked(chosen, TWO) == []


def test_the_later_row_counts_in_any_order() -> None:
    early, late = row("exclude", date="2026-01-01"), row("pass", date="2026-02-01")
    assert stopped(Decisions([early, late])) == stopped(Decisions([late, early])) == []
    assert stopped(Decisions([row("pass"), row("exclude")])) == ["preprocess"]


def test_a_second_rerun_is_another_mark() -> None:
    first = Decisions([row("rerun", "denoise")])
    second = Decisions([row("rerun", "denoise"), row("rerun", "denoise", "2026-03-01")])
    assert first.mark(ONE, "denoise") != second.mark(ONE, "denoise") != ""


def test_tables_are_read_with_or_without_prefixes(tmp_path: Path) -> None:
    bids = Decision("sub-one", "ses-01", "denoise", "fail", "moved", "R", "2026-01-01")
    table(tmp_path / "a.tsv", bids)
    table(tmp_path / "b.tsv", row("pass", unit=TWO))
    assert [each.unit for each in decisions.read(tmp_path)] == [ONE, TWO]
    assert decisions.read(tmp_path / "a.tsv")[0].comment == "moved"


@pytest.mark.parametrize(
    ("field", "value"),
    [("rating", "maybe"), ("stage", "sgement"), ("subject", "../one"), ("session", "")],
)
def test_a_row_that_can_not_be_meant_is_refused(tmp_path: Path, field: str, value: str) -> None:
    wrong = table(tmp_path / "a.tsv", Decision(**{**vars(row("pass")), field: value}))
    with pytest.raises(VoxelwayError) as refused:
        decisions.read(wrong)
    assert refused.value.code == "E-QC-DECISIONS"
    assert field in refused.value.message and "line 2" in str(refused.value)


def test_a_table_without_the_columns_and_no_table_are_refused(tmp_path: Path) -> None:
    files.write_tsv(tmp_path / "a.tsv", ("subject",), [{"subject": "one"}])
    with pytest.raises(VoxelwayError) as lacking:
        decisions.read(tmp_path / "a.tsv")
    assert lacking.value.code == "E-QC-DECISIONS"
    with pytest.raises(VoxelwayError) as absent:
        decisions.read(tmp_path / "b.tsv")
    assert absent.value.code == "E-CONFIG-PATH"


def test_results_keep_what_counts_until_it_is_taken_back(tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    given = table(tmp_path / "a.tsv", row("fail", "segment"), row("pass", "segment", "2026-02-02"))
    decisions.adopt(str(given), results)
    assert [each.rating for each in decisions.of(results).rows.values()] == ["pass"]
    before = results.decisions.stat().st_mtime_ns
    decisions.adopt(str(given), results)
    assert results.decisions.stat().st_mtime_ns == before
    decisions.adopt("", results)
    assert not decisions.of(results).rows and not results.decisions.exists()


def test_a_stage_leaves_out_what_was_decided_and_says_so(tmp_path: Path) -> None:
    results, worked = Results(tmp_path), []

    def run_unit(task: Any, prepared: Any) -> None:
        worked.append(task.unit)

    stage = SimpleNamespace(
        NAME="preprocess", REQUIRES=(), prepare=lambda params, model: None, run_unit=run_unit
    )
    secret = Decision("one", "01", "", "exclude", "Mrs Smith moved", "Dr R", "2026-01-01")
    table(results.decisions, secret)
    runner.run_units(stage, [ONE, TWO], runner.Setup(results, {"seed": 0, "method": "n4"}))
    assert worked == [TWO]
    left = status.read(results, ONE, "preprocess")
    assert left is not None and (left.status, left.code) == ("skipped", "E-QC-EXCLUDED")
    assert (
        "2026-01-01" in left.message
        and "Smith" not in results.status("preprocess", ONE).read_text()
    )
    assert status.read(results, TWO, "preprocess").status == "ok"  # type: ignore[union-attr]
