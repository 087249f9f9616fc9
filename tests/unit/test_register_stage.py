"""Template, stage, and the verbs `register` and `transform`, on made-up brains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import cli, config, files, images, runner, status
from pipeline.errors import VoxelwayError
from pipeline.paths import Results, Unit
from pipeline.register import stage, template, transforms

from . import register_cases as cases

SHARED = Path(__file__).parents[2] / "../shared/data/brain_t1"
NAMES = {"moved", "warp", "inverse_warp", "jacobian"}


def voxelway(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def params(**options: Any) -> dict[str, Any]:
    return {**config.section("register", options), "seed": 0}


@pytest.fixture(scope="module")
def mni(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "MNI152NLin2009aSym"
    assert voxelway("template", folder, "--params", '{"template_spacing": 4}') == 0
    return folder


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own template: the made-up brain, tissues by thresholds."""
    folder = tmp_path_factory.mktemp("own") / "my-template_1"
    _, (image, mask), _ = cases.pair()
    images.write_image(image, folder / "T1w.nii.gz")
    images.write_image(mask, folder / "brain_mask.nii.gz")
    values, inside = images.array(image), images.bool_array(mask)
    parts = {"CSF": values < 0.5, "GM": (values >= 0.5) & (values < 0.7), "WM": values >= 0.7}
    for name, part in parts.items():
        path = folder / f"{name}_probseg.nii.gz"
        images.write_image(images.like((part & inside).astype("f4"), image), path)
    return folder


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registered")
    (moving, _), (fixed, _), _ = cases.pair()
    images.write_image(moving, folder / "moving.nii.gz")
    images.write_image(fixed, folder / "fixed.nii.gz")
    arguments = [folder / "moving.nii.gz", folder / "fixed.nii.gz", folder / "out"]
    assert voxelway("register", *arguments) == 0
    return folder


def test_template_maps_add_up_inside_the_brain(mni: Path) -> None:
    found = template.read_template(mni)
    assert found.image.GetSpacing() == pytest.approx((4, 4, 4))
    inside = images.bool_array(found.mask)
    total = sum(images.array(part) for part in found.tissues.values())
    assert np.median(total[inside]) > 0.99 and total.max() < 1.01
    assert total[~inside].max() < 0.7
    assert 1.7e3 < inside.sum() * 4.0**3 / 1e3 < 2.0e3  # ml, with the fluid around the brain
    assert not images.array(found.image)[~inside].any()
    # the origin of MNI space lies at the anterior commissure: white matter left and right of it
    white = found.tissues["WM"]
    for side in (-25.0, 25.0):
        assert white[white.TransformPhysicalPointToIndex((side, 20.0, 25.0))] > 0.5


def test_template_says_where_it_is_from(mni: Path) -> None:
    described = files.read_json(mni / "description.json")
    assert "McGill" in described["License"] and described["SpacingMM"] == [4, 4, 4]
    assert described["Sha256"]["T1w.nii.gz"] == files.sha256(mni / "T1w.nii.gz")
    assert not list(mni.parent.glob(".part*"))


def test_own_template_is_taken_and_replaces_one(own: Path, mni: Path, tmp_path: Path) -> None:
    out = tmp_path / "t"
    template.write_template(out, params(template=str(own), template_spacing=0))
    first = files.sha256(out / "T1w.nii.gz")
    assert images.same_grid(template.read_template(out).image, cases.pair()[1][0])
    (out / "description.json").unlink()  # as the workflow does before it runs the rule again
    template.write_template(out, params(template=str(mni), template_spacing=0))
    assert files.sha256(out / "T1w.nii.gz") != first
    assert {path.name for path in out.parent.iterdir()} == {"t"}


def test_template_refusals(own: Path, tmp_path: Path) -> None:
    with pytest.raises(VoxelwayError, match="E-TEMPLATE"):
        template.write_template(tmp_path / "x", params(template="atlantis"))
    assert not (tmp_path / "x").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").touch()
    with pytest.raises(VoxelwayError, match="E-CONFIG-PATH"):
        template.write_template(tmp_path / "full", params(template=str(own)))
    assert (tmp_path / "full" / "thesis.doc").exists()
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("T1w", "brain_mask"):
        (broken / f"{name}.nii.gz").write_bytes((own / f"{name}.nii.gz").read_bytes())
    with pytest.raises(VoxelwayError, match="lacks CSF_probseg"):
        template.write_template(tmp_path / "x", params(template=str(broken)))


