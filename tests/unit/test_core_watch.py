"""How far a run is, and what its jobs used of what they asked for."""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from pathlib import Path

import pytest

from pipeline import status, watch
from pipeline.errors import Exit, VoxelwayError
from pipeline.ingest.manifest import write_manifest
from pipeline.paths import STAGES, Results, Unit
from tests.dag.stub import row
from workflow.lib import efficiency

A, B = Unit("a", "01"), Unit("b", "01")


@pytest.fixture
def results(tmp_path: Path) -> Results:
    made = Results(tmp_path / "results")
    write_manifest(made.manifest, [row("a", "train", 0, 0), row("b", "train", 0, 1)])
    made.private.mkdir()
    (made.private / "run.lock").write_text("{}")
    return made


def end(results: Results, unit: Unit, stage: str, seconds: float, state: status.State) -> None:
    code = "" if state == "ok" else "E-MASK-EMPTY"
    ended = status.Status(unit.subject, "01", stage, state, code, "Why.", seconds)
    status.write(results, unit, ended)


def test_work_done_and_left(results: Results) -> None:
    end(results, A, "ingest", 1.0, "ok")
    end(results, B, "ingest", 3.0, "ok")
    end(results, A, "preprocess", 8.0, "ok")
    seen = watch.Watched(results)
    assert len(seen.look([A, B])) == 3
    assert seen.seconds() == {"ingest": 2.0, "preprocess": 8.0}
    # the other eight stages count as the mean of these two, 5 s
    assert seen.work(2) == (2 + 2 + 8, 2 * (2 + 8 + 8 * 5))
    assert seen.look([A, B]) == []
    results.status("ingest", A).unlink()
    seen.look([A, B])
    assert seen.work(2)[0] == pytest.approx(3 + 8)


def test_the_end_follows_from_the_pace_since_the_first_look() -> None:
    assert watch._end((0.0, 10.0), 60.0, 10.0, 100.0) == ""
    assert watch._end((0.0, 10.0), 60.0, 100.0, 100.0) == ""
    assert watch._end((0.0, 10.0), 60.0, 40.0, 100.0) != ""


def test_a_run_that_has_ended(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in STAGES:
        end(results, A, stage, 1.0, "ok")
        end(results, B, stage, 1.0, "failed" if stage == "denoise" else "ok")
    assert watch.watch(results.root) == Exit.SOME
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "No run works on these results",
        "FAILED  sub-b_ses-01  denoise  E-MASK-EMPTY  Why.",
        "100 % · 20 of 20 stages of 2 sessions · 1 failed",
    ]


def test_jobs_that_run(results: Results) -> None:
    assert not watch.alive(results)
    with (results.private / "run.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert watch.alive(results)
    lock = (results.private / "run.lock").stat().st_mtime
    for unit, stage, age in ((A, "ingest", 5), (A, "preprocess", 7), (B, "preprocess", -5)):
        log = results.log(stage, unit)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("")
        os.utime(log, (lock + age, lock + age))
    end(results, A, "ingest", 1.0, "ok")
    os.utime(results.status("ingest", A), (lock + 6, lock + 6))
    assert watch.running(results) == Counter({"preprocess": 1})


def test_asked_for_against_used(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    """100³ voxels: denoise asks for 800 + 150 MB and 5 + 3 min; two units for 5√2 + 6 min."""
    for job, seconds, peak in (("sub-a_ses-01", 240, 475), ("00000x000of2", 390, 665)):
        path = results.benchmark("denoise", job)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\tmax_rss\n{seconds}\t{peak}\n")
    (path.parent / "sub-gone_ses-01.tsv").write_text("s\tmax_rss\n1\t1\n")
    (path.parent / "sub-b_ses-01.tsv").write_text("s\tmax_rss\n0.1\tNA\n")
    assert efficiency.print_table(results.root) == 0
    cells = capsys.readouterr().out.splitlines()[1].split("\t")
    assert cells[:6] == ["denoise", "2", "950", "570", "665", "70%"]
    assert cells[6:] == ["10.5", "5.2", "6.5", "50%"]


def test_without_an_index(tmp_path: Path) -> None:
    with pytest.raises(VoxelwayError, match="manifest"):
        efficiency.print_table(tmp_path)
