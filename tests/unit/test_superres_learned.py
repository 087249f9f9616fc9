"""Learned super-resolution: consistency, every method, training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import yaml

from pipeline import cli, images, methods
from pipeline.bundles import read_bundle
from pipeline.errors import VoxelwayError
from pipeline.superres import lattice, network, profile, sampling, stage, train
from pipeline.superres.learning import kinds
from pipeline.superres.request import Request
from pipeline.task import Task

from . import superres_cases as cases

IDENTITY = sitk.Transform(3, sitk.sitkIdentity)
LEARNED = [name for name in methods.available("superres") if methods.learned("superres", name)]


def thick(factor: float, axis: int = 2) -> tuple[sitk.Image, sitk.Image, profile.Profile]:
    sharp = cases.ball()
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = factor
    x, y, z = spacing
    grid = images.spaced_grid(sharp, (x, y, z))
    made = profile.make_profile(grid, None, "box", 1.0)
    return sharp, profile.acquire(sharp, grid, IDENTITY, made), made


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_consistency_is_enforced_and_stops_at_the_noise(axis: int) -> None:
    _, acquired, made = thick(4.0, axis)
    fine = lattice.fine(acquired, made, 1.0, lambda distance: distance / 4)
    values = images.array(acquired)
    start = fine.interpolated(values) * 0.9 + 3

    def left(found: np.ndarray) -> float:
        return float(np.sqrt(np.mean((sampling.apply(fine.forward(), found) - values) ** 2)))

    assert left(start) > 2
    # where nothing is cut off at zero, one correction is enough
    lifted = lattice.consistent(start + 50, values + 50, fine, 0.0, 1)
    assert np.abs(sampling.apply(fine.forward(), lifted) - values - 50).max() < 0.05
    assert left(lattice.consistent(start, values, fine, 0.0, 3)) < 0.1 * left(start)
    noisy = lattice.consistent(start + 50, values + 50, fine, 1.0, 1)
    assert left(noisy - 50) == pytest.approx(1.0, rel=0.01)
    # what already explains the slices but for the noise stays, but for what is below zero
    assert np.array_equal(lattice.consistent(start, values, fine, 1e3, 3), np.maximum(start, 0))


def test_the_fine_lattice_is_the_grid_of_the_stage() -> None:
    _, acquired, made = thick(3.0)
    fine = lattice.fine(acquired, made, 1.0, lambda distance: 1.0)
    assert images.same_grid(fine.grid, images.spaced_grid(acquired, (1.0, 1.0, 1.0)))
    assert fine.normal == 0 and fine.spacings == pytest.approx((3.0, 1.0, 1.0))
    # ITK's spline is mirrored at the ends too: the inner part agrees
    found, wanted = fine.interpolated(images.array(acquired)), images.resample(acquired, fine.grid)
    assert found[6:-6] == pytest.approx(images.array(wanted)[6:-6], abs=0.05)


def test_turning_is_undone() -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    copies = [network.turned(values, way) for way in range(8)]
    assert len({copy.tobytes() + str(copy.shape).encode() for copy in copies}) == 8
    for way, copy in enumerate(copies):
        assert np.array_equal(network.turned(copy, way, back=True), values)


def request(factor: float = 3.0, **changes: Any) -> Request:
    sharp, acquired, made = thick(factor)
    given = {"suffix": "T1w", "guide": sharp} | changes
    return Request(acquired, sharp, IDENTITY, made, 0.0, 2, **given)


@pytest.mark.parametrize("method", LEARNED)
def test_every_learned_method_repeats_and_explains_the_slices(tmp_path: Path, method: str) -> None:
    made = methods.create(
        "superres", method, cases.params(method=method), cases.bundle(tmp_path / "b", method)
    )
    asked = request()
    first, second = (images.array(made(asked).image) for _ in range(2))
    assert np.array_equal(first, second) and first.shape == images.array(asked.grid).shape
    assert np.isfinite(first).all() and first.min() >= 0
    error = profile.consistency(made(asked).image, asked.image, IDENTITY, asked.profile)
    plain = images.resample(asked.image, asked.grid)
    assert error < 0.9 * profile.consistency(plain, asked.image, IDENTITY, asked.profile)


def test_every_learned_method_is_tested_and_has_an_architecture() -> None:
    assert sorted(LEARNED) == sorted(cases.METHODS)
    assert set(kinds.KINDS) == set(cases.TINY)


def test_a_turned_contrast_is_taken_to_the_grid(tmp_path: Path) -> None:
    made = network.create(cases.params(), cases.bundle(tmp_path / "b", "anyscale"), "anyscale")
    turn = sitk.Euler3DTransform((14.0, 16.0, 18.0), 0.0, 0.0, 0.1)
    sharp, acquired, shape = thick(3.0)
    found = made(Request(acquired, sharp, turn, shape, 0.0, 2, "T1w")).image
    assert images.same_grid(found, sharp)
    plain = images.array(images.resample(acquired, sharp, turn))
    assert np.corrcoef(images.array(found).ravel(), plain.ravel())[0, 1] > 0.95


def test_a_factor_above_the_largest_is_interpolated_on(tmp_path: Path) -> None:
    made = network.create(cases.params(), cases.bundle(tmp_path / "b", "anyscale"), "anyscale")
    asked = request(9.0)
    found = made(asked).image
    assert images.same_grid(found, asked.grid)


def test_the_mirrored_copies_give_mean_and_spread(tmp_path: Path) -> None:
    folder = cases.bundle(tmp_path / "b", "anyscale")
    made = network.create(cases.params(uncertainty="mirror", members=8), folder, "anyscale")
    found = made(request())
    assert found.uncertainty is not None
    spread = images.array(found.uncertainty)
    assert spread.min() >= 0 and spread.max() > 0
    assert images.same_grid(found.image, found.uncertainty)


def test_dropout_needs_a_model_with_dropout(tmp_path: Path) -> None:
    folder = cases.bundle(tmp_path / "b", "anyscale")
    with pytest.raises(VoxelwayError, match="E-CONFIG-VALUE"):
        network.create(cases.params(uncertainty="dropout"), folder, "anyscale")
    folder = cases.bundle(tmp_path / "c", "anyscale", more={"dropout": 0.3})
    made = network.create(cases.params(uncertainty="dropout", members=3), folder, "anyscale")
    found = [made(request()) for _ in range(2)]
    spreads = [images.array(one.uncertainty) for one in found if one.uncertainty is not None]
    assert np.array_equal(*spreads) and spreads[0].max() > 0


def test_what_the_model_was_not_made_for_is_told_or_refused(tmp_path: Path) -> None:
    folder = cases.bundle(tmp_path / "a", "anyscale")
    notes = network.create(cases.params(), folder, "anyscale")(request(suffix="T2w")).notes
    assert len(notes) == 1 and "not on real T2w" in notes[0]
    strict = cases.bundle(tmp_path / "b", "anyscale", random_contrasts=0.0)
    with pytest.raises(VoxelwayError, match="E-IMG-MODALITY"):
        network.create(cases.params(), strict, "anyscale")(request(suffix="T2w"))
    with pytest.raises(VoxelwayError, match="E-IMG-INPUT"):
        network.create(cases.params(), cases.bundle(tmp_path / "c", "guided"), "anyscale")(
            request(guide=None)
        )
    with pytest.raises(VoxelwayError, match="E-MODEL-INPUT"):
        network.create(cases.params(), folder, "srcnn")


def test_integers_and_negative_values_keep_their_scale(tmp_path: Path) -> None:
    folder = cases.bundle(tmp_path / "b", "anyscale")
    made = network.create(cases.params(), folder, "anyscale")
    one = request()
    found = images.array(made(one).image)
    # thirty times brighter: the same image, thirty times brighter
    bright = Request(one.image * 30.0, one.grid, IDENTITY, one.profile, 0.0, 2, "T1w", one.guide)
    assert images.array(made(bright).image) == pytest.approx(30 * found, rel=1e-3, abs=0.05)
    below = Request(one.image - 20.0, one.grid, IDENTITY, one.profile, 0.0, 2, "T1w", one.guide)
    assert images.array(made(below).image).min() == pytest.approx(-20.0, abs=1.0)


def test_file_form_with_uncertainty(tmp_path: Path) -> None:
    _, acquired, _ = thick(4.0)
    source, output = tmp_path / "sub-1_T1w.nii.gz", tmp_path / "out" / "sub-1_T1w.nii.gz"
    images.write_image(acquired, source)
    given = cases.params(method="anyscale", uncertainty="mirror", members=2)
    task = Task("superres", given)
    prepared = stage.prepare(given, cases.bundle(tmp_path / "b", "anyscale"))
    stage.run_file(task, prepared, {"input": str(source), "output": str(output)})
    assert images.read_image(output).GetSpacing() == pytest.approx((1.0, 1.0, 1.0))
    assert images.read_image(stage.uncertainty_path(output)).GetSize() == (28, 32, 36)
    facts = stage._facts(output)
    assert facts["ConsistencyRMSE"] < facts["ConsistencyRMSEPlain"]


def test_file_form_with_a_guide(tmp_path: Path) -> None:
    sharp, acquired, _ = thick(4.0)
    source, output = tmp_path / "sub-1_T1w.nii.gz", tmp_path / "out" / "sub-1_T1w.nii.gz"
    images.write_image(acquired, source)
    given = cases.params(method="guided")
    prepared = stage.prepare(given, cases.bundle(tmp_path / "b", "guided"))
    row = {"input": str(source), "output": str(output), "guide": str(tmp_path / "sharp.nii.gz")}

    def run(image: sitk.Image, **changes: str) -> np.ndarray:
        images.write_image(image, Path(row["guide"]))
        stage.run_file(Task("superres", given), prepared, {**row, **changes})
        return images.array(images.read_image(output))

    found = run(sharp)
    # it is listened to
    assert not np.allclose(found, run(images.like(images.array(sharp)[::-1].copy(), sharp)))
    away = sitk.Image(sharp)
    away.SetOrigin([200.0, 0.0, 0.0])
    with pytest.raises(VoxelwayError, match="E-OVERLAP"):
        run(away)
    with pytest.raises(VoxelwayError, match="E-IMG-INPUT"):
        run(sharp, guide="")


def test_the_qc_picture_shows_the_uncertainty() -> None:
    from pipeline.report.figures import restore

    sharp, acquired, _ = thick(4.0)
    brain = sitk.Cast(sharp > 1, sitk.sitkUInt8)
    pair = restore.Pair(acquired, sharp, brain)
    doubted = restore.Pair(acquired, sharp, brain, doubt=sitk.Abs(sharp) * 0.02)
    without, found = (restore.resolution({"T2w": one}) for one in (pair, doubted))
    # a third column in the same width makes all of them smaller
    assert found.height < 0.8 * without.height


CONFIG = """
dicom: {folder}
results: {folder}/results
superres:
  training: {{steps: 3, batch: 2, validate_every: 2, warmup: 1, devices: 1}}
  network: {{architecture: {architecture}, arguments: {arguments}}}
  learning:
    patch: 12
    validation_patch: 12
    {more}
    data:
      - {{name: balls, folder: {folder}, files: "sub-*_T1w.nii.gz", licence: CC0, contrast: T1w,
         held_out: [sub-04]}}
