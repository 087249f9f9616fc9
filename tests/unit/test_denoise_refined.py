"""Filters refined by a network: what it starts from, and the samples it learns from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from pipeline import config, images, methods, networks
from pipeline.bundles import write_bundle
from pipeline.denoise.learning import presets, samples
from pipeline.denoise.learning.crops import Crops
from pipeline.denoise.learning.draw import Training, Validation
from pipeline.denoise.learning.noise_model import NoiseModel
from pipeline.denoise.learning.prefiltered import Judged, with_filtered
from pipeline.denoise.methods.collaborative import PARTS
from pipeline.denoise.noise import Noise
from pipeline.denoise.request import Request
from pipeline.errors import VoxelwayError
from pipeline.restore.volumes import Volume

from .contract_cases import SMALL
from .test_restore_parts import ball

STEADY = NoiseModel(largest=0.1, rician=1.0, varying=0.0, none=0.0)


def volume() -> Volume:
    values = images.array(ball(28, 0.0)) / 100
    return Volume("s/1", "T1w", values, values > 0, (1, 1, 1), 0.0, True, "")


def bundle(
    folder: Path, bias: float, name: str = "refiner", spread: float = 0.0, **inputs: Any
) -> Path:
    """A small network that takes ``bias`` levels off what it is given, and random ones."""
    torch.manual_seed(0)
    network = networks.build(name, SMALL[name])
    torch.nn.init.normal_(network.tail.weight, std=spread)
    weights = {f"denoise/{name}": part.numpy() for name, part in network.state_dict().items()}
    weights["denoise/tail.bias"] = weights["denoise/tail.bias"] + np.float32(bias)
    about: dict[str, Any] = {
        "stage": "denoise",
        "architecture": {"denoise": {"name": name, "arguments": SMALL[name]}},
        "inputs": inputs,
        "outputs": {},
        "training": {
            "subjects": {"train": 1, "val": 1},
            "split": "by subject",
            "seed": 0,
            "code": "0",
            "version": "0",
        },
    }
    write_bundle(folder, weights, about, "# Small")
    return folder


def request() -> Request:
    noisy = ball(28, 0.05)
    return Request(noisy, noisy > 0, Noise(5.0, 2.5, "gaussian", None), 1.0)


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_the_network_starts_from_what_the_filters_left(tmp_path: Path, bias: float) -> None:
    params = config.section("denoise", {"method": "refined_filters"})
    asked = request()
    refined = methods.create("denoise", "refined_filters", params, bundle(tmp_path / "b", bias))(
        asked
    )
    filtered = images.array(methods.create("denoise", "collaborative", params)(asked))
    inside = images.array(asked.image) > 0
    found = (filtered - images.array(refined))[inside]
    # the level is 5; what is far from the range of half precision is exact to a thousandth
    assert np.allclose(found, bias * 5.0, atol=0.02)
    assert (images.array(refined)[:3, :3, :3] == 0).all()


@pytest.mark.parametrize(
    ("copies", "axes", "alike"),
    [
        (1, (0, 1, 2), False),
        (2, (0, 1, 2), True),
        (2, (0,), False),
        (8, (0,), True),
        (8, (1, 2), True),
    ],
)
def test_a_mirrored_image_gives_the_mirrored_result_where_copies_make_up_for_it(
    tmp_path: Path, copies: int, axes: tuple[int, ...], alike: bool
) -> None:
    params = config.section("denoise", {"method": "drunet", "mirror": copies})
    run = methods.create("denoise", "drunet", params, bundle(tmp_path / "b", 0.0, "drunet", 0.02))
    asked = request()
    mirrored = images.like(np.flip(images.array(asked.image), axes).copy(), asked.image)
    found = images.array(run(asked))
    other = images.array(run(replace(asked, image=mirrored, mask=mirrored > 0)))
    assert np.abs(found - images.array(asked.image)).max() > 2.0
    # half precision, where the CPU is made for it, is good to a few thousandths of the range
    assert bool(np.abs(np.flip(other, axes) - found).max() < 0.5) is alike


def test_a_network_of_another_method_is_refused(tmp_path: Path) -> None:
    refiner = bundle(tmp_path / "refiner", 0.0)
    with pytest.raises(VoxelwayError, match=r"E-MODEL-INPUT.*starts from what other filters"):
        methods.create("denoise", "drunet", {}, refiner)
    plain = bundle(tmp_path / "drunet", 0.0, "drunet")
    with pytest.raises(VoxelwayError, match=r"E-MODEL-INPUT.*starts from the noisy image"):
        methods.create("denoise", "refined_filters", {}, plain)


def test_the_filtered_image_of_a_sample_is_closer_to_the_truth() -> None:
    for number in range(3):
        sample = Training([volume()], 24, STEADY, 0.0)(np.random.default_rng([0, number]), number)
        if sample["level"].mean() < 0.02:
            continue
        found = with_filtered(sample)
        before, after = (
            np.sqrt(np.mean(np.square(found[key][0] - found["clean"][0])))
            for key in ("noisy", "filtered")
        )
        assert found["filtered"].shape == (1 + PARTS, 24, 24, 24) and after < 0.7 * before


def test_noise_on_both_sides_of_zero_stays_on_both_sides() -> None:
    rng = np.random.default_rng(0)
    noisy = rng.normal(0.0, 0.1, (1, 16, 16, 16)).astype(np.float32)
    level = np.full_like(noisy, 0.1)
    found = with_filtered({"noisy": noisy, "level": level})["filtered"][0]
    assert found.std() < 0.05 and found.min() < 0
    assert abs(float(found.mean())) < 0.01
    # the same as a magnitude has nothing below zero
    found = with_filtered({"noisy": np.abs(noisy), "level": level})["filtered"]
    assert found.min() >= 0


def test_a_refiner_is_given_what_the_filter_left() -> None:
    learning = {"patch": 8, "crops": 1, "validation_patch": 8}
    params = config.section("denoise", {"method": "refined_filters", "learning": learning})
    sides = [volume()], [volume()]
    drawn, judged = samples.make(params["learning"], presets.chosen(params), sides, 0)
    for sample in (drawn[0], judged(np.random.default_rng(0), 0)):
        assert {key: one.shape for key, one in sample.items()} == {
            **dict.fromkeys(("clean", "noisy", "level", "inside"), (1, 8, 8, 8)),
            "filtered": (1 + PARTS, 8, 8, 8),
        }


def test_a_refiner_of_another_number_of_estimates_is_refused() -> None:
    network = {"architecture": "refiner", "arguments": {"estimates": 3}}
    params = config.section("denoise", {"method": "refined_filters", "network": network})
    with pytest.raises(VoxelwayError, match=r"E-CONFIG-VALUE.*6 estimates"):
        samples.make(params["learning"], presets.chosen(params), ([volume()], [volume()]), 0)


def test_parts_of_a_patch_are_cut_and_turned_together() -> None:
    made = Crops(Training([volume()], 20, STEADY, 0.0), 2, 3, 12, word="a test")
    keys = {"clean", "noisy", "level", "inside"}
    assert [set(crop) for crop in made.crops] == [keys, keys]
    # kept in half the memory, given in full precision
    assert {values.dtype for crop in made.crops for values in crop.values()} == {np.dtype("f2")}
    assert {values.dtype for values in made(np.random.default_rng(0), 0).values()} == {
        np.dtype("f4")
    }
    # in place of the crops, values that tell where they are from
    place = np.arange(20.0**3).reshape(1, 20, 20, 20)
    several = np.concatenate([place + 0.5, place + 0.75])
    made.crops = [{"clean": place, "noisy": place + 0.25, "filtered": several}]
    patches = [made(np.random.default_rng([1, k]), k) for k in range(12)]
    for patch in patches:
        clean = patch["clean"]
        assert clean.shape == (1, 12, 12, 12)
        assert np.array_equal(patch["noisy"], clean + 0.25)
        assert np.array_equal(patch["filtered"], np.concatenate([clean + 0.5, clean + 0.75]))
        # neighbours stay neighbours along each axis
        steps = {float(np.abs(np.diff(clean, axis=axis)).max()) for axis in (1, 2, 3)}
        assert steps == {1.0, 20.0, 400.0}
    assert len({patch["clean"].tobytes() for patch in patches}) == 12


def test_validation_is_filtered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = Judged(Validation([volume()], 16))
    assert judged.count == 3
    first = judged(np.random.default_rng([0, 1]), 1)
    monkeypatch.setattr("pipeline.denoise.methods.collaborative.estimates", None)
    assert judged(np.random.default_rng([0, 1]), 1) is first


def test_an_image_comes_back_on_its_own_grid(tmp_path: Path) -> None:
    asked = request()
    asked.image.SetSpacing((1.0, 2.0, 1.5))
    create = methods.create("denoise", "refined_filters", {}, bundle(tmp_path / "b", 0.1))
    found: sitk.Image = create(asked)
    assert images.same_grid(found, asked.image)
