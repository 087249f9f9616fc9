"""One unit's failure stays its own; what stands is whole and described."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import decisions, files, made, runner, status
from pipeline.errors import Exit, VoxelwayError
from pipeline.ingest import manifest
from pipeline.paths import Results, Unit, sidecar
from pipeline.task import UnitTask

GOOD, BAD, LATE = Unit("good", "01"), Unit("bad", "01"), Unit("late", "01")


class Doubling:
    """A stage that doubles an image, and does badly on cue."""

    NAME = "denoise"
    REQUIRES: tuple[str, ...] = ("preprocess",)

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.loads = 0

    def prepare(self, params: Mapping[str, Any], model: Path | None) -> int:
        self.loads += 1
        return 2

    def run_unit(self, task: UnitTask, prepared: int) -> None:
        path = task.results.image("preprocess", task.unit, "T1w", desc="preproc")
        image = task.read(path)
        task.write(image * prepared, task.results.image("denoise", task.unit, "T1w"))
        if task.unit == BAD and self.error is not None:
            raise self.error


@pytest.fixture
def results(tmp_path: Path) -> Results:
    results = Results(tmp_path / "results")
    image = sitk.GetImageFromArray(np.arange(216, dtype=np.float32).reshape(6, 6, 6))
    for unit in (GOOD, BAD, LATE):
        path = results.image("preprocess", unit, "T1w", desc="preproc")
        path.parent.mkdir(parents=True)
        sitk.WriteImage(image, str(path))
        status.write(results, unit, status.Status(unit.subject, "01", "preprocess", "ok"))
    return results


def run(stage: Doubling, results: Results, *, keep_going: bool = False) -> Exit:
    setup = runner.Setup(results, {"method": "nlm", "seed": 0}, keep_going=keep_going)
    return runner.run_units(stage, [GOOD, BAD, LATE], setup)


def states(results: Results) -> list[str]:
    found = [status.read(results, unit, "denoise") for unit in (GOOD, BAD, LATE)]
    return [item.status if item else "none" for item in found]


def test_all_well(results: Results) -> None:
    stage = Doubling()
    assert run(stage, results) == Exit.DONE
    assert states(results) == ["ok", "ok", "ok"]
    assert stage.loads == 1


def test_the_log_tells_each_load_of_a_model(
    results: Results, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "bundle"
    model.mkdir()
    (model / "metadata.json").write_text("{}")
    setup = runner.Setup(results, {"method": "nlm", "seed": 0}, model)
    for _ in range(2):  # all stand in the second call, which then needs no model
        runner.run_units(Doubling(), [GOOD, BAD, LATE], setup)
    assert capfd.readouterr().err.count(f"{runner.MODEL_LOADED} {model}") == 1


def test_sidecar_tells_where_the_image_came_from(results: Results) -> None:
    run(Doubling(), results)
    content = json.loads(sidecar(results.image("denoise", GOOD, "T1w")).read_text())
    assert list(content["Inputs"]) == [
        "derivatives/preprocess/sub-good/ses-01/anat/sub-good_ses-01_desc-preproc_T1w.nii.gz"
    ]
    assert content["Parameters"] == {"method": "nlm", "seed": 0}
    assert len(content["Code"]) == 12
    assert {"Versions", "Seconds", "PeakMemoryMB", "Device", "Seed", "Model"} <= set(content)


def test_refusal_stops_one_unit_only(results: Results) -> None:
    error = VoxelwayError("E-MASK-EMPTY", "The mask is empty")
    assert run(Doubling(error), results) == Exit.SOME
    assert states(results) == ["ok", "failed", "ok"]
    found = status.read(results, BAD, "denoise")
    assert found is not None and found.code == "E-MASK-EMPTY"
    assert run(Doubling(error), results, keep_going=True) == Exit.DONE


def test_a_fault_of_ours_stops_one_unit_only(results: Results) -> None:
    assert run(Doubling(ZeroDivisionError("x")), results) == Exit.SOME
    found = status.read(results, BAD, "denoise")
    assert found is not None and found.code == "E-INTERNAL"


def test_a_full_disk_ends_the_call_without_a_status(results: Results) -> None:
    with pytest.raises(VoxelwayError, match="E-DISK-FULL"):
        run(Doubling(OSError(28, "No space left on device")), results)
    assert states(results) == ["ok", "none", "none"]


def test_later_stage_of_a_failed_unit_is_skipped(results: Results) -> None:
    failed = status.Status("bad", "01", "preprocess", "failed", "E-MASK-EMPTY")
    status.write(results, BAD, failed)
    run(Doubling(), results)
    assert states(results) == ["ok", "skipped", "ok"]


def test_a_second_run_removes_what_the_first_wrote(results: Results) -> None:
    run(Doubling(), results)
    stale = results.image("denoise", BAD, "T1w")
    assert stale.exists()
    status.write(results, BAD, status.Status("bad", "01", "preprocess", "failed", "E-IMG-NAN"))
    run(Doubling(), results)
    assert not stale.exists() and not sidecar(stale).exists()


def test_a_damaged_input_is_noticed(results: Results) -> None:
    run(Doubling(), results)
    path = results.image("denoise", GOOD, "T1w")
    image = sitk.ReadImage(str(path))
    sitk.WriteImage(image + 1, str(path))
    task = UnitTask("superres", {}, base=results.root, results=results, unit=GOOD)
    with pytest.raises(VoxelwayError, match="E-IMG-CHANGED"):
        task.read(path)


def test_unit_names() -> None:
    assert Unit.parse("sub-a_ses-1") == Unit.parse("sub-a/ses-1") == Unit("a", "1")
    with pytest.raises(ValueError):
        Unit.parse("a_1")


def test_what_stands_is_passed_over(results: Results) -> None:
    run(Doubling(), results)
    before = {unit: status.read(results, unit, "denoise") for unit in (GOOD, BAD, LATE)}
    written = results.image("denoise", GOOD, "T1w").stat().st_mtime_ns
    results.status("denoise", BAD).unlink()  # as the workflow does before a job
    stage = Doubling(ZeroDivisionError("is not asked"))
    assert run(stage, results) == Exit.DONE
    assert stage.loads == 0
    assert {unit: status.read(results, unit, "denoise") for unit in before} == before
    assert results.image("denoise", GOOD, "T1w").stat().st_mtime_ns == written


def _lose(results: Results) -> None:
    results.image("denoise", BAD, "T1w").unlink()


def _damage(results: Results) -> None:
    path = results.image("denoise", BAD, "T1w")
    path.write_bytes(path.read_bytes()[:-1])


def _lose_sidecar(results: Results) -> None:
    sidecar(results.image("denoise", BAD, "T1w")).unlink()


def _rate(results: Results) -> None:
    row = ["bad", "01", "denoise", "rerun", "", "", "2026-01-01"]
    files.write_tsv(
        results.decisions, decisions.COLUMNS, [dict(zip(decisions.COLUMNS, row, strict=True))]
    )


def _another_input(results: Results) -> None:
    outputs = {"derivatives/preprocess/x.nii.gz": "0" * 64}
    found = status.Status("bad", "01", "preprocess", "ok", outputs=outputs)
    status.write(results, BAD, found)


@pytest.mark.parametrize("change", [_lose, _damage, _lose_sidecar, _rate, _another_input])
def test_only_the_unit_whose_basis_changed_is_made_again(
    results: Results, change: Callable[[Results], None], capsys: pytest.CaptureFixture[str]
) -> None:
    run(Doubling(), results)
    change(results)
    stage = Doubling()
    assert run(stage, results) == Exit.DONE
    assert stage.loads == 1
    told = capsys.readouterr().err
    assert "sub-good_ses-01: stands" in told and "sub-late_ses-01: stands" in told
    assert "sub-bad_ses-01: stands" not in told
    assert sidecar(results.image("denoise", BAD, "T1w")).is_file()


def test_a_template_that_comes_later_disturbs_no_stage_that_does_not_read_it(
    results: Results,
) -> None:
    """The template is made while the first units are at earlier stages."""
    run(Doubling(), results)
    files.write_json(results.model("register", "T") / "description.json", {"Spacing": 2.0})
    stage = Doubling()
    assert run(stage, results) == Exit.DONE
    assert stage.loads == 0


@pytest.mark.parametrize(
    ("stage", "rests"),
    [
        ("ingest", {"source"}),
        ("denoise", {"ingest", "preprocess"}),
        ("register", {"template", "ingest", "preprocess", "denoise", "superres"}),
    ],
)
def test_what_a_stage_rests_on(results: Results, stage: str, rests: set[str]) -> None:
    now = made.basis(results, GOOD, stage, {}, code="c", model="", decision="")
    assert set(now) == rests | {"code", "packages", "config", "model", "decision"}


def test_other_parameters_make_all_again(results: Results) -> None:
    run(Doubling(), results)
    stage = Doubling()
    setup = runner.Setup(results, {"method": "nlm", "seed": 1})
    assert runner.run_units(stage, [GOOD, BAD, LATE], setup) == Exit.DONE
    assert stage.loads == 1


def test_a_unit_that_ends_the_process_comes_last_and_is_given_up(results: Results) -> None:
    """The others of its job go on; no clean-up runs in a process that is killed."""
    files.write_json(results.begun("denoise", BAD), {"times": 1})
    seen: list[Unit] = []

    class Seen(Doubling):
        def run_unit(self, task: UnitTask, prepared: int) -> None:
            seen.append(task.unit)
            super().run_unit(task, prepared)

    assert run(Seen(), results) == Exit.DONE
    assert seen == [GOOD, LATE, BAD]
    assert not results.begun("denoise", BAD).exists()

    files.write_json(results.begun("denoise", BAD), {"times": runner.MOST_DEATHS})
    results.made("denoise", BAD).unlink()
    assert run(Seen(), results) == Exit.SOME
    found = status.read(results, BAD, "denoise")
    assert found is not None and found.code == "E-CRASH"
    assert seen == [GOOD, LATE, BAD]


@pytest.mark.parametrize(
    ("error", "times"),
    [(SystemExit(143), 0), (KeyboardInterrupt(), 0), (OSError(28, "full"), 0), (MemoryError(), 1)],
)
def test_an_orderly_end_is_not_held_against_the_unit(
    results: Results, error: BaseException, times: int
) -> None:
    with pytest.raises((VoxelwayError, SystemExit, KeyboardInterrupt)):
        run(Doubling(error), results)
    assert files.read_json(results.begun("denoise", BAD))["times"] == times


def test_a_damaged_input_is_made_anew_by_the_next_run(results: Results) -> None:
    row = manifest.Row("good", "01", "1", "T1w", "MR", "", None, 6, 6, 6, 1, 1, 1, 1, 6, 216,
                       "test", 2, "d", 5)  # fmt: skip
    manifest.write_manifest(results.manifest, [row])
    task = UnitTask("preprocess", {}, base=results.root, results=results, unit=GOOD)
    path = results.image("preprocess", GOOD, "T1w", desc="preproc")
    task.describe(path)
    own, other = (
        results.shard("preprocess", "00002x001of4"),
        results.shard("preprocess", "00002x000of4"),
    )
    for marker in (own, other):
        files.write_text(marker, "")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(VoxelwayError, match="the next run makes preprocess anew"):
        run(Doubling(), results)
    assert states(results) == ["none", "ok", "ok"]
    assert not results.status("preprocess", GOOD).exists()
    assert not own.exists() and other.exists()
