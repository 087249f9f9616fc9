"""Folders written whole, fragments of the schema, and which keys and model a rule rests on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline import config, files, models
from pipeline.errors import VoxelwayError
from pipeline.paths import Results
from pipeline.training.plan import Plan
from workflow.lib import settings


def test_a_folder_appears_whole_and_replaces_its_like(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    for text in ("old", "new"):
        with files.whole_folder(out, {"a", "b"}, "thing") as part:
            (part / "a").write_text(text)
            (part / "a").chmod(0o600)
            assert part.parent == out.parent
            assert not out.exists() or (out / "a").read_text() == "old"
    assert (out / "a").read_text() == "new"
    umask = os.umask(0)
    os.umask(umask)
    assert (out / "a").stat().st_mode & 0o777 == 0o666 & ~umask
    assert out.stat().st_mode & 0o777 == 0o777 & ~umask
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_after_an_error_the_old_folder_stands(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with files.whole_folder(out, {"a"}, "thing") as part:
        (part / "a").write_text("old")
    with pytest.raises(RuntimeError), files.whole_folder(out, {"a"}, "thing") as part:
        (part / "a").write_text("new")
        raise RuntimeError
    assert (out / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis").touch()
    with (
        pytest.raises(VoxelwayError, match=r"E-CONFIG-PATH.*not of a thing"),
        files.whole_folder(tmp_path / "out", {"a"}, "thing"),
    ):
        raise AssertionError("the block must not run")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_training_of_a_stage_is_a_plan() -> None:
    section = config.section("register", {"training": {"batch": 4, "precision": 16}})
    plan = Plan.of(section["training"], 7)
    assert (plan.batch, plan.precision, plan.seed) == (4, 16, 7)
    # the stage's own default, and the shared one
    fragment = config.schema()["properties"]["register"]["properties"]["training"]
    assert fragment["properties"]["learning_rate"]["default"] == plan.learning_rate == 0.0004
    assert plan.schedule == "cosine"


@pytest.mark.parametrize(
    ("training", "code"),
    [
        ({"stpes": 3}, "E-CONFIG-KEY"),
        ({"steps": 0}, "E-CONFIG-VALUE"),
        ({"precision": "half"}, "E-CONFIG-VALUE"),
        ({"devices": "all"}, "E-CONFIG-VALUE"),
    ],
)
def test_a_wrong_plan_is_refused(training: dict[str, Any], code: str) -> None:
    with pytest.raises(VoxelwayError, match=rf"{code}.*training"):
        config.section("register", {"training": training})


def test_each_use_has_its_keys() -> None:
    section = {**config.section("register"), "seed": 1}
    inference = config.used_by("register", section, "inference")
    training = config.used_by("register", section, "training")
    assert "training" not in inference and inference["min_overlap"] == section["min_overlap"]
    assert "syn" not in training and training["training"]["steps"] == section["training"]["steps"]
    assert not {"devices", "workers"} & set(training["training"])
    assert inference["seed"] == training["seed"] == 1
    assert inference["template"] == training["template"]


def chosen(method: str, source: str) -> dict[str, Any]:
    return {"synthesize": {"method": method}, "models": {"synthesize": {"source": source}}}


def test_the_model_of_a_rule(tmp_path: Path) -> None:
    results, learned = Results(tmp_path), "patch_regression"
    trained = settings.model_of(chosen(learned, "train"), results, "synthesize")
    assert trained == settings.Model(tmp_path / "models" / "synthesize" / learned, trained=True)

    own = tmp_path / "own"
    own.mkdir()
    digests = set()
    for sha in "ab":
        (own / "metadata.json").write_text(json.dumps({"weights": {"sha256": sha}}))
        found = settings.model_of(chosen(learned, str(own)), results, "synthesize")
        assert found.bundle == own and not found.trained
        digests.add(found.digest)
    assert len(digests) == 2
    with pytest.raises(VoxelwayError, match="E-MODEL-MISSING"):
        settings.model_of(chosen(learned, str(tmp_path / "none")), results, "synthesize")


def test_a_model_that_ships_is_found_by_its_name(tmp_path: Path) -> None:
    found = models.located("segment", "hippocampus")
    assert found == models.SHIPPED / "segment" / "hippocampus"
    assert models.chosen("segment", "cascade", "hippocampus") == found
    assert models.located("segment", tmp_path) == tmp_path
    with pytest.raises(VoxelwayError) as error:
        models.chosen("segment", "cascade")
    assert error.value.code == "E-MODEL-MISSING" and "hippocampus" in str(error.value)