"""


def test_a_guide_for_a_network_that_takes_none_is_refused(tmp_path: Path) -> None:
    cases.write_subjects(tmp_path, 3)
    given = {"name": "balls", "folder": str(tmp_path), "files": "sub-*_T1w.nii.gz",
             "licence": "CC0", "contrast": "T1w", "guide": "T2w"}  # fmt: skip
    params = {**cases.params(method="anyscale"), "seed": 0}
    params["learning"] = params["learning"] | {"data": [given]}
    with pytest.raises(VoxelwayError, match=r"E-CONFIG-VALUE.*guides: 1"):
        train.train(params, tmp_path / "out", None)


@pytest.mark.parametrize("method", LEARNED)
def test_every_network_trains_from_files_to_a_bundle(tmp_path: Path, method: str) -> None:
    cases.write_subjects(tmp_path, 4)
    architecture, extra = cases.METHODS[method]
    more = "adversarial: 0.01" if method == "adversarial" else "in_plane: 0.5"
    path = tmp_path / "config.yaml"
    arguments = json.dumps({**cases.TINY[architecture], **extra})
    path.write_text(
        CONFIG.format(folder=tmp_path, architecture=architecture, arguments=arguments, more=more)
    )
    yaml.safe_load(path.read_text())
    out = tmp_path / "bundle"
    command = ["train", "superres", "--config", str(path), "--out", str(out)]
    assert cli.main(command) == 0
    made = read_bundle(out, "superres")
    assert made.metadata["training"]["steps"] == 3
    assert made.metadata["training"]["subjects"] == {"train": 2, "val": 1}
    assert set(made.metadata["training"]["scores"]) == {"gain", "psnr"}
    assert "balls: CC0" in (out / "README.md").read_text()
    assert not [name for name in made.tensors if name.startswith("critic")]
    # the bundle restores
    method_made = methods.create("superres", method, cases.params(method=method), out)
    assert np.isfinite(images.array(method_made(request()).image)).all()
