"""Training of registration networks: sources, pairs, losses, from files to a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import cli, images, networks
from pipeline.bundles import read_bundle
from pipeline.bundles.networks import load
from pipeline.errors import VoxelwayError
from pipeline.networks.spatial import warp
from pipeline.register.learning import draw, features
from pipeline.register.learning.anatomy import STRUCTURES
from pipeline.register.learning.cases import FULL, Case
from pipeline.register.learning.draw import Pairs
from pipeline.register.learning.recipe import RegistrationRecipe
from pipeline.register.learning.sources import Source, find
from pipeline.training.data import SeededSamples, collate
from pipeline.training.plan import Plan
from pipeline.training.trainer import fit

SHAPE = (20, 24, 22)


def label_case(name: str, seed: int) -> Case:
    """Concentric structures whose sizes differ from subject to subject."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    radius = np.sqrt(sum((a / s) ** 2 for a, s in zip(axes, rng.uniform(0.8, 1, 3), strict=True)))
    rings = np.digitize(radius, np.linspace(0.2, 0.95, 6))
    shares = np.zeros((len(STRUCTURES), *SHAPE), dtype=np.uint8)
    for ring in range(6):
        shares[ring][rings == ring] = FULL
    return Case(f"maps/{name}", None, None, shares)


def image_case(name: str, seed: int) -> Case:
    shares = label_case(name, seed).shares
    assert shares is not None
    image = draw.contrast(shares, np.random.default_rng(seed), t1_like=True)[0]
    return Case(f"images/{name}", "T1w", np.clip(image * 200, 0, FULL).astype(np.uint8), None)


MAPS = [label_case(str(n), n) for n in range(3)]
IMAGES = [image_case(str(n), n) for n in range(3)]


def one(kind: str, seed: int = 0, structures: int = 0) -> dict[str, Any]:
    pairs = Pairs([*MAPS, *IMAGES], {kind: 1.0}, 1, 0, structures)
    return pairs(np.random.default_rng(seed), 0)


@given(st.sampled_from(["images", "labels", "contrasts", "simulated"]), st.integers(0, 50))
@settings(max_examples=16, deadline=None)
def test_pairs_are_sound(kind: str, seed: int) -> None:
    sample, again = one(kind, seed), one(kind, seed)
    for name, values in sample.items():
        assert np.array_equal(values, again[name]), name
    for side in ("moving", "fixed"):
        assert sample[side].shape == (1, *SHAPE) and sample[side].dtype == np.float32
        assert np.isfinite(sample[side]).all() and 0 <= sample[side].min() < sample[side].max() < 3
    assert sample["alike"] == (kind != "contrasts")
    assert ("fixed_labels" in sample) == (kind in ("labels", "contrasts"))


def test_a_simulated_pair_comes_with_its_field() -> None:
    for seed in range(4):  # mirrored or not
        sample = one("simulated", seed)
        field, moving = (torch.from_numpy(sample[k])[None] for k in ("target_field", "moving"))
        fixed = torch.from_numpy(sample["fixed"])[None]
        before = torch.corrcoef(torch.stack([moving.flatten(), fixed.flatten()]))[0, 1]
        moved = warp(moving, field)
        after = torch.corrcoef(torch.stack([moved.flatten(), fixed.flatten()]))[0, 1]
        assert after > 0.97 > before


def test_a_mirrored_pair_is_the_pair_of_mirrored_images() -> None:
    field = np.random.default_rng(0).standard_normal((3, 4, 5, 6)).astype("f4")
    flipped = draw._mirrored("target_field", field)
    assert np.array_equal(flipped[:2], field[:2, :, :, ::-1])
    assert np.array_equal(flipped[2], -field[2, :, :, ::-1])


def test_few_structures_are_handed_on_in_training() -> None:
    assert one("labels", structures=4)["fixed_labels"].shape[0] == 4
    assert one("labels")["fixed_labels"].shape[0] == len(draw.SCORED)


