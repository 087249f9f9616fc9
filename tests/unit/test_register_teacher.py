"""Fields of a training-free method as something to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from pipeline import config, images
from pipeline.errors import VoxelwayError
from pipeline.networks.spatial import warp
from pipeline.register import fields
from pipeline.register.fields import Registration
from pipeline.register.learning.cases import FULL, Case
from pipeline.register.learning.draw import Pairs
from pipeline.register.learning.lattice import Lattice
from pipeline.register.learning.recipe import RegistrationRecipe
from pipeline.register.learning.teacher import Taught, Teacher, asked, in_voxels, mark
from pipeline.training.data import collate

from . import register_cases as made

GRID = made.oblique((30, 36, 28), (6.0, 5.0, 5.5))
BRAIN, MASK = made.brain(GRID)
PLACE = Lattice(BRAIN, MASK, GRID)


def case(number: int, contrast: str = "T1w") -> Case:
    """The brain under a random deformation of some millimetres."""
    velocity = made.random_velocity(GRID, 12.0, 16.0, number)
    move = fields.displacement(made.exponential(velocity))
    values = images.array(images.resample(BRAIN, GRID, move, order=1))
    return Case(f"set/{number}", contrast, (np.clip(values, 0, 1) * FULL).astype(np.uint8), None)


CASES = [case(1), case(2), case(3, "T2w")]


def params(method: str = "adaptive", **more: Any) -> dict[str, Any]:
    section = {
        "learning": {"teacher": {"method": method, "pairs": 2}},
        "affine": "none",
        "optimisation": {"spacings": [16, 8], "iterations": [20, 20]},
        "demons": {"iterations": [10, 10]},
        "affine_iterations": [5, 0, 0, 0],
        **more,
    }
    return {**config.section("register", section), "seed": 0}


def test_a_field_in_voxels_moves_as_the_transform_does() -> None:
    affine = sitk.AffineTransform(3)
    affine.Scale((1.05, 0.97, 1.02))
    affine.Rotate(0, 1, 0.08)
    affine.SetTranslation((7.0, -4.0, 3.0))
    bent = made.exponential(made.random_velocity(GRID, 12.0, 16.0, 5))
    found = Registration(affine, bent, fields.zero_field(GRID))
    expected = images.array(images.resample(BRAIN, GRID, fields.forward_transform(found), order=1))
    field = torch.from_numpy(in_voxels(found, GRID))[None]
    moved = warp(torch.from_numpy(images.array(BRAIN))[None, None], field)[0, 0].numpy()
    inside = images.bool_array(MASK)
    assert np.abs(moved - expected)[inside].max() < 1e-3
    assert np.abs(images.array(BRAIN) - expected)[inside].max() > 0.3


@pytest.mark.parametrize("method", ["adaptive", "demons"])
def test_a_taught_pair_comes_closer_under_its_field(method: str, tmp_path: Path) -> None:
    taught = Teacher(params(method), PLACE, tmp_path).teach(CASES, 1)
    pairs = Pairs(CASES, {"taught": 1.0}, 1, 0, taught=taught)
    flips = set()
    for seed in range(4):
        sample = pairs(np.random.default_rng(seed), 0)
        batch = collate([sample])
        known = np.load(taught[0].field)
        flips.add(bool(np.array_equal(sample["target_field"], known)))
        assert np.array_equal(sample["target_mask"] > 0, sample["fixed"] > 0)
        moved = warp(batch["moving"], batch["target_field"])
        inside = batch["fixed"] > 0

        def likeness(image: torch.Tensor) -> float:
            both = torch.stack([image[inside], batch["fixed"][inside]])  # noqa: B023
            return float(torch.corrcoef(both)[0, 1])

        assert 1 - likeness(moved) < 0.6 * (1 - likeness(batch["moving"]))
    assert flips == {True, False}  # mirrored and not


def test_pairs_are_of_one_contrast_and_none_comes_twice(tmp_path: Path) -> None:
    taught = Teacher(params(), PLACE, tmp_path).teach(CASES, 9)
    found = {(pair.moving.subject, pair.fixed.subject) for pair in taught}
    assert found == {("set/1", "set/2"), ("set/2", "set/1")} and len(taught) == 2


def test_what_was_taught_is_kept(tmp_path: Path) -> None:
    first = Teacher(params(), PLACE, tmp_path).teach(CASES, 2)
    written = {pair.field: pair.field.stat().st_mtime_ns for pair in first}
    teacher = Teacher(params(), PLACE, tmp_path)

    def refuse(*given: object) -> Registration:
        raise AssertionError("registered again")

    teacher.register = refuse
    assert teacher.teach(CASES, 2) == first
    assert {pair.field: pair.field.stat().st_mtime_ns for pair in first} == written
    # other images or other settings are other fields
    with pytest.raises(AssertionError, match="registered again"):
        teacher.teach([case(7), case(8)], 1)
    assert mark(params()) != mark(params("demons")) != mark(params(affine="centre"))


def test_no_field_is_compared_in_the_background(tmp_path: Path) -> None:
    field = np.zeros((3, *GRID.GetSize()[::-1]), dtype=np.float32)
    field[:, ~(CASES[1].image > 0)] = 100.0  # type: ignore[operator]
    np.save(tmp_path / "field.npy", field)
    pairs = Pairs(CASES, {"taught": 1.0}, 1, 0, taught=[Taught(*CASES[:2], tmp_path / "field.npy")])
    batch = collate([pairs(np.random.default_rng(0), 0)])

    class Still(torch.nn.Module):
        def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> Any:
            from pipeline.networks.deformation import Deformation

            return Deformation(moving.new_zeros((1, 3, *moving.shape[2:])), None, None)

    recipe = RegistrationRecipe(Still(), [{"name": "supervision"}], {}, "test")
    assert recipe.judged(recipe.networks, batch)["supervision"] == 0


@pytest.mark.parametrize(
    ("method", "pairs", "code"),
    [("voxelmorph", 2, "E-MODEL-MISSING"), ("ants", 2, "E-METHOD"), ("syn", 0, "E-CONFIG-VALUE")],
)
def test_teachers_that_teach_nothing(method: str, pairs: int, code: str) -> None:
    learning = {"teacher": {"method": method, "pairs": pairs}, "pairs": {"taught": 1}}
    with pytest.raises(VoxelwayError, match=code):
        asked(params(learning=learning))
    assert not asked(params(learning={**learning, "pairs": {"taught": 0}}))
