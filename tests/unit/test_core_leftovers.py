"""What a killed process leaves is gone when its work is done again, or when a run begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import files, made
from pipeline.paths import STAGES, Results, Unit
from workflow.lib import runs

UNIT = Unit("a", "01")


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("half")
    return path


def test_sweep_takes_what_is_half_written_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path / ".part-abc.nii.gz")
    put(tmp_path / ".part-bundle" / "model.safetensors")
    kept = [put(tmp_path / "part-1.nii.gz"), put(tmp_path / "sub" / ".part-x")]
    files.sweep(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_sweep_follows_no_link(tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "elsewhere" / "precious")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / ".part-link").symlink_to(elsewhere.parent)
    files.sweep(folder)
    assert elsewhere.exists() and not list(folder.iterdir())


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_clears_what_an_earlier_one_left_without_an_account(
    tmp_path: Path, stage: str
) -> None:
    """Killed between an image and its record: later stages would list the image."""
    results = Results(tmp_path / "results")
    stale = [
        put(results.image(stage, UNIT, "FLAIR")),
        put(results.image(stage, UNIT, ".part-x")),
        put(results.status(stage, UNIT).with_name(".part-status.json")),
    ]
    other = put(results.image(stage, Unit("b", "01"), "FLAIR"))
    made.clear(results, UNIT, stage)
    assert not any(path.exists() for path in stale)
    assert other.exists()


def test_a_run_begins_without_the_leftovers_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(runs.MARK, "")  # it is set below, and taken back
    monkeypatch.setattr(runs, "_held", [])
    results = Results(tmp_path / "results")
    stale = [
        put(results.root / ".part-manifest.tsv"),
        put(results.metrics.with_name(".part-metrics.tsv")),
        put(results.root / "models" / "register" / ".part-bundle" / "x"),
        put(results.private / ".part-registry.json"),
    ]
    kept = put(results.metrics)
    runs.begin(results, [])
    assert not any(path.exists() for path in stale)
    assert kept.exists()
