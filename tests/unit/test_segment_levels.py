"""Boxes, the coarse level, lesions, volumes and the cascade on a made-up head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import config, images
from pipeline.errors import VoxelwayError
from pipeline.segment import coarse, crop, fine, lesion, single, stage, summary, tissues
from pipeline.segment.case import TISSUES, Case, Method, Segmentation

SIZE = 38
MM = 3.6


def image(values: np.ndarray, spacing: float = MM) -> sitk.Image:
    result = sitk.GetImageFromArray(values)
    result.SetSpacing((spacing,) * 3)
    return result


def radius(centre: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Distance in mm from a point given in mm from the middle, (z, y, x)."""
    axes = np.ogrid[:SIZE, :SIZE, :SIZE]
    return np.sqrt(
        sum((MM * (a - (SIZE - 1) / 2) - c) ** 2 for a, c in zip(axes, centre, strict=True))
    )


def made_up(with_lesion: bool, seed: int = 0) -> tuple[dict[str, sitk.Image], np.ndarray]:
    """T1w, T2w and FLAIR of nested shells: CSF outside, GM, WM, and a lesion with a core."""
    r = radius()
    truth = np.select([r < 45, r < 57, r < 63], [3, 2, 1], 0)
    if with_lesion:
        spot = radius((0, 0, 22))
        truth[spot < 15] = 4
        truth[spot < 7] = 5
    signal = {
        "T1w": [0, 0.25, 0.6, 0.95, 0.78, 0.33],
        "T2w": [0, 0.85, 0.45, 0.3, 0.6, 0.85],
        "FLAIR": [0, 0.1, 0.6, 0.5, 1.0, 0.55],
    }
    random = np.random.default_rng(seed)
    found = {}
    for name, levels in signal.items():
        values = np.asarray(levels)[truth] + random.normal(0, 0.02, truth.shape)
        found[name] = image(values.astype(np.float32))
    return found, truth


def priors(truth: np.ndarray) -> dict[str, sitk.Image]:
    """What an atlas would expect: the nested shells without lesions, blurred."""
    plain = np.where(truth >= 4, 3, truth)
    return {
        name: sitk.SmoothingRecursiveGaussian(image((plain == k).astype(np.float32)), 4.0)
        for k, name in enumerate(TISSUES, 1)
    }


def run(
    contrasts: Mapping[str, sitk.Image], truth: np.ndarray, atlas: bool = True, **over: Any
) -> tissues.Result:
    params = {**config.section("segment", {"em": {"iterations": 12}, **over}), "seed": 0}
    prepared = stage.prepare(params, None)
    mask = image((truth > 0).astype(np.uint8))
    place = priors(truth) if atlas else {}
    method = cast(Method, prepared.method)
    return tissues.cascade(Case(contrasts, mask, place, {}), method, params, "made up")


def dice(labels: sitk.Image, truth: np.ndarray, label: int) -> float:
    found = images.array(labels) == label
    return float(2 * (found & (truth == label)).sum() / (found.sum() + (truth == label).sum()))


# boxes


def test_box_around_by_hand() -> None:
    values = np.zeros((10, 10, 10), np.uint8)
    values[4:6, 3:7, 2:9] = 1  # z 4..5, y 3..6, x 2..8
    box = crop.around(image(values, 1.0), image(values, 1.0), 0.0, "x")
    assert box == crop.Box((2, 3, 4), (7, 4, 2))
    wide = crop.around(image(values, 1.0), image(values, 1.0), 2.0, "x")
    assert wide == crop.Box((0, 1, 2), (10, 8, 6))  # x ends at the border: 9 is the last index


def test_box_of_a_coarse_mask_covers_its_voxels() -> None:
    values = np.zeros((4, 4, 4), np.uint8)
    values[1, 1, 1] = 1
    low = image(values, 4.0)
    fine_grid = images.spaced_grid(low, (2.0, 2.0, 2.0))
    # coarse voxel 1 spans 2..6 mm; fine voxels 2 and 3 (centres 3 and 5 mm) lie inside
    assert crop.around(low, fine_grid, 0.0, "x") == crop.Box((2, 2, 2), (2, 2, 2))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 6))