def test_shares_of_the_kinds_are_kept() -> None:
    pairs = Pairs([*MAPS, *IMAGES], {"images": 3.0, "labels": 1.0}, 2, 0)
    kinds = ["fixed_labels" in pairs(np.random.default_rng(n), n) for n in range(200)]
    assert 0.15 < np.mean(kinds) < 0.35
    assert all(kinds[n] == kinds[n + 1] for n in range(0, 200, 2))  # one kind a batch


def test_too_few_subjects() -> None:
    with pytest.raises(VoxelwayError, match="E-TRAIN-DATA"):
        Pairs(MAPS[:1], {"labels": 1.0, "images": 1.0}, 1, 0)


TERMS = [
    {"name": "lncc", "window": 5},
    {"name": "dice"},
    {"name": "supervision"},
    {"name": "diffusion"},
]


def recipe(architecture: str, window: int = 0, **arguments: Any) -> RegistrationRecipe:
    torch.manual_seed(0)
    network = networks.build(architecture, arguments)
    return RegistrationRecipe(network, TERMS, {}, "test", window)


@pytest.mark.parametrize("kind", ["images", "labels", "contrasts", "simulated"])
@pytest.mark.parametrize("window", [0, 16])
def test_losses_that_a_pair_can_have(kind: str, window: int) -> None:
    made = recipe("pyramid", window, hidden=4, factors=[2, 1], iterations=[1, 1])
    found = made.losses(made.networks, "register", collate([one(kind)]))
    expected = {"diffusion"}
    expected |= {"lncc"} if kind != "contrasts" else set()
    expected |= {"dice"} if kind in ("labels", "contrasts") else set()
    expected |= {"supervision"} if kind == "simulated" else set()
    assert set(found) == {"loss", *expected}
    found["loss"].backward()
    assert all(p.grad is not None for p in made.networks["register"].parameters())


def test_a_window_sees_what_the_whole_shows_there() -> None:
    made = recipe("pyramid", hidden=4, factors=[1], iterations=[0])
    batch = collate([one("labels")])
    torch.manual_seed(5)
    part = made._outcomes(made.networks, batch, 12)[0]
    # without a step the moved image in the window is the moving image there
    places = [
        (z, y, x)
        for z in range(SHAPE[0] - 11)
        for y in range(SHAPE[1] - 11)
        for x in range(SHAPE[2] - 11)
        if torch.allclose(
            batch["moving"][..., z : z + 12, y : y + 12, x : x + 12], part.warped, atol=1e-5
        )
    ]
    assert len(places) == 1
    z, y, x = places[0]
    assert torch.equal(batch["fixed"][..., z : z + 12, y : y + 12, x : x + 12], part.fixed)
    labels = batch["moving_labels"][..., z : z + 12, y : y + 12, x : x + 12].float() / FULL
    assert part.labels_warped is not None and torch.allclose(labels, part.labels_warped, atol=1e-5)


def test_scores_of_no_motion_are_those_of_the_pair() -> None:
    made = recipe("voxelmorph", encoder=[4], decoder=[4], final=[4])
    torch.nn.init.zeros_(made.networks["register"].flow.weight)
    torch.nn.init.zeros_(made.networks["register"].flow.bias)
    with torch.no_grad():
        scores = made.scores(made.networks, collate([one("labels")]))
    assert scores["folds"] == 0 and scores["loss"] > 0


