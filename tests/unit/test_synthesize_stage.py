"""Training and the stage on a made-up cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import cli, config, files, images, runner, status
from pipeline.bundles import read_bundle
from pipeline.paths import Results, Unit, sidecar
from pipeline.synthesize import stage, train
from pipeline.task import UnitTask

from . import synthesize_cases as cases

FAST = {"steps": 500, "hidden": [24], "patch_step": 5.0, "voxels_per_subject": 4000}
Cohort = tuple[Results, dict[str, Unit]]


def params(**options: Any) -> dict[str, Any]:
    return {**config.section("synthesize", {**FAST, **options}), "seed": 0}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return cases.cohort(tmp_path_factory.mktemp("cohort") / "results")


@pytest.fixture(scope="module")
def bundle(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "patch_regression"
    assert train.train(params(), out, cohort[0].root) == 0
    return out


@pytest.fixture(scope="module")
def done(cohort: Cohort, bundle: Path) -> Cohort:
    results, units = cohort
    runner.run_units(stage, list(units.values()), runner.Setup(results, params(), bundle))
    return cohort


def state(results: Results, unit: Unit) -> status.Status:
    found = status.read(results, unit, "synthesize")
    assert found is not None
    return found


def error(values: np.ndarray, reference: np.ndarray, inside: np.ndarray) -> float:
    """RMSE after the best gain and offset."""
    a = np.stack([values[inside], np.ones(inside.sum())], axis=1)
    fitted = a @ np.linalg.lstsq(a, reference[inside], rcond=None)[0]
    return float(np.sqrt(np.mean((fitted - reference[inside]) ** 2)))


def test_models_for_every_set_of_sources(bundle: Path) -> None:
    found = read_bundle(bundle, "synthesize")
    names = {item["name"] for item in found.metadata["models"]}
    assert names == {
        "FLAIR-from-T1w", "FLAIR-from-T2w", "FLAIR-from-T1w-T2w",
        "T2w-from-T1w", "T2w-from-FLAIR", "T2w-from-FLAIR-T1w",
    }  # fmt: skip
    assert found.metadata["absent"] == []
    assert found.metadata["training"]["sessions"] == 4
    by_name = {item["name"]: item for item in found.metadata["models"]}
    assert by_name["FLAIR-from-T1w"]["sessions"] == 3
    assert by_name["T2w-from-T1w"]["sessions"] == 4
    assert by_name["FLAIR-from-T1w"]["residual_sd"] < 0.5 * by_name["FLAIR-from-T1w"]["target_sd"]


def test_training_twice_gives_the_same_bundle(cohort: Cohort, bundle: Path, tmp_path: Path) -> None:
    train.train(params(), tmp_path / "again", cohort[0].root)
    for path in bundle.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


@pytest.mark.parametrize("name", ["test", "lacks"])
def test_made_flair_is_near_the_truth(done: Cohort, name: str) -> None:
    results, units = done
    unit = units[name]
    path = results.image("synthesize", unit, "FLAIR", space="T1w", desc="synth")
    made = images.array(images.read_image(path))
    number = int(unit.subject[1:])
    reference = cases.truth(number, "FLAIR")
    _, ball = cases.anatomy(number)
    source = images.array(
        images.read_image(results.image("superres", unit, "T1w", space="T1w", desc="superres"))
    )
    assert error(made, reference, ball) < 0.35 * error(source, reference, ball)
    # the slices of the acquired FLAIR are three voxels thick; the made one is sharper than that
    blurred = images.array(images.resample(cases.thick(reference), cases.grid(), order=1))
    assert error(made, reference, ball) < 0.6 * error(blurred, reference, ball)
    facts = files.read_json(sidecar(path))
    assert facts["Synthetic"] is True and facts["SourceContrasts"] == ["T1w", "T2w"]
    assert facts["Model"] and facts["OnlyForJudging"] is (name == "test")


def test_which_units_get_what(done: Cohort) -> None:
    results, units = done

    def made(name: str) -> set[str]:
        paths = results.anat("synthesize", units[name]).glob("*.nii.gz")
        return {path.name.split("_space-T1w_")[1].removesuffix(".nii.gz") for path in paths}

    assert made("train1") == set()
    assert made("lacks") == {"desc-synth_FLAIR", "desc-synthsd_FLAIR"}
    assert made("test") == {
        "desc-synth_FLAIR", "desc-synthsd_FLAIR", "desc-synth_T2w", "desc-synthsd_T2w",
    }  # fmt: skip
    assert all(state(results, unit).status == "ok" for unit in units.values())


@pytest.mark.parametrize(
    ("split", "method", "judged"),
    [
        ("test", "pix2pix", ["FLAIR"]),
        ("val", "pix2pix", []),  # chose the network's step and fitted its spread
        ("val", "patch_regression", ["FLAIR"]),  # is never looked at in its training
        ("train", "patch_regression", []),
    ],
)
def test_who_judges_a_method(tmp_path: Path, split: str, method: str, judged: list[str]) -> None:
    unit, results = Unit("a", "01"), Results(tmp_path)
    cases.manifest(results, {unit: (split, ["T1w", "FLAIR"])})
    section = config.section("synthesize", {"method": method, "targets": ["FLAIR", "T2w"]})
    held = {suffix: tmp_path / suffix for suffix in ("T1w", "FLAIR")}
    task = UnitTask("synthesize", section, results=results, unit=unit)
    assert stage.targets(task, section, held) == (["T2w"], judged)


def test_target_is_not_its_own_source(done: Cohort) -> None:
    results, units = done
    path = results.image("synthesize", units["test"], "T2w", space="T1w", desc="synth")
    assert files.read_json(sidecar(path))["SourceContrasts"] == ["FLAIR", "T1w"]


def test_outside_brain_and_margin_it_is_zero(done: Cohort) -> None:
    results, units = done
    _, ball = cases.anatomy(5)
    for desc in ("synth", "synthsd"):
        path = results.image("synthesize", units["lacks"], "FLAIR", space="T1w", desc=desc)
        values = images.array(images.read_image(path))
        assert (values[ball] > 0).mean() > 0.95 and (values >= 0).all()
        assert not values[0].any() and not values[:, 0].any()


def test_too_few_subjects_leave_a_bundle_that_says_so(cohort: Cohort, tmp_path: Path) -> None:
    results, units = cohort
    out = tmp_path / "few"
    assert train.train(params(min_subjects=4), out, results.root) == 0
    about = read_bundle(out, "synthesize").metadata
    assert {item["target"] for item in about["absent"]} == {"FLAIR"}
    assert "3 of 4" in about["absent"][0]["reason"]
    assert "3 of 4" in (out / "README.md").read_text()
    setup = runner.Setup(results, params(min_subjects=4), out)
    runner.run_units(stage, [units["lacks"]], setup)
    found = state(results, units["lacks"])
    assert found.status == "ok"
    assert any("E-TRAIN-DATA" in text for text in found.warnings)
    assert not list(results.anat("synthesize", units["lacks"]).glob("*.nii.gz"))


def test_a_source_that_no_model_takes(cohort: Cohort, bundle: Path, tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    unit = cases.add(results, 6, {"T1w": 1.0})
    folder = results.anat("superres", unit)
    for path in folder.glob("*_T1w.nii.gz"):
        path.rename(path.with_name(path.name.replace("_T1w.nii.gz", "_PDw.nii.gz")))
    cases.manifest(results, {unit: ("test", ["PDw"])})
    runner.run_units(stage, [unit], runner.Setup(results, params(), bundle))
    found = state(results, unit)
    assert found.status == "ok" and not found.outputs
    assert any("E-MODEL-INPUT" in text for text in found.warnings)


def test_one_target_of_two_is_better_than_none(cohort: Cohort, tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    unit = cases.add(results, 6, {"T1w": 1.0})
    cases.manifest(results, {unit: ("test", ["T1w"])})
    out = tmp_path / "few"
    train.train(params(min_subjects=4), out, cohort[0].root)
    runner.run_units(stage, [unit], runner.Setup(results, params(), out))
    found = state(results, unit)
    assert found.status == "ok" and any("FLAIR" in text for text in found.warnings)
    assert results.image("synthesize", unit, "T2w", space="T1w", desc="synth").is_file()


def test_train_needs_results(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "synthesize", "--out", str(tmp_path / "b")]) == 2
    assert "E-USAGE" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "target", "code", "exit_status"),
    [
        ("a_T1w.nii.gz", None, "E-USAGE", 2),
        ("a_angio.nii.gz", "FLAIR", "E-IMG-MODALITY", 3),
        ("a_FLAIR.nii.gz", "FLAIR", "E-IMG-MODALITY", 3),
        ("a_PDw.nii.gz", "FLAIR", "E-MODEL-INPUT", 3),
    ],
)
def test_file_form_refuses(
    done: Cohort,
    bundle: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    name: str,
    target: str | None,
    code: str,
    exit_status: int,
) -> None:
    results, units = done
    image = images.read_image(
        results.image("superres", units["test"], "T1w", space="T1w", desc="superres")
    )
    _, ball = cases.anatomy(4)
    images.write_image(images.like(np.where(ball, images.array(image), 0), image), tmp_path / name)
    arguments = ["synthesize", tmp_path / name, tmp_path / "o.nii.gz", "--model", bundle]
    arguments += ["--target", target] if target else []
    arguments += ["--params", '{"targets": ["FLAIR"]}']
    assert cli.main([str(item) for item in arguments]) == exit_status
    assert code in capfd.readouterr().err
    assert not (tmp_path / "o.nii.gz").exists()


def test_file_form(done: Cohort, bundle: Path, tmp_path: Path) -> None:
    results, units = done
    image = images.read_image(
        results.image("superres", units["test"], "T1w", space="T1w", desc="superres")
    )
    _, ball = cases.anatomy(4)
    source = tmp_path / "sub-1_T1w.nii.gz"
    images.write_image(images.like(np.where(ball, images.array(image), 0), image), source)
    out = tmp_path / "o_FLAIR.nii.gz"
    arguments = ["synthesize", source, out, "--model", bundle, "--target", "FLAIR"]
    assert cli.main([str(item) for item in arguments]) == 0
    made = images.array(images.read_image(out))
    reference = cases.truth(4, "FLAIR")
    assert error(made, reference, ball) < 0.65 * error(images.array(image), reference, ball)