def test_box_holds_the_mask_and_pastes_back(seed: int, margin: float) -> None:
    random = np.random.default_rng(seed)
    values = (random.random((7, 8, 9)) > 0.97).astype(np.uint8)
    values[3, 3, 3] = 1
    mask = image(values, 1.5)
    box = crop.around(mask, mask, margin, "x")
    assert np.array_equal(sitk.GetArrayFromImage(box.paste(box.cut(mask), mask)), values)


def test_touching_counts_inner_faces_only() -> None:
    values = np.zeros((6, 6, 6), np.uint8)
    values[0, 2, 2] = 1
    whole = (6, 6, 6)
    assert not crop.touches(image(values), crop.Box((0, 0, 0), whole), whole)
    assert crop.touches(image(values), crop.Box((0, 0, 3), whole), (6, 6, 12))
    assert not crop.touches(image(values), crop.Box((3, 3, 0), whole), (12, 12, 12))


def test_empty_coarse_mask_is_refused() -> None:
    empty = image(np.zeros((8, 8, 8), np.uint8))
    with pytest.raises(VoxelwayError) as caught:
        crop.around(empty, empty, 1.0, "x")
    assert caught.value.code == "E-MASK-EMPTY"


# the coarse level


def test_coarse_finds_the_shells() -> None:
    contrasts, truth = made_up(with_lesion=False)
    mask = image((truth > 0).astype(np.uint8))
    found = coarse.run(contrasts["T1w"], mask, "T1w", 4.0, "x")
    assert found.brain.GetSpacing() == pytest.approx((4.0, 4.0, 4.0))
    assert images.same_grid(found.labels, mask)
    assert dice(found.labels, truth, 3) > 0.9
    total = sum(images.array(part) for part in found.posteriors.values())
    np.testing.assert_allclose(total[truth > 0], 1.0, atol=1e-4)


def test_coarse_knows_which_tissue_is_bright() -> None:
    contrasts, truth = made_up(with_lesion=False)
    mask = image((truth > 0).astype(np.uint8))
    found = coarse.run(contrasts["T2w"], mask, "T2w", 4.0, "x")
    assert dice(found.labels, truth, 3) > 0.85


def test_coarse_never_goes_finer_than_the_image() -> None:
    contrasts, truth = made_up(with_lesion=False)
    mask = image((truth > 0).astype(np.uint8))
    found = coarse.run(contrasts["T1w"], mask, "T1w", 2.0, "x")
    assert found.brain.GetSpacing() == pytest.approx((MM,) * 3)


def test_constant_brain_is_refused() -> None:
    _, truth = made_up(with_lesion=False)
    flat = image(np.full(truth.shape, 0.5, np.float32))
    with pytest.raises(VoxelwayError) as caught:
        coarse.run(flat, image((truth > 0).astype(np.uint8)), "T1w", 4.0, "x")
    assert caught.value.code == "E-SIGNAL"


# the cascade


@pytest.mark.parametrize("method", ["em", "atropos"])
def test_fine_beats_coarse_and_finds_the_lesion(method: str) -> None:
    contrasts, truth = made_up(with_lesion=True)
    found = run(contrasts, truth, method=method)
    labels = found.fine.segmentation.labels
    first = np.mean([dice(found.coarse.labels, truth, k) for k in (1, 2, 3, 4)])
    second = np.mean([dice(labels, truth, k) for k in (1, 2, 3, 4)])
    assert second > first + 0.1
    assert dice(labels, truth, 4) > 0.8
    assert dice(labels, truth, 5) > 0.6
    assert found.facts["LesionContrasts"] == ["FLAIR", "T2w"]


def test_lesion_is_found_without_flair() -> None:
    contrasts, truth = made_up(with_lesion=True)
    del contrasts["FLAIR"]
    found = run(contrasts, truth)
    assert dice(found.fine.segmentation.labels, truth, 4) > 0.7


