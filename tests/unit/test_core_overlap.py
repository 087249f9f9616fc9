"""Reading ahead and writing behind change when things are done, and nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images, runner, status
from pipeline.errors import Exit, VoxelwayError
from pipeline.overlap import Ahead, Asked, Behind
from pipeline.paths import Results, Unit, sidecar
from pipeline.task import Task, UnitTask

UNITS = [Unit(name, "01") for name in ("1", "10", "2")]


class Adding:
    """Adds one to an image."""

    NAME = "denoise"
    REQUIRES: tuple[str, ...] = ()

    def __init__(self, *, overlap: bool) -> None:
        self.OVERLAP = overlap
        self.stood: list[bool] = []

    def prepare(self, params: Mapping[str, Any], model: Path | None) -> None:
        return None

    def run_unit(self, task: UnitTask, prepared: None) -> None:
        image = task.read(given(task.results, task.unit))
        task.write(image + 1, made(task.results, task.unit), Added=1)
        self.stood.append(made(task.results, task.unit).is_file())


def given(results: Results, unit: Unit) -> Path:
    return results.image("preprocess", unit, "T1w", desc="preproc")


def made(results: Results, unit: Unit) -> Path:
    return results.image("denoise", unit, "T1w", desc="denoised")


def picture(path: Path, first: float = 0.0) -> Path:
    values = np.arange(216, dtype=np.float32).reshape(6, 6, 6) + first
    images.write_image(sitk.GetImageFromArray(values), path)
    return path


@pytest.fixture
def results(tmp_path: Path) -> Results:
    found = Results(tmp_path / "results")
    for number, unit in enumerate(UNITS):
        picture(given(found, unit), 100.0 * number)
    return found


def run(results: Results, *, overlap: bool) -> Adding:
    stage = Adding(overlap=overlap)
    setup = runner.Setup(results, {"method": "nlm", "seed": 0})
    assert runner.run_units(stage, UNITS, setup) == Exit.DONE
    return stage


def test_the_results_are_those_of_one_thing_at_a_time(results: Results) -> None:
    def told(unit: Unit) -> tuple[bytes, dict[str, Any], dict[str, str]]:
        content = json.loads(sidecar(made(results, unit)).read_text())
        found = status.read(results, unit, "denoise")
        assert found is not None
        kept = {key: content[key] for key in ("Inputs", "Sha256", "Added")}
        return made(results, unit).read_bytes(), kept, found.outputs

    assert run(results, overlap=False).stood == [True, True, True]
    before = [told(unit) for unit in UNITS]
    for unit in UNITS:
        results.made("denoise", unit).unlink()
    later = run(results, overlap=True)
    assert later.stood == [False, False, False], "written after the unit's work"
    assert [told(unit) for unit in UNITS] == before


@pytest.mark.parametrize("overlap", [False, True])
def test_a_call_without_units_has_nothing_to_do(results: Results, overlap: bool) -> None:
    setup = runner.Setup(results, {"method": "nlm", "seed": 0})
    assert runner.run_units(Adding(overlap=overlap), [], setup) == Exit.DONE


def test_the_next_units_images_are_read_before_they_are_asked_for(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    by: dict[str, str] = {}
    genuine = images.read_image

    def told(path: Path, **options: Any) -> sitk.Image:
        by[path.name.split("_")[0]] = threading.current_thread().name.split("_")[0]
        return genuine(path, **options)

    class Slow(Adding):
        def run_unit(self, task: UnitTask, prepared: None) -> None:
            super().run_unit(task, prepared)
            if task.unit == UNITS[1]:
                # the thread has had its time as soon as it has read for the unit after this one
                assert ready.wait(30)

    ready = threading.Event()

    def watched(path: Path, **options: Any) -> sitk.Image:
        found = told(path, **options)
        if path.name.startswith("sub-2_"):
            ready.set()
        return found

    monkeypatch.setattr(images, "read_image", watched)
    stage = Slow(overlap=True)
    setup = runner.Setup(results, {"method": "nlm", "seed": 0})
    assert runner.run_units(stage, UNITS, setup) == Exit.DONE
    # nothing is known of what the stage reads before its first unit, nor while that is worked on
    assert by["sub-1"] == "MainThread" and by["sub-2"] == "ahead"


def refuse_to_write(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Images of the second unit are refused."""
    genuine = images.write_image

    def refusing(image: sitk.Image, path: Path) -> None:
        if path.name.startswith("sub-10_"):
            raise VoxelwayError(code, "A test's own refusal", where=str(path))
        genuine(image, path)

    monkeypatch.setattr(images, "write_image", refusing)


