"""``voxelway train segment`` from cases to a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.bundles import read_bundle
from pipeline.errors import VoxelwayError
from pipeline.segment import train
from pipeline.segment.cascade import plan as plans
from tests.unit.segment_cases import section, write_cases


def test_a_cascade_on_images_by_cross_validation(tmp_path: Path) -> None:
    write_cases(tmp_path, 4, with_images=True)
    params = section(tmp_path, True, folds=2, title="blobs")
    assert train.train(params, tmp_path / "out", None) == 0
    bundle = read_bundle(tmp_path / "out", "segment")
    names = {"coarse.0", "coarse.1", "fine.0", "fine.1"}
    assert set(bundle.metadata["architecture"]) == names
    assert {key.split("/")[0] for key in bundle.tensors} == names
    plan = plans.of(bundle.metadata["inputs"]["plan"], "metadata")
    assert plan == plans.read(tmp_path / "out" / "plan.json")
    assert [level.members for level in plan.levels] == [2, 2]
    assert all(0 < level.temperature < 100 for level in plan.levels)
    scores = bundle.metadata["training"]["scores"]
    assert scores["fine: Dice of left-blob"]["cases"] == 4, "each case is judged once"
    assert scores["fine: Dice of all, the mean"]["cases"] == 4
    assert bundle.metadata["training"]["subjects"] == {"train": 4, "val": 4}
    assert bundle.metadata["calibration"]["interval_factor"] > 0
    assert (tmp_path / "out" / "training_fine.1.csv").is_file()
    assert "# Segmentation of blobs" in (tmp_path / "out" / "README.md").read_text()


def test_a_cascade_on_label_maps_takes_any_contrast(tmp_path: Path) -> None:
    write_cases(tmp_path, 3, with_images=False)
    assert train.train(section(tmp_path, False), tmp_path / "out", None) == 0
    plan = plans.read(tmp_path / "out" / "plan.json")
    assert plan.any_contrast and plan.intensity.kind == "percentile"


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    write_cases(tmp_path, 3, with_images=True)
    params = section(tmp_path, True)
    train.train(params, tmp_path / "out", None)
    first = read_bundle(tmp_path / "out", "segment")
    log = tmp_path / "out.training" / "fine.0" / "training.csv"
    before = log.stat().st_mtime_ns
    train.train(params, tmp_path / "out", None)
    second = read_bundle(tmp_path / "out", "segment")
    assert log.stat().st_mtime_ns == before
    assert all(np.array_equal(first.tensors[key], second.tensors[key]) for key in first.tensors)


def test_more_networks_a_fold_are_trained_beside_those_that_are_there(tmp_path: Path) -> None:
    write_cases(tmp_path, 4, with_images=True)
    train.train(section(tmp_path, True, folds=2), tmp_path / "out", None)
    logs = [tmp_path / "out.training" / f"coarse.{fold}" / "training.csv" for fold in (0, 1)]
    before = [log.stat().st_mtime_ns for log in logs]
    train.train(section(tmp_path, True, folds=2, networks=2), tmp_path / "out", None)
    assert [log.stat().st_mtime_ns for log in logs] == before
    bundle = read_bundle(tmp_path / "out", "segment")
    assert {f"coarse.{member}" for member in range(4)} < set(bundle.metadata["architecture"])
    first, other = (bundle.tensors[f"fine.{member}/heads.0.weight"] for member in (0, 2))
    assert not np.array_equal(first, other), "of other random numbers"
    scores = bundle.metadata["training"]["scores"]
    assert scores["coarse: Dice of all, the mean, mirrored"]["cases"] == 4
    assert scores["fine: Dice of all, the mean"]["cases"] == 4, "each case is judged once"


def test_a_bundle_keeps_as_many_networks_as_is_asked(tmp_path: Path) -> None:
    write_cases(tmp_path, 4, with_images=True)
    levels = [{"name": "only", "spacing": 4, "patch": [8, 8, 8]}]
    params = section(tmp_path, True, folds=2, members=1, half=True, levels=levels)
    train.train(params, tmp_path / "out", None)
    bundle = read_bundle(tmp_path / "out", "segment")
    assert {key.split("/")[0] for key in bundle.tensors} == {"only.0"}
    assert {value.dtype for value in bundle.tensors.values()} == {np.dtype(np.float16)}
    assert plans.read(tmp_path / "out" / "plan.json").levels[0].members == 1
    scores = bundle.metadata["training"]["scores"]
    assert scores["only: Dice of left-blob"]["cases"] == 4, "judged by both folds"


def test_a_plan_of_ones_own_is_taken(tmp_path: Path) -> None:
    write_cases(tmp_path, 3, with_images=True)
    train.train(section(tmp_path, True), tmp_path / "out", None)
    content = json.loads((tmp_path / "out" / "plan.json").read_text())
    content["levels"] = content["levels"][:1]
    content["levels"][0]["spacing"] = [5.0, 5.0, 5.0]
    own = tmp_path / "own.json"
    own.write_text(json.dumps(content))
    train.train(section(tmp_path, True, plan=str(own)), tmp_path / "second", None)
    levels = plans.read(tmp_path / "second" / "plan.json").levels
    assert [level.spacing for level in levels] == [(5.0, 5.0, 5.0)]
    # a plan of one network, trained in two folds
    train.train(section(tmp_path, True, plan=str(own), folds=2), tmp_path / "third", None)
    assert plans.read(tmp_path / "third" / "plan.json").levels[0].members == 2


def test_fine_tuning_starts_with_a_bundle_and_leaves_what_is_frozen(tmp_path: Path) -> None:
    write_cases(tmp_path, 3, with_images=True)
    train.train(section(tmp_path, True), tmp_path / "first", None)
    tuned = section(tmp_path, True, start=str(tmp_path / "first"), freeze=["down"])
    train.train(tuned, tmp_path / "second", None)
    bundles = [read_bundle(tmp_path / name, "segment") for name in ("first", "second")]
    first, second = (bundle.tensors for bundle in bundles)
    begun = bundles[1].metadata["training"]["start"]
    assert begun == bundles[0].metadata["weights"]["sha256"]
    frozen = [key for key in first if "/down" in key]
    heads = [key for key in first if "/heads" in key]
    assert frozen and all(np.array_equal(first[key], second[key]) for key in frozen)
    assert heads and not all(np.array_equal(first[key], second[key]) for key in heads)


def test_a_bundle_that_fits_nowhere_is_refused(tmp_path: Path) -> None:
    write_cases(tmp_path, 3, with_images=True)
    train.train(section(tmp_path, True), tmp_path / "first", None)
    levels = [{"name": "other", "spacing": 4, "patch": [8, 8, 8]}]
    params = section(tmp_path, True, start=str(tmp_path / "first"), levels=levels)
    with pytest.raises(VoxelwayError) as error:
        train.train(params, tmp_path / "second", None)
    assert error.value.code == "E-MODEL-INPUT"


def test_no_case_and_levels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_cases(tmp_path, 3, with_images=True)
    with pytest.raises(VoxelwayError) as error:
        train.train(section(tmp_path, True, data=[]), tmp_path / "out", None)
    assert error.value.code == "E-TRAIN-DATA"
    levels = [{"name": "coarse", "spacing": 4, "context": True}]
    with pytest.raises(VoxelwayError) as error:
        train.train(section(tmp_path, True, levels=levels), tmp_path / "out", None)
    assert error.value.code == "E-CONFIG-VALUE" and "context" in str(error.value)
