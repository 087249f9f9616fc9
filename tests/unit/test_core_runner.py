"""One unit's failure stays its own; what stands is whole and described."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import runner, status
from pipeline.errors import Exit, VoxelwayError
from pipeline.paths import Results, Unit, sidecar
from pipeline.task import UnitTask

GOOD, BAD, LATE = Unit("good", "01"), Unit("bad", "01"), Unit("late", "01")


class Doubling:
    """A stage that doubles an image, and does badly on cue."""

    NAME = "denoise"
    REQUIRES: tuple[str, ...] = ("preprocess",)

    def __init__(self, error: Exception | None = None) -> None:
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