def test_a_full_disk_ends_the_call_and_leaves_no_status(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_write(monkeypatch, "E-DISK-FULL")
    setup = runner.Setup(results, {"method": "nlm", "seed": 0})
    with pytest.raises(VoxelwayError, match="E-DISK-FULL"):
        runner.run_units(Adding(overlap=True), UNITS, setup)
    first, second = (status.read(results, unit, "denoise") for unit in UNITS[:2])
    assert first is not None and first.status == "ok" and second is None


def test_an_image_that_can_not_be_written_fails_its_unit_only(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_write(monkeypatch, "E-IMG-GRID")
    setup = runner.Setup(results, {"method": "nlm", "seed": 0})
    assert runner.run_units(Adding(overlap=True), UNITS, setup) == Exit.SOME
    found = [status.read(results, unit, "denoise") for unit in UNITS]
    assert [one.status for one in found if one is not None] == ["ok", "failed", "ok"]
    assert found[1] is not None and found[1].code == "E-IMG-GRID" and not found[1].outputs


def test_a_file_that_changed_since_is_read_again(tmp_path: Path) -> None:
    old, new = picture(tmp_path / "a.nii.gz"), picture(tmp_path / "b.nii.gz")
    ahead = Ahead()
    try:
        assert ahead.take(Asked(images.read_image, old)) is None
        ahead.begin(lambda path: new)
        kept = ahead._kept[Asked(images.read_image, new)].result()
        assert kept.digest == files.sha256(new)
        picture(new, 5.0)
        assert ahead.take(Asked(images.read_image, new)) is None
    finally:
        ahead.close()


def test_a_file_that_can_not_be_read_is_left_to_who_asks(tmp_path: Path) -> None:
    good, bad = picture(tmp_path / "a.nii.gz"), tmp_path / "b.nii.gz"
    bad.write_bytes(b"no image")
    ahead = Ahead()
    try:
        ahead.take(Asked(images.read_image, good))
        ahead.begin(lambda path: bad)
        task = Task("denoise", {}, ahead=ahead)
        with pytest.raises(VoxelwayError, match="E-IMG-UNREADABLE"):
            task.read(bad)
    finally:
        ahead.close()


def test_what_is_read_ahead_is_checked_against_its_sidecar_too(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.nii.gz")
    files.write_json(sidecar(path), {"Sha256": {path.name: "of another file"}})
    ahead = Ahead()
    try:
        ahead.take(Asked(images.read_image, path))
        ahead.begin(lambda path: path)
        ahead._kept[Asked(images.read_image, path)].result()
        with pytest.raises(VoxelwayError, match="E-IMG-CHANGED"):
            Task("denoise", {}, ahead=ahead).read(path)
    finally:
        ahead.close()


def test_paths_of_one_unit_become_those_of_another() -> None:
    told = runner._foretold(Unit("1", "1"), Unit("10", "b"))
    path = Path("r/derivatives/x/sub-1/ses-1/anat/sub-1_ses-1_space-T1w_T2w.nii.gz")
    assert told(path) == Path("r/derivatives/x/sub-10/ses-b/anat/sub-10_ses-b_space-T1w_T2w.nii.gz")
    # a name that only begins alike is another subject's
    assert told(Path("sub-12_ses-1_T1w.nii.gz")) == Path("sub-12_ses-b_T1w.nii.gz")


@pytest.mark.parametrize("overlap", [False, True])
def test_rows_of_a_batch_are_their_own(overlap: bool, capsys: pytest.CaptureFixture[str]) -> None:
    written: list[str] = []

    def work(row: Mapping[str, str]) -> Any:
        name = row["input"]
        if name == "refused":
            raise VoxelwayError("E-SIGNAL", "Nothing to see", where=name)

        def write() -> None:
            if name == "unwritten":
                raise VoxelwayError("E-IMG-GRID", "A test's own refusal", where=name)
            written.append(name)

        return write

    rows = [{"input": name} for name in ("a", "refused", "unwritten", "b")]
    assert runner.run_rows(work, rows, overlap=overlap) == Exit.SOME
    assert written == ["a", "b"]
    printed = capsys.readouterr().err
    assert "E-SIGNAL" in printed and "E-IMG-GRID" in printed


def test_one_end_at_a_time_and_an_error_is_told() -> None:
    with closing(Behind(True)) as behind:
        first = behind.do(lambda: 1)
        second = behind.do(lambda: 1 // 0)
        assert first() == 1
        with pytest.raises(ZeroDivisionError):
            behind.do(lambda: 2)
        with pytest.raises(ZeroDivisionError):
            second()
