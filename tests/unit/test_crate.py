"""A results folder as a Workflow Run RO-Crate, read back by the rocrate library."""

from __future__ import annotations

from pathlib import Path

from rocrate.rocrate import ROCrate

from pipeline import cli, crate, files, status
from pipeline.ingest import manifest
from pipeline.paths import Results, Unit
from tests.unit.report_cases import manifest_row

WHOLE, BROKEN = Unit("A001", "01"), Unit("A002", "01")


def results(root: Path) -> Results:
    """Two sessions: one denoised, one that failed there."""
    place = Results(root)
    rows = [manifest_row(unit, "T1w") for unit in (WHOLE, BROKEN)]
    manifest.write_manifest(place.manifest, rows)
    source = place.image("preprocess", WHOLE, "T1w", desc="preproc")
    made = place.image("denoise", WHOLE, "T1w", desc="denoised")
    for path in (source, made):
        files.write_text(path, "an image")
    name = source.relative_to(root).as_posix()
    described = made.with_name(made.name.replace(".nii.gz", ".json"))
    files.write_json(described, {"Inputs": {name: "aa", "gone.nii.gz": "bb"}})
    outputs = {made.relative_to(root).as_posix(): files.sha256(made)}
    status.write(
        place, WHOLE, status.Status("A001", "01", "denoise", "ok", seconds=60.0, outputs=outputs)
    )
    failed = status.Status("A002", "01", "denoise", "failed", "E-SIGNAL", "No signal", 1.0)
    status.write(place, BROKEN, failed)
    return place


def test_a_run_is_one_action_of_the_workflow(tmp_path: Path) -> None:
    place = results(tmp_path / "results")
    assert cli.main(["crate", str(place.root)]) == 0
    found = ROCrate(place.root)
    profiles = {item.id for item in found.root_dataset["conformsTo"]}
    assert {crate.PROFILES["process"], crate.PROFILES["workflow"]} <= profiles
    assert crate.PROFILES["provenance"] not in profiles
    workflow = found.mainEntity
    assert "ComputationalWorkflow" in workflow["@type"] and (place.root / workflow.id).is_file()
    (action,) = found.get_by_type("CreateAction")
    assert action["instrument"] is workflow
    assert action["actionStatus"] == "http://schema.org/FailedActionStatus" or (
        action["actionStatus"].id == "http://schema.org/FailedActionStatus"
    )
    assert action["startTime"] < action["endTime"]
    assert [item.id for item in action["object"]] == ["manifest.tsv"]


def test_steps_tell_inputs_and_outputs_with_their_hashes(tmp_path: Path) -> None:
    place = results(tmp_path / "results")
    assert cli.main(["crate", str(place.root), "--steps"]) == 0
    found = ROCrate(place.root)
    assert crate.PROFILES["provenance"] in {item.id for item in found.root_dataset["conformsTo"]}
    step = found.get("#denoise-A001-01")
    assert step["instrument"].id == "#voxelway-denoise"
    (given,), (made,) = step["object"], step["result"]
    assert given["sha256"] == "aa", "inputs that are gone are left out"
    assert made["sha256"] == files.sha256(place.root / made.id)
    assert found.get("#denoise-A002-01")["error"] == "E-SIGNAL: No signal"


def test_the_same_results_give_the_same_description(tmp_path: Path) -> None:
    place = results(tmp_path / "results")
    texts = []
    for _ in range(2):
        crate.write_crate(place.root, steps=True)
        texts.append((place.root / crate.DESCRIPTION).read_text())
    assert texts[0] == texts[1]


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    assert cli.main(["crate", str(tmp_path)]) == 2