def test_an_autoencoder_learns_first_and_is_left_alone_then(tmp_path: Path) -> None:
    pairs = Pairs(IMAGES, {"images": 1.0}, 1, 0)
    data = SeededSamples(pairs, 0), SeededSamples(pairs, 1, 2)
    plan = Plan(steps=2, batch=1, learning_rate=0.01, validate_every=50, patience=1)
    torch.manual_seed(0)
    encoder = networks.build("autoencoder", {"features": [4, 4]})
    first = features.Reconstruction(encoder, "test")
    batch = collate([one("images", 7)])
    before = first.scores(first.networks, batch)["loss"]
    features.train(first, data, plan, 60, tmp_path / "first")
    assert first.scores(first.networks, batch)["loss"] < 0.5 * before
    learned = {name: values.clone() for name, values in encoder.state_dict().items()}

    network = networks.build("voxelmorph", {"encoder": [4], "decoder": [4], "final": [4]})
    started = {name: values.clone() for name, values in network.state_dict().items()}
    terms = [{"name": "features"}]
    recipe = RegistrationRecipe(network, terms, {"autoencoder": encoder}, "test")
    fit(recipe, *data, plan, tmp_path)
    assert all(torch.equal(learned[n], values) for n, values in encoder.state_dict().items())
    assert all(not torch.equal(started[n], values) for n, values in network.state_dict().items())

    # the same again is read, not trained
    again = networks.build("autoencoder", {"features": [4, 4]})
    features.train(features.Reconstruction(again, "test"), data, plan, 60, tmp_path / "first")
    assert all(torch.equal(learned[n], values) for n, values in again.state_dict().items())


def test_sources(tmp_path: Path) -> None:
    for name in ("sub-01_desc-brain_T1w.nii.gz", "sub-02_T1w.nii.gz"):
        (tmp_path / name).touch()
    source = Source("set", tmp_path, "sub-*.nii.gz", "T1w", False, "CC0")
    assert [subject for _, _, subject in find([source])] == ["01", "02"]
    (tmp_path / "sub-02_desc-b_T1w.nii.gz").touch()
    with pytest.raises(VoxelwayError, match="are of one subject"):
        list(find([source]))
    with pytest.raises(VoxelwayError, match="No file"):
        list(find([Source("set", tmp_path, "*.mgz", "T1w", False, "CC0")]))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images and three label maps of ellipsoids in the place of the template's brain."""
    from pipeline.register.learning.lattice import lattice

    place = lattice(6.0)
    root = tmp_path_factory.mktemp("sets")
    inside = images.bool_array(images.resample(place.mask, place.grid, labels=True))
    for number in range(4):
        rng = np.random.default_rng(number)
        base = images.array(images.resample(place.template, place.grid, order=1))
        noisy = np.where(inside, np.clip(base * rng.uniform(0.8, 1.2) + 0.05, 0.01, None), 0)
        images.write_image(
            images.like(noisy.astype("f4"), place.grid), root / f"sub-{number}_T1w.nii.gz"
        )
        labels = np.where(inside, np.where(base > np.median(base[inside]), 2, 3), 0).astype("u2")
        images.write_image(images.like(labels, place.grid), root / f"map{number}.nii.gz")
    return root


def arguments(folders: Path, out: Path, **training: Any) -> list[str]:
    sets = [
        {"name": "images", "files": "sub-*.nii.gz", "contrast": "T1w", "licence": "CC0"},
        {"name": "maps", "files": "map*.nii.gz", "licence": "PDDL"},
    ]
    params = {
        "network": {
            "spacing": 6.0,
            "arguments": {"hidden": 4, "factors": [2, 1], "iterations": [2, 2]},
        },
        "learning": {
            "data": [{**entry, "folder": str(folders)} for entry in sets],
            "validation": 0.5,
            "validation_pairs": 2,
            "window": 12,
        },
        "training": {"steps": 3, "validate_every": 2, "warmup": 0, **training},
    }
    return ["train", "register", "--out", str(out), "--params", json.dumps(params)]


def only(kind: str) -> dict[str, float]:
    kinds = ("images", "labels", "contrasts", "simulated", "taught")
    return {name: float(name == kind) for name in kinds}


