"""The cascade as a method: the input's own grid, volumes, a results folder, the verb."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import cli, config, files, images, labels
from pipeline.bundles import write_bundle
from pipeline.errors import Exit, VoxelwayError
from pipeline.networks import build
from pipeline.paths import Results, Unit
from pipeline.segment import heads, stage
from pipeline.segment.cascade.method import Structures
from pipeline.task import Task, UnitTask
from tests.unit.cascade_cases import Fake, Nearest, brick, level, picture, plan

UNIT = Unit("p1", "01")
VALUES = brick((40, 32, 24), [((10, 8, 8), (22, 20, 16), 0.9), ((22, 8, 8), (28, 20, 16), 0.5)])
TRUTH = np.select([VALUES == 0.9, VALUES == 0.5], [1, 3])


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(monkeypatch)


def section(**over: Any) -> Mapping[str, Any]:
    plain = {"cascade": {"mirror": False, "cleanup": {"components": "none", "holes": False}}}
    plain["cascade"].update(over)
    return {**config.section("segment", {"method": "cascade", **plain}), "seed": 0}


def bundle(fake: Fake, *, facts: Mapping[str, Any] | None = None, **over: Any) -> Path:
    """Two levels of 4 and 2 mm that label 0.9 as 1 and 0.5 as 3."""
    made = plan(
        level("coarse", [[1]], spacing=(4.0, 4.0, 4.0)),
        level("fine", [[1], [3]], crop=(1,), margin=16.0),
        facts=facts,
        **over,
    )
    inputs = len(made.contrasts)
    networks = {
        "coarse.0": Nearest([0.2, 0.9], inputs),
        "fine.0": Nearest([0, 0.9, 0.5], inputs),
    }
    return fake(made, networks)


def turned(image: sitk.Image, orientation: str) -> sitk.Image:
    """The same voxels in another order of the axes."""
    return sitk.DICOMOrient(image, orientation)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR", "SLA"])
@pytest.mark.parametrize("turn", [(0, 0, 0), (8, -11, 14)])
def test_labels_come_back_on_the_inputs_grid_exactly(
    fake: Fake, orientation: str, turn: tuple[float, float, float]
) -> None:
    source = turned(picture(VALUES, turn=turn), orientation)
    found = Structures(bundle(fake), section())([source], "made up")
    for image in (found.labels, found.coarse, found.entropy):
        assert image.GetSize() == source.GetSize()
        assert image.GetSpacing() == source.GetSpacing()
        assert image.GetOrigin() == source.GetOrigin()
        assert image.GetDirection() == source.GetDirection()
    expected = sitk.GetArrayFromImage(turned(picture(TRUTH, turn=turn), orientation))
    assert np.array_equal(sitk.GetArrayFromImage(found.labels), expected)


def test_posteriors_are_interpolated_not_labels(fake: Fake) -> None:
    # thirds of the model's voxels: a face lies where the posteriors of its neighbours are equal
    source = picture(VALUES)
    fine = images.resample(source, images.spaced_grid(source, (2 / 3,) * 3), labels=True)
    found = Structures(bundle(fake), section())([fine], "made up")
    truth = images.resample(picture(TRUTH), fine, labels=True)
    wrong = sitk.GetArrayFromImage(found.labels) != images.array(truth)
    # on the diagonals of edges and corners only
    assert wrong.mean() < 0.002
    assert not wrong[30:40, 30:50].any()


def test_volumes_and_facts_by_hand(fake: Fake) -> None:
    facts = {"volume_ml": {"part-1": {"low": 1.0, "high": 5.0}, "part-3": {"low": 4, "high": 6}}}
    found = Structures(bundle(fake, facts=facts), section())([picture(VALUES)], "made up")
    one, three = found.volumes
    # 12 x 12 x 8 and 6 x 12 x 8 voxels of 8 mm3
    assert (one["name"], one["mm3"], three["mm3"]) == ("part-1", 9216.0, 4608.0)
    assert one["low"] == pytest.approx(9216, abs=1) == one["high"]
    assert one["expected_dice"] == pytest.approx(1.0, abs=1e-4)
    assert (one["flag"], three["flag"]) == ("large", "")
    assert found.warnings == ["Look at part-1: is larger than in any training case"]
    assert found.facts["Volumes"] == {"part-1": 9216.0, "part-3": 4608.0}
    assert found.facts["Box"] == {"Index": [2, 0, 0], "Size": [28, 28, 24]}
    assert [entry["Name"] for entry in found.facts["Levels"]] == ["coarse", "fine"]
    assert [item.index for item in found.table] == [1, 3]


def test_an_unsure_result_has_wide_intervals_and_high_entropy(fake: Fake) -> None:
    made = plan(level("coarse", [[1]]), facts={})
    network = {"coarse.0": Nearest([0, 0.8], sharp=5.0)}
    path = fake(made, network, calibration={"interval_factor": 3.0})
    values = brick((16, 16, 16), [((4, 4, 4), (8, 8, 8), 0.8)])
    found = Structures(path, section())([picture(values)], "made up")
    (row,) = found.volumes
    # logit 5 * 0.8^2 / 2 = 1.6 inside, -1.6 outside
    inside, outside = 1 / (1 + np.exp(-1.6)), 1 / (1 + np.exp(1.6))
    soft = 64 * inside + 4032 * outside
    assert row["mm3"] == 64 * 8
    dice = 2 * 64 * inside / (soft + 64)
    assert row["expected_dice"] == pytest.approx(dice, abs=1e-3) and row["flag"] == "unsure"
    wrong = 8 * (64 * (1 - inside) + 4032 * outside)
    assert row["high"] == pytest.approx(512 + 3 * wrong, rel=1e-3)
    assert row["low"] == 0.0
    entropy = -(inside * np.log2(inside) + outside * np.log2(outside))
    assert sitk.GetArrayFromImage(found.entropy)[5, 5, 5] == pytest.approx(entropy, abs=1e-4)


def test_a_structure_at_the_border_is_told(fake: Fake) -> None:
    cut = picture(VALUES[:, 10:, :])
    found = Structures(bundle(fake), section())([cut], "made up")
    assert [row["flag"] for row in found.volumes] == ["cut", "cut"]
    assert "border of the image" in found.warnings[0]


def test_thick_slices_are_labelled_and_told(fake: Fake) -> None:
    source = picture(VALUES)
    thick = images.resample(source, images.spaced_grid(source, (2.0, 2.0, 8.0)), order=1)
    found = Structures(bundle(fake), section())([thick], "made up")
    assert found.labels.GetSize() == (40, 32, 6)
    assert any("Voxels of 8 mm, the model works at 2 mm" in text for text in found.warnings)
    one = np.count_nonzero(sitk.GetArrayFromImage(found.labels) == 1)
    assert one * 32 == pytest.approx(9216, rel=0.05)


def test_nothing_is_labelled_outside_of_a_mask(fake: Fake) -> None:
    inside = np.zeros(VALUES.shape, bool)
    inside[:, :, 12:] = True
    source = picture(VALUES)
    exact = Structures(bundle(fake), section(mask_margin=0))
    found = exact([source], "x", images.like(inside, source))
    assert np.array_equal(sitk.GetArrayFromImage(found.labels), TRUTH * inside)
    assert found.volumes[0]["mm3"] == 10 * 12 * 8 * 8
    # two voxels of 2 mm more
    inside[:, :, 10:] = True
    wider = Structures(bundle(fake), section(mask_margin=4))
    more = wider([source], "x", images.like(np.roll(inside, 2, axis=2), source))
    assert np.array_equal(sitk.GetArrayFromImage(more.labels), TRUTH * inside)


def test_a_mask_bounds_the_levels_too(fake: Fake) -> None:
    """What lies outside does not widen the box of the next level."""
    inside = np.zeros(VALUES.shape, bool)
    inside[:, :, 12:] = True
    source = picture(VALUES)
    free, bound = (
        Structures(bundle(fake), section(mask_margin=0))([source], "x", mask)
        for mask in (None, images.like(inside, source))
    )
    sizes = [one.facts["Levels"][1]["Size"][0] for one in (free, bound)]
    assert sizes[1] < sizes[0]
    assert 0.5 < bound.facts["Levels"][0]["InsideMask"] < 1.0


def test_a_mask_that_misses_the_head_is_left_aside(fake: Fake) -> None:
    elsewhere = np.zeros(VALUES.shape, bool)
    elsewhere[:, -3:, -3:] = True
    source = picture(VALUES)
    found = Structures(bundle(fake), section())([source], "x", images.like(elsewhere, source))
    assert np.array_equal(sitk.GetArrayFromImage(found.labels), TRUTH)
    assert any("mask was left aside: it holds 0 %" in text for text in found.warnings)


@pytest.mark.parametrize(
    ("asked", "within", "masked"),
    [("auto", True, True), ("auto", False, False), (True, False, True), (False, True, False)],
)
def test_a_model_of_the_brain_asks_for_a_mask(
    fake: Fake, asked: str | bool, within: bool, masked: bool
) -> None:
    model = bundle(fake, within_brain=within)
    assert Structures(model, section(brain_mask=asked)).masked is masked


def test_a_file_gets_its_brain_mask(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = np.zeros(VALUES.shape, bool)
    inside[:, :, 12:] = True
    source = tmp_path / "made-up_T1w.nii.gz"
    write(source, picture(VALUES))

    def found(image: sitk.Image) -> sitk.Image:
        return sitk.Cast(images.like(inside, image), sitk.sitkUInt8)

    def nothing(image: sitk.Image) -> sitk.Image:
        raise VoxelwayError("E-MASK-EMPTY", "deepbet finds no brain in the image")

    monkeypatch.setattr(heads, "_deepbet", lambda: found)
    model, params = bundle(fake, within_brain=True), section(mask_margin=0)
    task = Task("segment", params)
    kept = heads.of_file(task, source, Structures(model, params))
    assert np.array_equal(sitk.GetArrayFromImage(kept.labels), TRUTH * inside)
    assert kept.facts["BrainMask"] == "deepbet"
    monkeypatch.setattr(heads, "_deepbet", lambda: nothing)
    free = heads.of_file(task, source, Structures(model, params))
    assert np.array_equal(sitk.GetArrayFromImage(free.labels), TRUTH)
    assert any("No brain mask was found" in text for text in free.warnings)
    assert free.facts["BrainMask"] == "n/a"


def test_the_clean_up_of_the_configuration_is_done(fake: Fake) -> None:
    values = VALUES.copy()
    values[10, 2, 4] = 0.9
    values[10, 10, 12] = 0.0
    for holes, components, count in ((False, "none", 1152), (True, "whole", 1152)):
        params = section(cleanup={"components": components, "holes": holes})
        found = Structures(bundle(fake), params)([picture(values)], "x")
        seen = sitk.GetArrayFromImage(found.labels)
        assert np.count_nonzero(seen == 1) == count
        assert bool(seen[10, 2, 4]) is not holes and bool(seen[10, 10, 12]) is holes


# in a results folder


def write(path: Path, what: sitk.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write_image(what, path)


def unit(folder: Path, suffixes: Mapping[str, str]) -> Results:
    """Contrasts on the common grid: suffix → the stage that made it."""
    place = Results(folder / "results")
    mask = picture(np.ones_like(VALUES))
    write(place.image("superres", UNIT, "mask", space="T1w", desc="brain"), mask > 0)
    for suffix, source in suffixes.items():
        desc = "superres" if source == "superres" else "synth"
        write(place.image(source, UNIT, suffix, space="T1w", desc=desc), picture(VALUES))
    return place


def run_unit(place: Results, model: Path, **over: Any) -> UnitTask:
    params = section(**over)
    task = UnitTask("segment", params, base=place.root, results=place, unit=UNIT)
    stage.run_unit(task, stage.prepare(params, model))
    return task


def test_a_unit_gets_the_same_files_as_with_other_methods(fake: Fake, tmp_path: Path) -> None:
    place = unit(tmp_path, {"T1w": "superres", "T2w": "superres"})
    task = run_unit(place, bundle(fake))
    folder = place.anat("segment", UNIT)
    names = sorted(path.name.removeprefix("sub-p1_ses-01_space-T1w_") for path in folder.iterdir())
    assert names == [
        "desc-coarse_dseg.json", "desc-coarse_dseg.nii.gz", "desc-entropy_entropy.json",
        "desc-entropy_entropy.nii.gz", "dseg.json", "dseg.nii.gz", "dseg.tsv", "volumes.json",
        "volumes.tsv",
    ]  # fmt: skip
    assert len(task.outputs) == 5
    dseg = place.image("segment", UNIT, "dseg", space="T1w")
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(dseg))), TRUTH)
    assert labels.read_table(dseg.with_name("sub-p1_ses-01_space-T1w_dseg.tsv")) == {
        1: "part-1", 3: "part-3",
    }  # fmt: skip
    facts = files.read_json(dseg.with_name("sub-p1_ses-01_space-T1w_dseg.json"))
    assert facts["Anchor"] == "T1w" and facts["Method"] == "cascade"
    assert facts["ChannelsUsed"][0]["Suffix"] == "T1w" and len(facts["ChannelsUsed"]) == 1
    rows = files.read_tsv(dseg.with_name("sub-p1_ses-01_space-T1w_volumes.tsv"))
    assert float(rows[0]["mm3"]) == 9216.0 and rows[0]["flag"] == ""


def test_another_contrast_is_taken_when_the_configuration_says_so(
    fake: Fake, tmp_path: Path
) -> None:
    place = unit(tmp_path, {"T1w": "superres", "T2w": "superres"})
    run_unit(place, bundle(fake), contrast="T2w")
    facts = files.read_json(place.image("segment", UNIT, "dseg", space="T1w", extension=".json"))
    assert facts["ChannelsUsed"][0]["Suffix"] == "T2w"


def test_a_model_of_two_contrasts_takes_what_was_made_and_refuses_what_is_lacking(
    fake: Fake, tmp_path: Path
) -> None:
    place = unit(tmp_path, {"T1w": "superres", "FLAIR": "synthesize"})
    run_unit(place, bundle(fake, contrasts=("T1w", "FLAIR")))
    facts = files.read_json(place.image("segment", UNIT, "dseg", space="T1w", extension=".json"))
    used = [(item["Suffix"], item["Synthetic"]) for item in facts["ChannelsUsed"]]
    assert used == [("T1w", False), ("FLAIR", True)]
    with pytest.raises(VoxelwayError) as caught:
        run_unit(place, bundle(fake, contrasts=("T1w", "T2w")))
    assert caught.value.code == "E-IMG-INPUT" and "T2w is lacking" in caught.value.what


# as a verb


def run_file(model: Path, source: Path, output: Path, **more: str) -> Task:
    params = section()
    task = Task("segment", params)
    row = {"input": str(source), "output": str(output), **more}
    stage.run_file(task, stage.prepare(params, model), row)
    return task


def test_a_file_gets_labels_names_volumes_and_uncertainty(fake: Fake, tmp_path: Path) -> None:
    source = tmp_path / "a_FLAIR.nii.gz"
    images.write_image(turned(picture(VALUES), "RAS"), source)
    entropy, volumes = tmp_path / "entropy.nii.gz", tmp_path / "volumes.tsv"
    output = tmp_path / "a_dseg.nii.gz"
    task = run_file(
        bundle(fake, contrasts=("T1w",)), source, output, uncertainty=str(entropy),
        volumes=str(volumes),
    )  # fmt: skip
    found = sitk.ReadImage(str(output))
    assert images.same_grid(found, sitk.ReadImage(str(source)))
    assert labels.read_table(tmp_path / "a_dseg.tsv") == {1: "part-1", 3: "part-3"}
    assert files.read_tsv(volumes)[1]["mm3"] == "4608"
    assert sitk.ReadImage(str(entropy)).GetPixelID() == sitk.sitkFloat32
    assert "The model was trained on T1w, this is a FLAIR" in task.warnings


def test_one_file_is_not_enough_for_two_contrasts(fake: Fake, tmp_path: Path) -> None:
    source = tmp_path / "a_T1w.nii.gz"
    images.write_image(picture(VALUES), source)
    with pytest.raises(VoxelwayError, match="E-IMG-MODALITY"):
        run_file(bundle(fake, contrasts=("T1w", "T2w")), source, tmp_path / "out.nii.gz")


@pytest.mark.parametrize(
    ("shape", "code"),
    [((5, 24, 32, 40), "E-IMG-4D"), ((2, 32, 40), "E-IMG-SLICES"), ((24, 32, 40), "E-IMG-EMPTY")],
)
def test_what_is_no_volume_is_refused(
    fake: Fake, tmp_path: Path, shape: tuple[int, ...], code: str
) -> None:
    source = tmp_path / "a_T1w.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones(shape, np.float32), isVector=False), str(source))
    with pytest.raises(VoxelwayError) as caught:
        run_file(bundle(fake), source, tmp_path / "out.nii.gz")
    assert caught.value.code == code
    assert not (tmp_path / "out.nii.gz").exists()


def test_a_real_bundle_labels_a_batch_with_one_load(tmp_path: Path) -> None:
    """Weights from a file, through the command line; a bad image does not stop the others."""
    made = plan(
        level("coarse", [[1]], spacing=(4.0, 4.0, 4.0), patch=(24, 16, 16), architecture="unet")
    )
    arguments = {"inputs": 1, "outputs": 2, "channels": [2, 2]}
    network = build("unet", arguments).state_dict()
    network["heads.0.bias"].copy_(network["heads.0.bias"].new_tensor([-50.0, 50.0]))
    metadata = {
        "stage": "segment",
        "architecture": {"coarse.0": {"name": "unet", "arguments": arguments}},
        "inputs": {"plan": made.as_json()},
        "outputs": {},
        "training": {"subjects": 0, "split": "", "seed": 0, "code": "", "version": ""},
    }
    tensors = {f"coarse.0/{name}": values.numpy() for name, values in network.items()}
    model = tmp_path / "bundle"
    write_bundle(model, tensors, metadata, "# made up")
    images.write_image(picture(VALUES), tmp_path / "a_T1w.nii.gz")
    images.write_image(turned(picture(VALUES), "RAS"), tmp_path / "c_T1w.nii.gz")
    rows = [
        {"input": str(tmp_path / f"{name}_T1w.nii.gz"), "output": str(tmp_path / f"{name}.nii.gz")}
        for name in "abc"
    ]
    files.write_tsv(tmp_path / "batch.tsv", ("input", "output"), rows)
    code = cli.main(
        ["segment", "--batch", str(tmp_path / "batch.tsv"), "--method", "cascade",
         "--model", str(model)]
    )  # fmt: skip
    assert code == Exit.SOME
    found = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    assert sitk.GetArrayFromImage(found).all() and found.GetSize() == (40, 32, 24)
    other = sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "c.nii.gz")), "LPS")
    assert np.array_equal(sitk.GetArrayFromImage(other), sitk.GetArrayFromImage(found))
