"""Cases, scenes, samples and the plan of a cascade's training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline import images, networks
from pipeline.errors import VoxelwayError
from pipeline.labels import Label
from pipeline.segment.cascade import plan as plans
from pipeline.segment.cascade import volume
from pipeline.segment.cascade.plan import CascadePlan, Intensity, Level
from pipeline.segment.learning import cases as reading
from pipeline.segment.learning import derive
from pipeline.segment.learning.cases import Case, Source
from pipeline.segment.learning.contrast import Contrasts
from pipeline.segment.learning.samples import (
    Material,
    Patches,
    Wholes,
    filled,
    sample,
    shifted,
)
from pipeline.segment.learning.scene import Scene, Variety
from pipeline.segment.learning.targets import most_of, shared
from tests.unit.segment_cases import label_map, picture, section, write_cases

BLOBS = (Label(1, "left-blob", "#112233", pair=2), Label(2, "right-blob", "#332211", pair=1))
PAIRS = np.asarray([0, 2, 1, 3, 4, 5, 6, 7, 8, 9])


def source(folder: Path, with_images: bool, **changes: object) -> Source:
    entry = {
        "name": "blobs",
        "folder": folder,
        "labels": "labels/case_*.nii.gz",
        "licence": "CC0",
        **({"images": {"T1w": "images/case_{case}.nii.gz"}} if with_images else {}),
        **changes,
    }
    return Source.of(entry)


def case(seed: int = 0) -> Case:
    labels = label_map(seed)
    return Case(f"blobs/{seed}", labels, (picture(labels, seed),), "0")


def test_cases_are_images_with_their_labels(tmp_path: Path) -> None:
    write_cases(tmp_path, 3, with_images=True)
    found = reading.read([source(tmp_path, True, held_out=["1"], validation=["2"])], (1, 2))
    assert [item.name for item in found] == ["blobs/0", "blobs/2"]
    assert [item.side for item in found] == ["", "val"]
    assert images.same_grid(found[0].labels, found[0].images[0])


def test_label_maps_are_cut_to_what_is_there_and_merged(tmp_path: Path) -> None:
    write_cases(tmp_path, 1, with_images=False)
    (found,) = reading.read([source(tmp_path, False, merge={"2": 1})], (1,))
    assert found.labels.GetSize() == (26, 26, 26)
    assert set(np.unique(sitk.GetArrayFromImage(found.labels))) == {1, 9}


def test_labels_on_another_grid_than_their_image_are_refused(tmp_path: Path) -> None:
    write_cases(tmp_path, 2, with_images=True)
    path = tmp_path / "labels/case_1.nii.gz"
    images.write_image(images.read_labels(path)[:, :, 1:], path)
    with pytest.raises(VoxelwayError) as error:
        reading.read([source(tmp_path, True)], (1, 2))
    assert error.value.code == "E-IMG-GRID" and "case_1" in str(error.value)


def test_labels_that_the_plan_does_not_know_are_refused(tmp_path: Path) -> None:
    write_cases(tmp_path, 2, with_images=True)
    with pytest.raises(VoxelwayError) as error:
        reading.read([source(tmp_path, True)], (1,))
    assert error.value.code == "E-LABELS" and "[2]" in str(error.value)


def test_a_class_that_no_case_has_is_refused() -> None:
    with pytest.raises(VoxelwayError) as error:
        reading.check_present([case()], (1, 2, 7))
    assert error.value.code == "E-TRAIN-DATA" and "[7]" in str(error.value)


def test_an_image_that_is_missing_is_named(tmp_path: Path) -> None:
    write_cases(tmp_path, 2, with_images=True)
    (tmp_path / "images/case_1.nii.gz").unlink()
    with pytest.raises(VoxelwayError) as error:
        reading.read([source(tmp_path, True)], (1, 2))
    assert error.value.code == "E-TRAIN-DATA" and "case_1" in str(error.value)


@given(count=st.integers(2, 40), parts=st.integers(2, 6), seed=st.integers(0, 99))
def test_every_case_is_validated_on_in_one_fold(count: int, parts: int, seed: int) -> None:
    blank = sitk.Image(1, 1, 1, sitk.sitkUInt16)
    items = [Case(f"set/{number}", blank, (), "") for number in range(count)]
    if count < parts:
        with pytest.raises(VoxelwayError, match="folds"):
            reading.folds(items, parts, 0.1, seed)
        return
    found = reading.folds(items, parts, 0.1, seed)
    for train, held in found:
        assert not {item.name for item in train} & {item.name for item in held}
        assert len(train) + len(held) == count and held
    assert sorted(item.name for _, held in found for item in held) == sorted(
        item.name for item in items
    )


@given(count=st.integers(1, 4), seed=st.integers(0, 99))
def test_sessions_of_a_subject_stay_together(count: int, seed: int) -> None:
    blank = sitk.Image(1, 1, 1, sitk.sitkUInt16)
    items = [Case(f"c/{n}_{k}", blank, (), "", "", f"c/{n}") for n in range(6) for k in range(3)]
    for train, held in reading.folds(items, count, 0.2, seed):
        assert held and not {one.person for one in train} & {one.person for one in held}


def test_a_subject_on_both_sides_is_refused() -> None:
    blank = sitk.Image(1, 1, 1, sitk.sitkUInt16)
    items = [
        Case(f"c/{n}", blank, (), "", "val" if n == 2 else "", f"c/{n // 2}") for n in (1, 2, 3)
    ]
    with pytest.raises(VoxelwayError) as error:
        reading.folds(items, 1, 0.1, 0)
    assert error.value.code == "E-TRAIN-SPLIT" and "c/1" in str(error.value)


def test_one_case_alone_is_not_enough() -> None:
    with pytest.raises(VoxelwayError) as error:
        reading.folds([case()], 1, 0.1, 0)
    assert error.value.code == "E-TRAIN-DATA"


def test_a_scene_without_variety_is_the_case() -> None:
    own = case()
    scene = Scene(own, np.random.default_rng(0), Variety.none(), None, PAIRS, np.asarray([1, 2]))
    assert np.array_equal(scene.labels(own.labels), sitk.GetArrayFromImage(own.labels))
    shown, truth = scene.image(own.labels, np.random.default_rng(0))[0], images.array(own.images[0])
    low, high = np.percentile(truth, (0.5, 99.5))
    inside = (truth > low) & (truth < high)
    assert np.allclose(shown[inside], truth[inside], atol=0.01)


def test_a_mirrored_scene_exchanges_left_and_right() -> None:
    own = case()
    variety = replace(Variety.none(), flip=1.0)
    scene = Scene(own, np.random.default_rng(0), variety, None, PAIRS, np.asarray([1, 2]))
    truth = sitk.GetArrayFromImage(own.labels).astype(np.int64)
    found = scene.labels(own.labels)
    # the map is symmetric in x: mirrored and renamed it is what it was
    assert np.array_equal(found, truth)
    shown = scene.image(own.labels, np.random.default_rng(0))[0]
    assert shown[found == 2].mean() > shown[found == 1].mean() + 50


def test_image_and_labels_of_a_drawn_scene_agree() -> None:
    contrasts = Contrasts(9, [[1, 2]], [], {"T1w": {1: 0.9, 2: 0.9, 9: 0.3}}, {"T1w": 1.0})
    own = Case("blobs/0", label_map(0), (), "0")
    still = replace(Variety.none(), rotation=10.0, scale=0.1, shift=2.0, elastic=1.0)
    scene = Scene(own, np.random.default_rng(1), still, contrasts, PAIRS, np.asarray([1, 2]))
    fine, coarse = own.labels, images.spaced_grid(own.labels, (4.0, 4.0, 4.0))
    labels = scene.labels(fine)
    shown = scene.image(fine, np.random.default_rng(0))[0]
    assert labels.max() == 9 and shown[labels == 1].mean() > shown[labels == 9].mean() + 0.3
    few, low = scene.labels(coarse), scene.image(coarse, np.random.default_rng(0))[0]
    assert low[few == 1].mean() > low[few == 9].mean() + 0.2


def test_both_sides_of_a_structure_look_alike() -> None:
    contrasts = Contrasts(60, [[3, 42], [17, 53]], [[3, 42, 17, 53]], {}, {"random": 1.0})
    rng = np.random.default_rng(0)
    means = np.stack([contrasts.draw(rng).mean for _ in range(200)])
    assert np.abs(means[:, 3] - means[:, 42]).max() < 0.06
    assert np.abs(means[:, 3] - means[:, 17]).max() > 0.5
    tied = np.abs(means[:, 3] - means[:, 17]) < 0.1
    assert 0.2 < tied.mean() < 0.7


def test_a_contrast_without_means_is_refused() -> None:
    with pytest.raises(VoxelwayError) as error:
        Contrasts(9, [], [], {}, {"T2w": 1.0})
    assert error.value.code == "E-CONFIG-VALUE"


def two_levels(**fine: object) -> CascadePlan:
    rows = tuple(label.row() for label in BLOBS)
    coarse = Level("coarse", (4.0,) * 3, (8, 8, 8), ((1,), (2,)))
    second = Level("fine", (2.0,) * 3, (8, 8, 8), ((1, 2),), (1, 2), 4.0, True, **fine)
    return CascadePlan(("T1w",), rows, (coarse, second), Intensity("zscore"))


def test_a_plan_comes_back_from_its_file(tmp_path: Path) -> None:
    plan = two_levels()
    plan.write(tmp_path / "plan.json")
    assert plans.read(tmp_path / "plan.json") == plan
    assert plan.inputs(0) == 1 and plan.inputs(1) == 2


@pytest.mark.parametrize("change", [{"levels": []}, {"contrasts": []}, {"labels": []}])
def test_what_is_no_plan_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(VoxelwayError) as error:
        plans.of({**two_levels().as_json(), **change}, "plan.json")
    assert error.value.code == "E-CONFIG-VALUE"


def test_posteriors_are_merged_and_sides_are_told_by_the_level_before() -> None:
    plan = two_levels()
    posterior = np.asarray([[0.1, 0.2], [0.6, 0.1], [0.3, 0.7]], np.float32).reshape(3, 1, 1, 2)
    merged = volume.merged(posterior, plan.levels[0], plan.levels[1])
    assert np.allclose(merged, np.asarray([0.9, 0.8]).reshape(1, 1, 1, 2))
    assert volume.sides(posterior, plan.levels[0], plan.levels[1]).ravel().tolist() == [0, 1]


class Told(nn.Module):
    """Tells the blobs apart by their brightness, sure of itself."""

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        value = image[:, :1]
        return [torch.cat([0 * value, 20 * (value - 2.6), 20 * (value - 1) * (2.6 - value)], dim=1)]


def test_a_later_level_works_in_the_box_and_sees_the_context() -> None:
    plan = two_levels()
    material = Material(plan, 1, {"coarse.0": Told()}, None, PAIRS)
    own = case()
    whole = Wholes(material, [own], Variety.none(), 1, 0)(np.random.default_rng(0), 0)
    patch = Patches(material, [own], Variety.none(), 1, 0)(np.random.default_rng(0), 0)
    assert whole["image"].shape[0] == 2 and patch["image"].shape == (2, 8, 8, 8)
    assert set(np.unique(patch["target"])) <= {0, 1}
    truth = sitk.GetArrayFromImage(own.labels)
    share = (whole["target"] == 1).sum() / (np.isin(truth, (1, 2)).sum() / 8)
    assert 0.9 < share < 1.1, "the box holds the blobs, whole"
    inside = whole["target"] == 1
    assert whole["image"][1][inside].mean() > 0.7 > 0.3 > whole["image"][1][~inside].mean()


def test_a_large_voxel_takes_the_class_that_has_most_of_it() -> None:
    values = np.zeros((8, 8, 8), np.uint16)
    values[:, :5, 4:] = 2
    labels = sitk.GetImageFromArray(values)
    plan = two_levels()
    own = Case("set/0", labels, (sitk.Cast(labels, sitk.sitkFloat32),), "0")
    material = Material(plan, 0, {}, None, PAIRS)
    scene = Scene(own, np.random.default_rng(0), Variety.none(), None, PAIRS, material.learned)
    found = material.channels(scene, images.spaced_grid(labels, (4.0, 4.0, 4.0)))
    assert not found[:, :, 0].any()
    assert found[:, 0, 1].tolist() == [2, 2] and found[:, 1, 1].tolist() == [0, 0]


@given(st.integers(0, 10**6))
def test_the_class_of_most_voxels_of_a_block(seed: int) -> None:
    found = np.random.default_rng(seed).integers(0, 4, (4, 6, 2))
    blocks = found.reshape(2, 2, 3, 2, 1, 2).transpose(0, 2, 4, 1, 3, 5).reshape(2, 3, 1, 8)
    expected = [np.bincount(block, minlength=4).argmax() for block in blocks.reshape(-1, 8)]
    assert most_of(found, 4).ravel().tolist() == expected


def test_what_no_region_names_belongs_to_the_nearest() -> None:
    found = np.asarray([[[0, 1, 3, 3, 3, 2, 0, 3]]])
    assert shared(found, 3, (1.0, 1.0, 1.0)).ravel().tolist() == [0, 1, 1, 1, 2, 2, 0, 2]
    assert shared(np.asarray([[[0, 3]]]), 3, (1.0, 1.0, 1.0)).ravel().tolist() == [0, 0]


@pytest.mark.parametrize("large", [False, True])
def test_regions_share_all_that_is_learned(large: bool) -> None:
    values = np.zeros((8, 8, 8), np.uint16)
    values[:, :4, :4], values[:, :4, 4:] = 1, 2
    # 9 is learned, and no class names it
    values[:, 4:, :] = 9
    labels = sitk.GetImageFromArray(values)
    coarse, fine = two_levels().levels
    levels = (replace(coarse, classes=((1,), (2,)), regions=True), fine)
    plan = replace(two_levels(), levels=levels, labels=({"index": 1}, {"index": 2}, {"index": 9}))
    own = Case("set/0", labels, (sitk.Cast(labels, sitk.sitkFloat32),), "0")
    material = Material(plan, 0, {}, None, np.arange(10))
    scene = Scene(own, np.random.default_rng(0), Variety.none(), None, PAIRS, material.learned)
    edge = 4.0 if large else 1.0
    found = material.channels(scene, images.spaced_grid(labels, (edge, edge, edge)))
    middle = found[found.shape[0] // 2]
    half = len(middle) // 2
    assert (middle[-1, :half] == 1).all() and (middle[-1, half:] == 2).all()
    assert found.max() == 2


@pytest.mark.parametrize("start", [(3, 5, 7), (-4, 0, 20), (-3, -3, -3)])
def test_a_patch_of_a_scene_that_was_sampled_already_is_what_sampling_gives(
    start: tuple[int, int, int],
) -> None:
    moved = replace(Variety.none(), rotation=20, elastic=2.0)
    pairs, learned = np.arange(10), np.asarray([1, 2], np.int64)
    once, fresh = (
        Scene(case(), np.random.default_rng(3), moved, None, pairs, learned) for _ in range(2)
    )
    whole = images.spaced_grid(case().labels, (1.5, 1.5, 1.5))
    patch = shifted(whole, start, (12, 12, 12))
    once.labels(whole)
    inside = np.zeros((12, 12, 12), bool)
    size = whole.GetSize()[::-1]
    ends = [(max(0, -a), min(12, n - a)) for a, n in zip(start[::-1], size, strict=True)]
    inside[tuple(slice(*end) for end in ends)] = True
    found = once.labels(patch)
    assert inside.any() and np.array_equal(found[inside], fresh.labels(patch)[inside])
    assert not found[~inside].any()


def test_the_same_number_gives_the_same_sample() -> None:
    material = Material(two_levels(), 0, {}, None, PAIRS)
    drawn = [Patches(material, [case(0), case(1)], Variety(), 2, 5) for _ in range(2)]
    first = [drawn[0](np.random.default_rng(k), k) for k in (0, 1, 2)]
    again = drawn[1](np.random.default_rng(1), 1)
    assert np.array_equal(first[1]["image"], again["image"])
    assert not np.array_equal(first[1]["image"], first[2]["image"])


def test_a_small_image_is_filled_up_and_its_rim_is_ignored() -> None:
    values = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2) + 3
    assert filled(values, (4, 2, 2))[0, :, :, 2:].max() == 3
    assert (filled(np.ones((2, 2, 2), np.int64), (2, 2, 3), -1)[2] == -1).all()
    grid = shifted(label_map(0), (-2, 0, 1), (8, 8, 8))
    assert np.allclose(grid.GetOrigin(), (-7.0, 3.0, 11.0))


def test_beyond_a_drawn_image_is_what_inference_fills_up_with() -> None:
    """And no loss looks at it: 26 voxels of 1 mm, 32 of a patch that begins 3 outside."""
    contrasts = Contrasts(9, [[1, 2]], [], {"T1w": {1: 0.9, 2: 0.9, 9: 0.3}}, {"T1w": 1.0})
    own = Case("set/0", label_map(0)[3:-3, 3:-3, 3:-3], (), "0")
    plan = replace(two_levels(), contrasts=("any",))
    material = Material(plan, 0, {}, contrasts, PAIRS)
    shaken = replace(Variety.none(), shift=10.0, noise=0.05)
    scene = Scene(own, np.random.default_rng(1), shaken, contrasts, PAIRS, material.learned)
    grid = shifted(own.labels, (-3, -3, -3), (32, 32, 32))
    found = sample(material, scene, grid, None, (32, 32, 32), np.random.default_rng(2))
    inside = np.zeros((32, 32, 32), bool)
    inside[3:29, 3:29, 3:29] = True
    beyond = found["image"][0][~inside]
    assert (beyond == found["image"][0][inside].min()).all()
    assert (found["target"][~inside] == -1).all() and (found["target"][inside] >= 0).all()


def test_a_plan_follows_the_data(tmp_path: Path) -> None:
    learning = section(tmp_path, True, levels=[{"name": "coarse"}, {"name": "fine"}])["learning"]
    plan = derive.derive(learning, BLOBS, [case(0), case(1)], ("T1w",), 2)
    assert plan.levels[0].spacing == (4.0, 4.0, 4.0) and plan.levels[1].spacing == (1.0, 1.0, 1.0)
    assert plan.levels[1].crop == (1, 2) and plan.levels[1].context
    assert plan.intensity.kind == "zscore"
    assert plan.facts["volume_ml"]["left-blob"]["median"] == 0.8
    for level in plan.levels:
        strides = np.prod(level.arguments["strides"], axis=0)[::-1]
        assert not (np.asarray(level.patch) % strides).any()


def test_coarse_axes_are_halved_later() -> None:
    found = derive._strides((0.5, 0.5, 4.0), (128.0, 128.0, 64.0))
    assert found[1] == found[2] == (1, 2, 2) and found[3] == (2, 2, 2)
    assert derive._kernels(found, (0.5, 0.5, 4.0))[0] == [1, 3, 3]


def test_the_patch_shrinks_until_it_fits_the_memory(tmp_path: Path) -> None:
    levels = [{"name": "only", "spacing": 1}]
    sizes = []
    for memory in (8.0, 0.02):
        learning = section(tmp_path, True, levels=levels, memory_gb=memory)["learning"]
        plan = derive.derive(learning, BLOBS, [case(0)], ("T1w",), 2)
        sizes.append(np.prod(plan.levels[0].patch))
        assert plan.facts["memory_mb"]["only"] <= memory * 1024
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize("architecture", ["attention_unet", "vnet", "unet_plus_plus"])
def test_other_networks_get_what_they_take(tmp_path: Path, architecture: str) -> None:
    levels = [{"name": "only", "spacing": 1, "architecture": architecture, "patch": [20, 20, 20]}]
    learning = section(tmp_path, True, levels=levels, base_channels=4)["learning"]
    (level,) = derive.derive(learning, BLOBS, [case(0)], ("T1w",), 1).levels
    network = networks.build(level.architecture, level.arguments)
    assert min(level.patch) >= 20
    assert not (np.asarray(level.patch[::-1]) % network.divisor).any()


def test_ct_gets_a_window_in_its_own_units(tmp_path: Path) -> None:
    learning = section(tmp_path, True, levels=[{"name": "only", "spacing": 1}])["learning"]
    plan = derive.derive(learning, BLOBS, [case(0)], ("CT",), 1)
    assert plan.intensity.kind == "window"
    assert 170 < plan.intensity.low < 200 and 300 < plan.intensity.high < 330