def test_from_folders_to_a_bundle(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    assert cli.main(arguments(folders, out)) == 0
    about = read_bundle(out, "register").metadata
    assert about["training"]["subjects"] == {"train": 4, "val": 4}
    assert about["inputs"]["spacing_mm"] == 6.0 and about["inputs"]["contrasts"] == "any"
    assert {item["licence"] for item in about["training"]["data"]} == {"CC0", "PDDL"}
    assert (out / "training.png").stat().st_size > 1000
    network = load(out, "register").networks["register"]
    assert (
        network(torch.rand(1, 1, 9, 8, 7), torch.rand(1, 1, 9, 8, 7)).displacement.isfinite().all()
    )


def test_training_begins_with_the_weights_of_a_bundle(folders: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert cli.main(arguments(folders, first, learning_rate=0.01)) == 0
    given = arguments(folders, second, learning_rate=1e-9)
    params = json.loads(given[-1])
    params["seed"] = 5
    params["learning"]["start"] = str(first)
    assert cli.main([*given[:-1], json.dumps(params)]) == 0
    before, after = (read_bundle(folder, "register") for folder in (first, second))
    assert after.metadata["training"]["start"] == before.metadata["weights"]["sha256"]
    for name, values in before.tensors.items():
        assert np.allclose(values, after.tensors[name], atol=1e-6), name


def test_nothing_to_train_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "register", "--out", str(tmp_path / "bundle")]) == 3
    assert "E-TRAIN-DATA" in capfd.readouterr().err


@pytest.mark.parametrize("adversary", [False, True])
def test_an_adversary_takes_part(folders: Path, tmp_path: Path, adversary: bool) -> None:
    out = tmp_path / "bundle"
    given = arguments(folders, out, steps=1, validate_every=1)
    params = json.loads(given[-1])
    losses = [{"name": "lncc", "window": 5}, {"name": "diffusion"}]
    params["learning"]["losses"] = [
        *losses,
        *([{"name": "adversarial", "weight": 0.1}] * adversary),
    ]
    params["learning"]["pairs"] = only("images")
    assert cli.main([*given[:-1], json.dumps(params)]) == 0
    columns = (out / "training.csv").read_text().splitlines()[0].split(",")
    assert ("critic/loss" in columns) == adversary
    # the critic stays behind
    assert all(name.startswith("register/") for name in read_bundle(out, "register").tensors)


def test_features_of_an_autoencoder_are_compared(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    given = arguments(folders, out, steps=1, validate_every=1)
    params = json.loads(given[-1])
    params["learning"]["losses"] = [{"name": "features"}, {"name": "diffusion"}]
    params["learning"] |= {"pairs": only("images"), "autoencoder_steps": 2}
    assert cli.main([*given[:-1], json.dumps(params)]) == 0
    columns = (out / "training.csv").read_text().splitlines()[0].split(",")
    assert "register/features" in columns and "autoencoder/loss" not in columns
    assert "features" in read_bundle(out, "register").metadata["training"]["scores"]
    assert all(name.startswith("register/") for name in read_bundle(out, "register").tensors)


def test_fields_of_a_method_are_learned(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    given = arguments(folders, out, steps=1, validate_every=1)
    params = json.loads(given[-1])
    losses = [{"name": "supervision"}, {"name": "lncc", "window": 5}]
    teacher = {"method": "adaptive", "pairs": 2}
    params["learning"] |= {"pairs": only("taught"), "teacher": teacher, "losses": losses}
    params |= {"affine": "none", "optimisation": {"spacings": [12], "iterations": [3]}}
    assert cli.main([*given[:-1], json.dumps(params)]) == 0
    columns = (out / "training.csv").read_text().splitlines()[0].split(",")
    assert {"register/supervision", "register/lncc"} < set(columns)
    assert len(list(tmp_path.glob("*/cases/*-taught.npy"))) == 3  # two to train on, one to validate


def test_taught_pairs_without_a_teacher(
    folders: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = arguments(folders, tmp_path / "bundle")
    params = json.loads(given[-1])
    params["learning"]["pairs"] = only("taught")
    assert cli.main([*given[:-1], json.dumps(params)]) != 0
    assert "learning.teacher.pairs is 0" in capfd.readouterr().err
