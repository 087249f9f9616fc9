"""Preprocess as a stage: names, lattices, transforms, masks of a head with known truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import config, files, images, status
from pipeline.errors import VoxelwayError
from pipeline.paths import Results, Unit, sidecar
from pipeline.preprocess import stage
from pipeline.runner import Setup, run_units
from pipeline.task import Task, UnitTask

SHARED = Path(__file__).parents[3] / "shared" / "data"
UNIT = Unit("a", "1")
MOVED = np.array([3.0, 0.0, 2.0])


def params(**changes: object) -> dict:
    return {**config.section("preprocess", changes), "seed": 0}


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2.0 * float((a & b).sum()) / float(a.sum() + b.sum())


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Truth folder of one phantom subject at 4 mm."""
    from pipeline.phantom.cohort import write_subject

    folder = tmp_path_factory.mktemp("head")
    write_subject("P001", folder, 4.0, 0)
    return folder / "truth" / "P001"


def on(truth: sitk.Image, mask: sitk.Image) -> np.ndarray:
    """Truth's mask on the lattice of another, whose axes may be turned."""
    return images.bool_array(images.resample(truth, mask, labels=True))


def noisy(image: sitk.Image, seed: int) -> sitk.Image:
    values = images.array(image)
    parts = np.random.default_rng(seed).normal(0, 0.02 * values.max(), (2, *values.shape))
    return images.like(np.hypot(values + parts[0], parts[1]).astype(np.float32), image)


