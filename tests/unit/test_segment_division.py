"""Structures that another model divides into parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import config, images, labels, methods, models
from pipeline.errors import VoxelwayError
from pipeline.segment.cascade.division import Divided, Division, nearest
from pipeline.segment.cascade.method import Structures
from pipeline.segment.case import HeadMethod, Output
from tests.unit.cascade_cases import brick, picture

BRAIN = {label.index: label for label in labels.known("brain")}
TABLE = (BRAIN[17], BRAIN[53])
PARTS = labels.known("hippocampus")
#: Two blocks of 8 x 6 x 4 voxels of 2 mm, left and right.
VALUES = brick((40, 24, 16), [((4, 8, 6), (12, 14, 10), 1.0), ((28, 8, 6), (36, 14, 10), 0.5)])
TRUTH = np.select([VALUES == 1.0, VALUES == 0.5], [17, 53])
VOXEL = 8.0


class Known(HeadMethod):
    """Labels that are worked out from the image by a function of its voxels."""

    def __init__(
        self,
        table: Sequence[labels.Label],
        answer: Callable[[np.ndarray], np.ndarray],
        contrasts: tuple[str, ...] = (),
    ) -> None:
        self.table, self.answer, self.contrasts = tuple(table), answer, contrasts
        self.seen: list[tuple[int, ...]] = []

    def __call__(
        self, channels: Sequence[sitk.Image], where: str, mask: sitk.Image | None = None
    ) -> Output:
        self.seen.append(channels[0].GetSize())
        found = images.like(self.answer(images.array(channels[0])).astype(np.uint8), channels[0])
        count = np.bincount(sitk.GetArrayViewFromImage(found).ravel(), minlength=60)
        rows = [
            {"label": one.index, "name": one.name, "mm3": count[one.index] * VOXEL,
             "low": 0.5 * count[one.index] * VOXEL, "high": 2 * count[one.index] * VOXEL,
             "expected_dice": 0.9, "flag": "small" if one.name.startswith("post") else ""}
            for one in self.table
        ]  # fmt: skip
        facts = {"Volumes": {row["name"]: row["mm3"] for row in rows}, "Flags": {}}
        return Output(found, found, found, self.table, rows, (), facts, [])


def whole(values: np.ndarray) -> np.ndarray:
    return np.select([values == 1.0, values == 0.5], [17, 53])


def halved(values: np.ndarray) -> np.ndarray:
    """Part 1 in the lower half of the slices, part 2 above; a voxel less at each end of x."""
    inside = values > 0
    inside &= np.roll(inside, 1, axis=2) & np.roll(inside, -1, axis=2)
    upper = np.arange(values.shape[0])[:, None, None] >= values.shape[0] // 2
    return np.select([inside & ~upper, inside & upper], [1, 2])


def divided(parts: HeadMethod, index: Sequence[int] = (17, 53), **over: Any) -> Divided:
    entry = {"margin": 4.0, "agreement": 0.5, **over}
    one = Division(tuple(index), "parts", parts, entry["margin"], entry["agreement"])
    return Divided(Known(TABLE, whole), TABLE, [one])


def numbers(output: Output) -> np.ndarray:
    return sitk.GetArrayFromImage(output.labels)


def test_parts_fill_the_structure_exactly_and_each_side_has_its_own() -> None:
    parts = Known(PARTS, halved)
    output = divided(parts)([picture(VALUES)], "made up")
    expected = np.zeros(TRUTH.shape, int)
    for index in (17, 53):
        lower = (index == TRUTH) & (np.arange(16)[:, None, None] < 8)
        expected[index == TRUTH] = 100 * index + 2
        expected[lower] = 100 * index + 1
    assert np.array_equal(numbers(output), expected)
    # 8 x 6 x 4 voxels and 4 mm, two voxels, on each side
    assert parts.seen == [(12, 10, 8)] * 2
    names = [label.name for label in output.table]
    assert names == ["left-anterior-hippocampus", "left-posterior-hippocampus",
                     "right-anterior-hippocampus", "right-posterior-hippocampus"]  # fmt: skip
    half = 8 * 6 * 2 * VOXEL
    assert [row["mm3"] for row in output.volumes] == [half] * 4
    assert [(row["low"], row["high"]) for row in output.volumes] == [(half / 2, half * 2)] * 4
    assert output.facts["Volumes"] == dict.fromkeys(names, half)
    assert set(output.facts["Flags"]) == {names[1], names[3]}
    # the model sees 6 x 6 x 4 of 8 x 6 x 4 voxels: Dice 12 / 14
    assert [fact["Agreement"] for fact in output.facts["Divisions"]] == [round(12 / 14, 4)] * 2
    assert output.warnings == []


def test_the_nearest_part_is_so_in_mm() -> None:
    parts = np.zeros((3, 1, 4), np.uint16)
    parts[0, 0, 0], parts[2, 0, 3] = 1, 2
    inside = np.ones(parts.shape, bool)
    # x is long: voxels of 10 x 1 x 1 mm go by their column
    assert nearest(parts, inside, (10.0, 1.0, 1.0))[1, 0].tolist() == [1, 1, 2, 2]
    # z is long: the slice decides
    assert nearest(parts, inside, (1.0, 1.0, 10.0))[0, 0].tolist() == [1, 1, 1, 1]


def test_what_does_not_agree_stays_whole_and_is_told() -> None:
    def elsewhere(values: np.ndarray) -> np.ndarray:
        found = np.zeros(values.shape)
        found[0, 0, 0] = 1
        return found

    output = divided(Known(PARTS, elsewhere))([picture(VALUES)], "made up")
    assert np.array_equal(numbers(output), TRUTH)
    assert [label.index for label in output.table] == [17, 53]
    assert len(output.warnings) == 2 and "Left-Hippocampus" in output.warnings[0]
    assert [fact["Divided"] for fact in output.facts["Divisions"]] == [False, False]


def test_a_model_that_refuses_leaves_the_structure_whole() -> None:
    def refusing(values: np.ndarray) -> np.ndarray:
        raise VoxelwayError("E-MASK-EMPTY", "Nothing there")

    output = divided(Known(PARTS, refusing), [53])([picture(VALUES)], "made up")
    assert np.array_equal(numbers(output), TRUTH)
    assert "E-MASK-EMPTY" in output.warnings[0]


def test_what_fails_outside_is_no_reason_to_leave_it_whole() -> None:
    def exhausted(values: np.ndarray) -> np.ndarray:
        raise VoxelwayError("E-MEMORY", "Too little")

    with pytest.raises(VoxelwayError) as caught:
        divided(Known(PARTS, exhausted), [53])([picture(VALUES)], "made up")
    assert caught.value.code == "E-MEMORY"


def test_another_model_that_divides_makes_other_results(tmp_path: Path) -> None:
    shipped = Path(labels.__file__).parent / "bundles" / "segment" / "hippocampus"
    other = tmp_path / "other"
    other.mkdir()
    (other / "metadata.json").write_text("{}")

    def identity(*names: str) -> str:
        entries = [{"labels": [1], "model": name} for name in names]
        return models.identity("segment", {"cascade": {"divide": entries}}, shipped)

    alone = identity()
    assert alone == models.digest(shipped) and identity("hippocampus") == f"{alone} {alone}"
    before = identity(str(other))
    (other / "metadata.json").write_text('{"weights": 2}')
    assert before.split()[0] == alone and identity(str(other)) not in (before, alone)


def test_a_structure_that_is_not_there_is_left() -> None:
    parts = Known(PARTS, halved)
    one_side = np.where(VALUES == 0.5, 0, VALUES)
    output = divided(parts)([picture(one_side)], "made up")
    assert set(np.unique(numbers(output))) == {0, 1701, 1702}
    assert len(parts.seen) == 1


def test_models_of_any_contrast_look_at_what_the_others_need() -> None:
    assert divided(Known(PARTS, halved, ("T1w",))).contrasts == ("T1w",)
    assert divided(Known(PARTS, halved)).contrasts == ()
    other = Division((17,), "parts", Known(PARTS, halved, ("T2w",)), 4.0, 0.5)
    with pytest.raises(VoxelwayError) as caught:
        Divided(Known(TABLE, whole, ("T1w",)), TABLE, [other])
    assert caught.value.code == "E-MODEL-INPUT"


@pytest.mark.parametrize("asked", [[17, 17], [4]])
def test_labels_that_are_unknown_or_named_twice_are_refused(asked: list[int]) -> None:
    with pytest.raises(VoxelwayError) as caught:
        divided(Known(PARTS, halved), asked)
    assert caught.value.code == "E-CONFIG-VALUE"


def test_a_configuration_names_the_model_that_divides() -> None:
    entries = {"divide": [{"labels": [1], "model": "hippocampus"}]}
    section = config.section("segment", {"method": "cascade", "cascade": entries})
    shipped = Path(labels.__file__).parent / "bundles" / "segment" / "hippocampus"
    method = methods.create("segment", "cascade", {**section, "seed": 0}, shipped)
    assert isinstance(method, Divided) and method.contrasts == ("T1w",)
    (division,) = method.divisions
    assert isinstance(division.method, Structures)
    assert (division.labels, division.margin) == ((1,), 8.0)