@pytest.mark.parametrize("missing", [(), ("FLAIR",)])
def test_healthy_head_has_no_lesion(missing: tuple[str, ...]) -> None:
    contrasts, truth = made_up(with_lesion=False)
    for name in missing:
        del contrasts[name]
    found = run(contrasts, truth)
    assert found.facts["Volumes"]["lesion"] == 0
    assert found.facts["Volumes"]["lesion-core"] == 0


def test_made_contrast_is_not_asked_for_lesions() -> None:
    contrasts, truth = made_up(with_lesion=True)
    mask = image((truth > 0).astype(np.uint8))
    tissues = np.stack([truth == k for k in (1, 2, 3)]).astype(np.float32)
    options = fine.lesion_settings(config.section("segment"))
    for made, used in (({"T2w", "FLAIR"}, []), ({"FLAIR"}, ["T2w"]), (set(), ["FLAIR", "T2w"])):
        case = Case(contrasts, mask, priors(truth), {}, frozenset(made))
        found = fine.with_lesions(case, tissues, options)
        assert found.facts["LesionContrasts"] == used
        assert (dice(found.labels, truth, 4) > 0.5) == bool(used)


def test_atlas_method_takes_the_most_expected_tissue() -> None:
    contrasts, truth = made_up(with_lesion=False)
    found = run(contrasts, truth, method="atlas")
    place = np.stack([images.array(part) for part in priors(truth).values()])
    expected = np.where(truth > 0, place.argmax(axis=0) + 1, 0)
    assert np.array_equal(images.array(found.fine.segmentation.labels), expected)


def test_atlas_method_without_atlas_is_refused() -> None:
    contrasts, truth = made_up(with_lesion=False)
    with pytest.raises(VoxelwayError) as caught:
        run(contrasts, truth, atlas=False, method="atlas")
    assert caught.value.code == "E-IMG-INPUT"


def test_works_without_an_atlas() -> None:
    contrasts, truth = made_up(with_lesion=False)
    found = run({"T1w": contrasts["T1w"]}, truth, atlas=False)
    scores = [dice(found.fine.segmentation.labels, truth, k) for k in (1, 2, 3)]
    assert min(scores) > 0.9


def test_a_tight_box_grows_until_nothing_touches_it() -> None:
    contrasts, truth = made_up(with_lesion=False)
    mask = image((truth > 0).astype(np.uint8))
    case = Case(contrasts, mask, priors(truth), {})

    def label_everything(part: Case) -> Segmentation:
        return Segmentation(sitk.Cast(part.mask, sitk.sitkUInt8), {"CSF": part.mask})

    tight = crop.Box((20, 20, 20), (8, 8, 8))
    found = fine.run(case, tight, label_everything, 9.0, 10)
    assert not found.touched and found.enlargements > 0
    assert np.array_equal(images.bool_array(found.segmentation.labels), truth > 0)
    stopped = fine.run(case, tight, label_everything, 9.0, 1)
    assert stopped.touched and stopped.enlargements == 1


def test_two_runs_give_the_same_voxels() -> None:
    contrasts, truth = made_up(with_lesion=True)
    over = {"em": {"iterations": 3}}
    first, second = (run(contrasts, truth, **over) for _ in range(2))
    for one, other in (
        (first.fine.segmentation.labels, second.fine.segmentation.labels),
        (first.entropy, second.entropy),
        (first.coarse.labels, second.coarse.labels),
    ):
        assert np.array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other))


# lesions


def view(contrast: np.ndarray, **other: Any) -> lesion.View:
    """White matter everywhere but a grey slab; unit noise-free intensities."""
    tissues = np.zeros((3, *contrast.shape), np.float32)
    tissues[2] = 1
    tissues[:, :3] = 0
    tissues[1, :3] = 1
    base = lesion.View(
        contrasts={"FLAIR": contrast},
        anchor=np.where(tissues[1] > 0, 0.6, 0.9).astype(np.float32),
        anchor_dark=True,
        tissues=tissues,
        white=tissues[2],
        fluid=tissues[0],
        mask=np.ones(contrast.shape, bool),
        spacing=(2.0, 2.0, 2.0),
    )
    return replace(base, **other)