@pytest.fixture(scope="module")
def results(head: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Results folder with rawdata of a T1w turned to RAI and a moved T2w, preprocessed."""
    results = Results(tmp_path_factory.mktemp("study") / "results")
    t1w = sitk.DICOMOrient(noisy(images.read_image(head / "T1w.nii.gz"), 0), "RAI")
    t2w = noisy(images.read_image(head / "T2w.nii.gz"), 1)
    images.write_image(t1w, results.image("ingest", UNIT, "T1w"))
    # the image moves by its origin: 3 mm to the left, 2 mm up
    t2w.SetOrigin((np.asarray(t2w.GetOrigin()) + MOVED).tolist())
    path = results.image("ingest", UNIT, "T2w")
    images.write_image(t2w, path)
    files.write_json(sidecar(path), {"SliceThickness": 4.5, "EchoTime": 0.1})
    status.write(results, UNIT, status.Status("a", "1", "ingest", "ok"))
    assert run_units(stage, [UNIT], Setup(results, params())) == 0
    return results


def test_names_of_a_unit(results: Results) -> None:
    names = {
        path.name.removeprefix("sub-a_ses-1_")
        for path in results.anat("preprocess", UNIT).iterdir()
    }
    stems = {
        "desc-preproc_T1w",
        "desc-preproc_T2w",
        "desc-brain_mask",
        "space-T2w_desc-brain_mask",
    }
    wanted = {f"{stem}{end}" for stem in stems for end in (".nii.gz", ".json")}
    transform = "from-T2w_to-T1w_mode-image_xfm"
    assert names == wanted | {f"{transform}.mat", f"{transform}.json"}


def test_axes_are_turned_and_voxels_are_not_resampled(results: Results, head: Path) -> None:
    raw = images.read_image(results.image("ingest", UNIT, "T1w"))
    done = images.read_image(results.image("preprocess", UNIT, "T1w", desc="preproc"))
    assert np.diag(np.reshape(done.GetDirection(), (3, 3))) == pytest.approx([1, 1, 1], abs=0.05)
    assert images.same_grid(done, sitk.DICOMOrient(raw, "LPS"))


def test_the_brain_spans_about_zero_to_one(results: Results) -> None:
    for suffix, space in (("T1w", ""), ("T2w", "T2w")):
        image = images.read_image(results.image("preprocess", UNIT, suffix, desc="preproc"))
        mask = images.read_labels(
            results.image("preprocess", UNIT, "mask", desc="brain", space=space)
        )
        inside = images.array(image)[images.bool_array(mask)]
        assert np.percentile(inside, 99.5) == pytest.approx(1.0, abs=0.01)
        assert inside.max() > 1.0
        assert inside.min() >= 0.0


def test_masks_are_the_brain(results: Results, head: Path) -> None:
    truth = images.read_labels(head / "brain_mask.nii.gz")
    mask = images.read_labels(results.image("preprocess", UNIT, "mask", desc="brain"))
    assert dice(images.bool_array(mask), on(truth, mask)) > 0.93
    described = files.read_json(sidecar(results.image("preprocess", UNIT, "mask", desc="brain")))
    assert (described["MaskMethod"], described["SkullStripped"]) == ("deepbet", False)
    carried = images.read_labels(
        results.image("preprocess", UNIT, "mask", desc="brain", space="T2w")
    )
    # moved with its image: moved back, it is the truth again
    carried.SetOrigin((np.asarray(carried.GetOrigin()) - MOVED).tolist())
    assert dice(images.bool_array(carried), on(truth, carried)) > 0.92


def test_the_transform_maps_anchor_points_to_the_image(results: Results, head: Path) -> None:
    path = results.transform("preprocess", UNIT, "T2w", "T1w", extension=".mat")
    transform = sitk.ReadTransform(str(path))
    truth = images.read_labels(head / "brain_mask.nii.gz")
    for index in np.argwhere(images.bool_array(truth))[::997, ::-1].tolist():
        point = truth.TransformIndexToPhysicalPoint(index)
        wanted = np.add(point, MOVED)
        assert np.linalg.norm(np.subtract(transform.TransformPoint(point), wanted)) < 0.6


def test_facts_that_later_stages_need(results: Results) -> None:
    described = files.read_json(sidecar(results.image("preprocess", UNIT, "T2w", desc="preproc")))
    assert described["Anchor"] == "T1w"
    assert described["SliceThickness"] == 4.5
    assert described["ScaleOffset"] == 0.0
    low, high = described["BiasFieldRange"]
    assert 0.8 < low < 1 < high < 1.25


@pytest.mark.parametrize("method", ["deepbet", "template"])
def test_mask_methods_find_the_brain(method: str, head: Path) -> None:
    truth = images.read_labels(head / "brain_mask.nii.gz")
    prepared = stage.prepare(params(method=method), None)
    suffix = "T1w" if method == "deepbet" else "T2w"
    image = noisy(images.read_image(head / f"{suffix}.nii.gz"), 3)
    brain = stage.find_brain(image, suffix, prepared, "test")
    assert dice(images.bool_array(brain.mask), on(truth, brain.mask)) > 0.88


def test_file_form_on_a_skull_stripped_image(head: Path, tmp_path: Path) -> None:
    image = images.read_image(head / "T1w.nii.gz")
    truth = images.read_labels(head / "brain_mask.nii.gz")
    stripped = sitk.Mask(image, sitk.Cast(truth, sitk.sitkUInt8))
    source, output, mask = (tmp_path / name for name in ("x_T1w.nii.gz", "o.nii.gz", "m.nii.gz"))
    images.write_image(stripped, source)
    row = {"input": str(source), "output": str(output), "mask": str(mask)}
    task = Task("preprocess", params())
    stage.run_file(task, stage.prepare(params(), None), row)
    assert files.read_json(sidecar(output))["SkullStripped"] is True
    found = images.read_labels(mask)
    assert dice(images.bool_array(found), on(truth, found)) > 0.99


def test_contrast_methods_choose_by_contrast() -> None:
    chosen = params(contrast_methods={"PDw": "template"})
    prepared = stage.Prepared(chosen, lambda name: lambda image: image)
    assert [prepared.method_of(name) for name in ("T1w", "PDw")] == ["deepbet", "template"]


def test_anchor_follows_the_preference() -> None:
    order = ["T1w", "T2w", "FLAIR"]
    assert stage.choose_anchor(["FLAIR", "T2w"], order, "u") == "T2w"
    with pytest.raises(VoxelwayError) as caught:
        stage.choose_anchor(["bold"], order, "u")
    assert caught.value.code == "E-IMG-INPUT"


def test_a_unit_without_images_fails_with_a_code(tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    task = UnitTask("preprocess", params(), results=results, unit=UNIT)
    prepared = stage.Prepared(params(), lambda name: lambda image: image)
    with pytest.raises(VoxelwayError) as caught:
        stage.run_unit(task, prepared)
    assert caught.value.code == "E-IMG-INPUT"


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the development data")
def test_real_contrasts_that_are_far_apart_are_aligned() -> None:
    folder = SHARED / "brain_t1_t2" / "sub-02" / "anat"
    prepared = stage.prepare(params(), None)
    t1w, t2w = (
        sitk.DICOMOrient(images.read_image(folder / f"sub-02_{name}.nii.gz"), "LPS")
        for name in ("T1w", "inplaneT2")
    )
    brain = stage.find_brain(t1w, "T1w", prepared, "sub-02")
    mask, _, found = stage.match(t2w, "T2w", t1w, brain.mask, prepared.params, "sub-02")
    # about 10 degrees apart; deepbet on the T2w itself is a second opinion
    assert found.degrees == pytest.approx(10, abs=1.5)
    second = stage.find_brain(t2w, "T2w", prepared, "sub-02")
    assert dice(images.bool_array(mask), images.bool_array(second.mask)) > 0.9


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the development data")
def test_a_bottle_of_water_is_no_brain(tmp_path: Path) -> None:
    folder = SHARED / "dicom" / "pd_t2_dual_echo" / "reference"
    source = sorted(folder.glob("*_e2.nii"))[0]
    row = {"input": str(source), "output": str(tmp_path / "o.nii.gz")}
    with pytest.raises(VoxelwayError) as caught:
        stage.run_file(Task("preprocess", params()), stage.prepare(params(), None), row)
    assert caught.value.code == "E-MASK-EMPTY"
    assert not (tmp_path / "o.nii.gz").exists()