def test_file_form_writes_the_fixed_names(registered: Path) -> None:
    names = {path.name for path in (registered / "out").iterdir()}
    assert {f"{name}.nii.gz" for name in NAMES} | {"affine.mat", "metrics.json"} <= names
    numbers = json.loads((registered / "out" / "metrics.json").read_text())
    assert numbers["ncc_before"] < numbers["ncc_affine"] < numbers["ncc_after"]
    # the region of what is not zero has a rim of half-full voxels in the resampled image
    assert numbers["mask_dice_after"] > 0.9 and numbers["folded_share"] == 0.0
    assert numbers["inverse_consistency_mean_mm"] < 0.1


def test_transform_gives_the_moved_image_again(registered: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "again.nii.gz", registered / "out"
    arguments = [registered / "moving.nii.gz", registered / "fixed.nii.gz", out]
    assert voxelway("transform", *arguments, "--registration", folder) == 0
    ours = images.array(images.read_image(out))
    moved = images.array(images.read_image(folder / "moved.nii.gz"))
    assert np.abs(np.clip(ours, moved.min(), moved.max()) - moved).max() < 1e-4


def test_transform_labels_there_and_back(registered: Path, tmp_path: Path) -> None:
    (moving, mask), (fixed, _), _ = cases.pair()
    labels = images.like(np.where(images.array(moving) > 0.8, 7, images.array(mask)), moving)
    images.write_image(sitk.Cast(labels, sitk.sitkUInt16), tmp_path / "labels.nii.gz")
    there, back = tmp_path / "there.nii.gz", tmp_path / "back.nii.gz"
    shared = ("--labels", "--registration", registered / "out")
    first = (tmp_path / "labels.nii.gz", registered / "fixed.nii.gz", there)
    assert voxelway("transform", *first, *shared) == 0
    second = (there, registered / "moving.nii.gz", back)
    assert voxelway("transform", *second, *shared, "--inverse") == 0
    assert images.same_grid(sitk.ReadImage(str(there)), fixed)
    assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(there))))) == {0, 1, 7}
    a, b = images.array(images.read_labels(back)) > 0, images.bool_array(mask)
    assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.95


def test_transform_in_a_batch(registered: Path, tmp_path: Path) -> None:
    images.write_image(cases.pair()[0][1], tmp_path / "mask.nii.gz")
    row = {
        "input": tmp_path / "mask.nii.gz",
        "reference": registered / "fixed.nii.gz",
        "output": tmp_path / "o.nii.gz",
        "labels": "true",
    }
    files.write_tsv(tmp_path / "b.tsv", list(row), [row])
    arguments = ("--batch", tmp_path / "b.tsv", "--registration", registered / "out")
    assert voxelway("transform", *arguments) == 0
    assert sitk.ReadImage(str(row["output"])).GetPixelID() == sitk.sitkUInt16