def flair(seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(0.5, 0.01, (20, 20, 20))
    values[:3] += 0.1
    return values.astype(np.float32)


def test_small_and_thin_spots_are_no_lesions() -> None:
    values = flair()
    values[10, 10, 10] = 1.5  # 8 mm3
    values[15, 3:17, 3:17] = 1.5  # a sheet of 2 mm
    assert not lesion.find(view(values), lesion.Settings()).whole.any()


def test_grey_matter_is_no_territory() -> None:
    values = flair()
    values[:3, 5:12, 5:12] = 1.5
    found = lesion.find(view(values), lesion.Settings())
    assert not found.whole.any()


def test_bright_ball_is_a_lesion_and_its_dark_middle_a_core() -> None:
    values = flair()
    axes = np.ogrid[:20, :20, :20]
    distance = np.sqrt(sum((2.0 * (a - 11)) ** 2 for a in axes))
    values[distance <= 9] = 1.5
    values[distance <= 4] = 0.5
    anchor = np.full(values.shape, 0.9, np.float32)
    anchor[:3] = 0.6
    anchor[0] = 0.2
    anchor[distance <= 9] = 0.75
    anchor[distance <= 4] = 0.25
    tissues = view(values).tissues.copy()
    tissues[:, 0] = 0
    tissues[0, 0] = 1
    found = lesion.find(
        view(values, anchor=anchor, tissues=tissues, fluid=tissues[0]), lesion.Settings()
    )
    assert np.array_equal(found.whole, distance <= 9)
    assert np.array_equal(found.core, distance <= 4)
    assert (found.probability[found.whole] > 0.5).all()
    assert (found.probability[~found.whole] < 0.5).all()


def test_no_lesions_without_enough_normal_tissue() -> None:
    values = flair()
    values[8:13, 8:13, 8:13] = 1.5
    nothing = np.zeros((3, *values.shape), np.float32)
    assert not lesion.find(view(values, tissues=nothing), lesion.Settings()).whole.any()


# numbers


def test_entropy_by_hand() -> None:
    one = image(np.array([[[1.0, 0.5, 0.0, 0.25]]], np.float32))
    other = image(np.array([[[0.0, 0.5, 0.0, 0.75]]], np.float32))
    found = images.array(summary.entropy({"a": one, "b": other})).ravel()
    # -(0.25 log 0.25 + 0.75 log 0.75) / log 2 = 0.8113
    np.testing.assert_allclose(found, [0, 1, 0, 0.8113], atol=1e-4)


def test_volumes_by_hand() -> None:
    values = np.zeros((4, 4, 4), np.uint8)
    values[0] = 2
    values[1, 0] = 4
    rows = {row["name"]: row["mm3"] for row in summary.volumes(image(values, 2.0))}
    assert rows == {"CSF": 0, "GM": 16 * 8, "WM": 0, "lesion": 4 * 8, "lesion-core": 0}


def test_implausible_volumes_are_told() -> None:
    limits = config.section("segment")["plausible"]
    names = ("CSF", "GM", "WM", "lesion", "lesion-core")

    def rows(*millilitres: float) -> list[dict[str, Any]]:
        return [
            {"name": name, "mm3": 1000.0 * ml} for name, ml in zip(names, millilitres, strict=True)
        ]

    assert summary.implausible(rows(250, 700, 520, 3, 1), limits) == []
    told = summary.implausible(rows(250, 700, 100, 3, 1), limits)
    assert [text.split()[0] for text in told] == ["WM", "GM/WM"]
    assert "Lesions have 120 ml" in summary.implausible(rows(250, 700, 520, 100, 20), limits)[0]
    assert summary.implausible(rows(250, 700, 0, 0, 0), limits)


def test_rim_of_a_stripped_image_is_peeled_off() -> None:
    values = np.zeros((20, 20, 20), np.float32)
    values[1:19, 1:19, 1:19] = 0.05
    values[2:18, 2:18, 2:18] = 1.0
    head = (values > 0).astype(np.uint8)
    values[9, 9, 9] = 0.0
    found = images.bool_array(single.without_rim(image(values), image(head)))
    expected = np.zeros(values.shape, bool)
    expected[2:18, 2:18, 2:18] = True
    assert np.array_equal(found, expected)
