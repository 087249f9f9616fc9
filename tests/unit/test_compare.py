"""Two runs with known differences: what is paired, tested and told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import cli, files, status
from pipeline.compare import changes, outcome, pairs, runs, training, words
from pipeline.errors import VoxelwayError
from pipeline.ingest import manifest
from pipeline.paths import Results, Unit

from .compare_cases import Number, dice, sidecar, write


def compared(a: Results, b: Results) -> list[outcome.Row]:
    return outcome.compare(pairs.pair(pairs.read(a), pairs.read(b)), seed=0)


def told(a: Results, b: Results) -> words.Verdict:
    return words.verdict(compared(a, b))


def levels(count: int, seed: int = 0) -> list[float]:
    return [round(float(v), 4) for v in np.random.default_rng(seed).uniform(0.7, 0.9, count)]


def test_sessions_of_a_subject_are_one_case(tmp_path: Path) -> None:
    many = [number for session in ("01", "02", "03") for number in dice(levels(5), "GM", session)]
    raised = [(*number[:5], float(number[5]) + 0.02) for number in many]
    rows = compared(write(tmp_path / "a", many), write(tmp_path / "b", raised))
    assert rows[0].inference is not None
    assert (rows[0].inference.n, len(rows[0].group.cases)) == (5, 15)
    assert rows[0].outcome == "few"
    assert rows[0].inference.p is None


def test_mean_over_sessions_by_hand(tmp_path: Path) -> None:
    a: list[Number] = [
        ("x", "01", "segment", "dice", "", 0.2),
        ("x", "02", "segment", "dice", "", 0.4),
    ]
    b: list[Number] = [
        ("x", "01", "segment", "dice", "", 0.6),
        ("x", "02", "segment", "dice", "", 0.5),
    ]
    (row,) = compared(write(tmp_path / "a", a), write(tmp_path / "b", b))
    assert row.subjects["x"] == pytest.approx((0.3, 0.55))


@pytest.mark.parametrize(
    ("metric", "change", "expected"),
    [("dice", 0.05, "better"), ("dice", -0.05, "worse"), ("tre", 0.05, "worse"),
     ("volume", 0.05, "differs"), ("unknown", 0.05, "differs"), ("dice", 0.0, "same")],
)  # fmt: skip
def test_direction_is_that_of_the_registry(
    tmp_path: Path, metric: str, change: float, expected: str
) -> None:
    numbers: list[Number] = [
        (f"s{n}", "01", "segment", metric, "", 0.5 + 0.01 * n) for n in range(10)
    ]
    other: list[Number] = [
        (*number[:5], float(number[5]) + change * (1 + 0.01 * n))
        for n, number in enumerate(numbers)
    ]
    rows = compared(write(tmp_path / "a", numbers), write(tmp_path / "b", other))
    assert [row.outcome for row in rows] == [expected]


def test_closer_to_zero_is_better_whatever_the_sign(tmp_path: Path) -> None:
    a: list[Number] = [(f"s{n}", "01", "segment", "volume_error", "GM", 10.0 + n) for n in range(8)]
    b: list[Number] = [(f"s{n}", "01", "segment", "volume_error", "GM", -5.0 - n) for n in range(8)]
    (row,) = compared(write(tmp_path / "a", a), write(tmp_path / "b", b))
    assert row.inference is not None
    assert (row.outcome, row.inference.difference) == ("better", -5.0)


def test_most_cases_up_and_the_mean_down_is_told_as_split(tmp_path: Path) -> None:
    a = dice([0.8] * 20)
    b = dice([0.81 + 0.0001 * n for n in range(19)] + [0.0])
    (row,) = compared(write(tmp_path / "a", a), write(tmp_path / "b", b))
    assert row.outcome == "split"
    assert told(Results(tmp_path / "a"), Results(tmp_path / "b")).level == "mixed"


def test_noise_is_no_difference_and_page_says_so(tmp_path: Path) -> None:
    base = levels(20)
    noise = np.random.default_rng(5).normal(0, 0.01, 20)
    a = write(tmp_path / "a", dice(base))
    b = write(tmp_path / "b", dice(v + float(d) for v, d in zip(base, noise, strict=True)))
    verdict = told(a, b)
    assert verdict.level == "untold"
    assert any("does not show that they are equal" in s for s in verdict.sentences)
    assert not any("so few subjects" in s for s in verdict.sentences)


def test_a_test_that_can_tell_nothing_says_so(tmp_path: Path) -> None:
    # 6 subjects: at least 2/64, times 2 tests 0.0625
    a = write(tmp_path / "a", [*dice(levels(6)), *dice(levels(6), "WM")])
    b = write(tmp_path / "b", [*dice([v + 0.1 for v in levels(6)]), *dice(levels(6, 9), "WM")])
    verdict = told(a, b)
    assert verdict.level == "untold"
    assert any("0.062" in s and "so few subjects" in s for s in verdict.sentences)


def test_no_reference_is_said(tmp_path: Path) -> None:
    a: list[Number] = [(f"s{n}", "01", "denoise", "snr", "T1w", 10.0 + n) for n in range(9)]
    b: list[Number] = [(f"s{n}", "01", "denoise", "snr", "T1w", 20.0 + 2 * n) for n in range(9)]
    verdict = told(write(tmp_path / "a", a), write(tmp_path / "b", b))
    assert verdict.level == "better"
    assert any("None of these is against a reference" in s for s in verdict.sentences)


def test_run_time_does_not_make_a_run_better(tmp_path: Path) -> None:
    a: list[Number] = [(f"s{n}", "01", "segment", "seconds", "", 10.0 + n) for n in range(9)]
    b: list[Number] = [(f"s{n}", "01", "segment", "seconds", "", 5.0) for n in range(9)]
    one, other = [*a, *dice(levels(9))], [*b, *dice(levels(9))]
    verdict = told(write(tmp_path / "a", one), write(tmp_path / "b", other))
    assert verdict.level == "same"
    assert any("Run time changed: segment 14" in s for s in verdict.sentences)


def test_too_few_subjects_are_said_to_be_too_few(tmp_path: Path) -> None:
    a = write(tmp_path / "a", dice(levels(9)))
    b = write(tmp_path / "b", dice([v + 0.1 for v in levels(9)[:5]] + levels(9)[5:]))
    verdict = told(a, b)
    assert verdict.level == "few"
    assert verdict.sentences == ["No measure differs in more than 5 subjects; a test needs 6."]


def test_order_shows_what_matters_first(tmp_path: Path) -> None:
    base = levels(12)
    a = [*dice(base, "CSF"), *dice(base, "GM"), *dice(base, "WM")]
    b = [
        *dice(base, "CSF"),
        *dice([v + 0.05 for v in base], "GM"),
        *dice([v - 0.05 for v in base], "WM"),
    ]
    rows = compared(write(tmp_path / "a", a), write(tmp_path / "b", b))
    assert [row.outcome for row in rows] == ["worse", "better", "same"]


def test_what_is_not_finite_or_in_another_unit_does_not_pair(tmp_path: Path) -> None:
    a = write(tmp_path / "a", dice([0.5, 0.6]))
    b = write(tmp_path / "b", [*dice([0.5]), ("s001", "01", "segment", "dice", "GM", "nan")])
    (group,) = pairs.pair(pairs.read(a), pairs.read(b))
    assert [case.unit.subject for case in group.cases] == ["s000"]
    assert group.only_a == [Unit("s001", "01")]
    other = write(tmp_path / "c", dice([0.5, 0.6]), unit="%")
    assert not any(group.cases for group in pairs.pair(pairs.read(a), pairs.read(other)))


def test_reasons_of_unpaired_numbers(tmp_path: Path) -> None:
    a = write(tmp_path / "a", dice([0.5, 0.6, 0.7, 0.8]))
    b = write(tmp_path / "b", [*dice([0.5]), ("s003", "01", "register", "tre", "", 1.0)])
    failed = Unit("s001", "01")
    status.write(b, failed, status.Status("s001", "01", "ingest", "ok"))
    status.write(b, failed, status.Status("s001", "01", "segment", "failed", "E-LABELS"))
    found = runs.unpaired(pairs.pair(pairs.read(a), pairs.read(b)), a, b)
    reasons = {row.units[0].subject: (row.run, row.reason, row.lost) for row in found}
    assert reasons["s001"] == ("A", "segment failed there (E-LABELS)", True)
    assert reasons["s002"] == ("A", "the session is not in the other run", False)
    assert {(row.run, row.reason) for row in found if Unit("s003", "01") in row.units} == {
        ("A", "it was not measured there"), ("B", "it was not measured there"),
    }  # fmt: skip
    (sentence,) = words.losses(found)
    assert sentence.startswith("B failed in 1 session that A has numbers of")


def test_largest_change_is_found_by_the_spread_between_sessions(tmp_path: Path) -> None:
    a = write(tmp_path / "a", dice([0.1, 0.2, 0.3, 0.4, 0.5]))
    b = write(tmp_path / "b", dice([0.1, 0.2, 0.3, 0.4, 0.2]))
    (change,) = changes.changes(compared(a, b))
    assert (change.unit.subject, change.better) == ("s004", False)
    # deviations from the median: 0.1 in A, 0, 0, 0.1, 0.1, 0.2 in B
    assert change.standardised == pytest.approx(-0.3 / (1.4826 * 0.1))


def test_spread_falls_back_to_the_mean_deviation() -> None:
    assert changes.spread([1, 1, 1, 1, 6]) == pytest.approx(1.2533 * 1.0)
    assert changes.spread([2, 2, 2]) == 0


def test_what_differs_between_the_runs(tmp_path: Path) -> None:
    a, b = Results(tmp_path / "a"), Results(tmp_path / "b")
    for subject in ("x", "y"):
        sidecar(a, subject, "segment", Method="atlas", Code="1", Parameters={"n": {"deep": 1}})
        sidecar(b, subject, "segment", Method="unet", Code="1", Model="f" * 64,
                Parameters={"n": {"deep": 1 if subject == "x" else 2}})  # fmt: skip
    sidecar(a, "x", "report", Code="1")
    sidecar(b, "x", "report", Code="2")
    found = runs.differences(a, b, [Unit("x", "01"), Unit("y", "01")])
    assert [(d.what, d.a, d.b) for d in found] == [
        ("method", "atlas", "unet"), ("model", "none", "f" * 12), ("n.deep", "1", "1 (1), 2 (1)"),
    ]  # fmt: skip


def test_other_images_are_noticed(tmp_path: Path) -> None:
    units = [Unit("x", "01"), Unit("y", "01")]
    for run, last in (("a", "2"), ("b", "3")):
        for unit, digest in zip(units, ("1", last), strict=True):
            path = Results(tmp_path / run).image("ingest", unit, "T1w", extension=".json")
            files.write_json(path, {"Sha256": {"T1w.nii.gz": digest}})
    assert runs.other_inputs(Results(tmp_path / "a"), Results(tmp_path / "b"), units) == units[1:]


def split_run(root: Path, values: list[float], splits: list[str]) -> Results:
    """A run with a manifest, a model of its own and the sidecars of segment."""
    results = write(root, dice(values))
    columns = manifest.COLUMNS
    rows = [
        {**dict.fromkeys(columns, "1"), "subject": f"s{n:03d}", "session": "01", "split": split}
        for n, split in enumerate(splits)
    ]
    files.write_tsv(results.manifest, columns, rows)
    metadata = results.model("segment", "mine") / "metadata.json"
    files.write_json(metadata, {"a": "bundle"})
    for row in rows:
        sidecar(results, row["subject"], "segment", Model=files.sha256(metadata))
    return results


def test_training_subjects_are_noticed_and_can_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = ["train"] * 6 + ["test"] * 7
    a = split_run(tmp_path / "a", levels(13), splits)
    b = split_run(tmp_path / "b", [v + 0.1 for v in levels(13)], splits)
    units = [Unit(f"s{n:03d}", "01") for n in range(13)]
    (found,) = training.seen(a, "A", units)
    assert (found.run, found.stage, len(found.units)) == ("A", "segment", 6)
    assert training.seen(write(tmp_path / "c", []), "A", units) == []
    command = ["compare", str(a.root), str(b.root), "--split"]
    assert cli.main([*command, "test"]) == 0
    page = (b.root / "qc" / "compare" / "index.html").read_text(encoding="utf-8")
    assert "7 subjects, 7 sessions" in page
    assert "own training split" not in page
    assert cli.main(["compare", str(a.root), str(b.root)]) == 0
    page = (b.root / "qc" / "compare" / "index.html").read_text(encoding="utf-8")
    assert page.count("own training split") == 2
    assert cli.main([*command, "val"]) == 3
    assert "E-COMPARE-NONE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("subject\tsession\n1\t2\n", "Lacks"),
        ("\udcff", "no table"),
        ("subject\tsession\tstage\tmetric\tlabel\tvalue\tbaseline\tunit\n"
         "../x\t01\tsegment\tdice\t\t1\t\t\n", "no BIDS label"),
        ("subject\tsession\tstage\tmetric\tlabel\tvalue\tbaseline\tunit\n"
         + "x\t01\tsegment\tdice\t\t1\t\t\n" * 2, "twice"),
    ],
)  # fmt: skip
def test_damaged_tables_are_refused(tmp_path: Path, text: str, what: str) -> None:
    results = Results(tmp_path)
    results.metrics.parent.mkdir()
    results.metrics.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(VoxelwayError, match=what) as error:
        pairs.read(results)
    assert error.value.code == "E-FILE-READ"


def test_errors_of_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = write(tmp_path / "a", dice([0.5])).root
    other = write(tmp_path / "b", [("z", "01", "segment", "dice", "GM", 0.5)]).root
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(a)
    cases = ((a, tmp_path / "link", 2, "E-COMPARE-SAME"), (a, other, 3, "E-COMPARE-NONE"),
             (a, tmp_path / "empty", 3, "E-COMPARE-METRICS"))  # fmt: skip
    for first, second, code, name in cases:
        assert cli.main(["compare", str(first), str(second)]) == code
        assert name in capsys.readouterr().err
    assert not (other / "qc").exists()