def test_transform_off_the_reference_is_refused(
    registered: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    far = images.read_image(registered / "moving.nii.gz")
    far.SetOrigin((5000.0, 0.0, 0.0))
    images.write_image(far, tmp_path / "far.nii.gz")
    arguments = [tmp_path / "far.nii.gz", registered / "fixed.nii.gz", tmp_path / "o.nii.gz"]
    assert voxelway("transform", *arguments, "--registration", registered / "out") == 3
    assert "E-OVERLAP" in capfd.readouterr().err
    assert not (tmp_path / "o.nii.gz").exists()


def test_brains_that_do_not_meet_are_refused(
    registered: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    grid = cases.oblique((40, 40, 40), (4.0, 4.0, 4.0))
    p = cases.points(grid)
    rod = (np.abs(p[..., 0]) < 6) & (np.abs(p[..., 1]) < 75)
    cross = rod | ((np.abs(p[..., 2]) < 6) & (np.abs(p[..., 0]) < 75) & (np.abs(p[..., 1]) < 6))
    images.write_image(images.like(cross * (1.0 + 0.01 * p[..., 1]), grid), tmp_path / "c.nii.gz")
    options = ("--method", "affine", "--params", '{"min_overlap": 0.95}')
    arguments = (tmp_path / "c.nii.gz", registered / "fixed.nii.gz", tmp_path / "out")
    assert voxelway("register", *arguments, *options) == 3
    assert "E-OVERLAP" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def make_unit(root: Path, own: Path) -> tuple[Results, Unit]:
    results, unit = Results(root), Unit("A", "1")
    label = "mytemplate1"
    options = params(template=str(own), template_spacing=0)
    template.write_template(results.model("register", label), options)
    (moving, mask), _, _ = cases.pair()
    skull = images.like(np.where(images.bool_array(mask), images.array(moving), 2.5), moving)
    path = results.image("superres", unit, "T1w", space="T1w", desc="superres")
    images.write_image(sitk.Cast(skull, sitk.sitkFloat32), path)
    images.write_image(mask, results.image("superres", unit, "mask", space="T1w", desc="brain"))
    status.write(results, unit, status.Status("A", "1", "superres", "ok"))
    return results, unit


def test_unit_form(own: Path, tmp_path: Path) -> None:
    results, unit = make_unit(tmp_path, own)
    options = params(template=str(own), template_spacing=0)
    assert runner.run_units(stage, [unit], runner.Setup(results, options)) == 0
    written = status.read(results, unit, "register")
    assert written is not None and written.status == "ok" and not written.warnings
    folder = results.anat("register", unit)
    names = {Path(name).name for name in written.outputs}
    assert names == {path.name for path in folder.iterdir() if path.suffix != ".json"} | {
        "sub-A_ses-1_metrics.json"
    }
    moved = results.image("register", unit, "T1w", space="mytemplate1", desc="moved")
    facts = files.read_json(moved.with_name(moved.name.replace(".nii.gz", ".json")))
    assert facts["Template"] == "mytemplate1" and facts["Metrics"]["ncc_after"] > 0.9
    # the bright skull is stripped before anything is resampled
    assert images.array(images.read_image(moved)).max() < 2.0
    fixed = template.read_template(own)
    forward = transforms.forward(results, unit, "mytemplate1")
    backward = transforms.backward(results, unit, "mytemplate1")
    center = fixed.image.TransformContinuousIndexToPhysicalPoint((20.0, 25.0, 14.0))
    there = forward.TransformPoint(center)
    assert np.linalg.norm(np.subtract(there, center)) > 2.0
    assert np.linalg.norm(np.subtract(backward.TransformPoint(there), center)) < 0.3


def test_unit_without_template_is_refused(own: Path, tmp_path: Path) -> None:
    results, unit = make_unit(tmp_path, own)
    (results.model("register", "mytemplate1") / "WM_probseg.nii.gz").unlink()
    options = params(template=str(own), template_spacing=0)
    runner.run_units(stage, [unit], runner.Setup(results, options))
    written = status.read(results, unit, "register")
    assert written is not None and written.code == "E-TEMPLATE"


def test_unit_with_an_empty_mask_is_refused(own: Path, tmp_path: Path) -> None:
    results, unit = make_unit(tmp_path, own)
    path = results.image("superres", unit, "mask", space="T1w", desc="brain")
    images.write_image(images.read_labels(path) * 0, path)
    options = params(template=str(own), template_spacing=0)
    runner.run_units(stage, [unit], runner.Setup(results, options))
    written = status.read(results, unit, "register")
    assert written is not None and written.code == "E-MASK-EMPTY"
    assert not list(results.anat("register", unit).glob("*"))


def test_transforms_of_an_unregistered_unit(tmp_path: Path) -> None:
    with pytest.raises(VoxelwayError, match="E-IMG-INPUT"):
        transforms.forward(Results(tmp_path), Unit("A", "1"), "MNI152NLin2009aSym")


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the development data are not beside the checkout")
def test_a_real_brain(mni: Path, tmp_path: Path) -> None:
    brain = sorted(SHARED.glob("*_T1w.nii.gz"))[0]
    assert voxelway("register", brain, mni / "T1w.nii.gz", tmp_path / "out") == 0
    numbers = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert numbers["ncc_after"] > numbers["ncc_affine"] + 0.1
    assert numbers["mask_dice_after"] > 0.9 and numbers["folded_share"] == 0.0
