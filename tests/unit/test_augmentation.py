"""Generators of training cases: each trains, makes cases, and feeds a segmenter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from pipeline import config, images
from pipeline.bundles import networks, read_bundle
from pipeline.errors import VoxelwayError
from pipeline.segment import train as segment_train
from pipeline.segment.learning import cases as reading
from pipeline.segment.learning import generated
from pipeline.segment.learning.cases import Case
from pipeline.synthesize import train
from pipeline.synthesize.augmentation import generate, kinds, one_shot, samples, scores
from pipeline.synthesize.augmentation.samples import Crops
from pipeline.training.losses.adversary import Adversary
from tests.unit.segment_cases import section, write_cases

KNOWN = (1, 2)


def entry(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "name": "blobs", "folder": str(folder), "labels": "labels/case_*.nii.gz",
        "images": {"T1w": "images/case_{case}.nii.gz"}, "licence": "CC0", "validation": ["3"],
        **more,
    }  # fmt: skip


def params(folder: Path, generator: str, **more: Any) -> dict[str, Any]:
    """Section ``synthesize`` that trains a tiny generator on the first three of four cases."""
    given = {
        "generator": generator, "labels": str(folder / "dseg.tsv"), "spacing": 2.0,
        "patch": [16, 16, 16], "features": 2, "latent": 4, "noise": 2, "data": [entry(folder)],
        "memorisation": {"samples": 2},
        "training": {"steps": 2, "batch": 2, "validate_every": 2, "precision": 32},
        **more,
    }  # fmt: skip
    return {**config.section("synthesize", {"augmentation": given}), "seed": 1}


def folder_of(path: Path) -> Path:
    write_cases(path, 4, with_images=True)
    section(path, True)  # writes the table of labels
    return path


def labelled(folder: Path) -> list[Case]:
    return reading.read([reading.Source.of(entry(folder))], KNOWN)


@pytest.mark.parametrize("generator", list(kinds.KINDS))
def test_a_generator_trains_and_makes_cases(tmp_path: Path, generator: str) -> None:
    folder = folder_of(tmp_path / "data")
    out = tmp_path / "bundle"
    assert train.train(params(folder, generator), out, None) == 0
    about = read_bundle(out, "synthesize").metadata
    assert about["training"]["subjects"] == {"train": 3, "val": 1}
    assert len(about["inputs"]["trained_on"]) == 3
    measured = set(about["training"]["scores"])
    guarded = generator != "one_shot"
    assert ("share of copies" in measured) == guarded
    assert (out / "samples.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "training.csv").is_file()
    asked = "one_shot" if generator == "one_shot" else "gan"
    cases = labelled(folder)[:3]
    made, again = (generate.make(out, asked, cases, [], KNOWN, 2, 5) for _ in range(2))
    for one, same in zip(made, again, strict=True):
        values = images.array(one.images[0])
        assert values.shape == sitk.GetArrayFromImage(one.labels).shape
        assert set(np.unique(sitk.GetArrayFromImage(one.labels))) <= {0, 1, 2}
        assert np.isfinite(values).all() and values.std() > 0
        assert np.array_equal(values, images.array(same.images[0]))
        assert one.digest == same.digest
    assert made[0].digest != made[1].digest


def test_one_labelled_case_is_enough_for_one_shot(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data")
    more = {
        "name": "more", "folder": str(folder), "images": {"T1w": "images/case_*.nii.gz"},
        "licence": "CC0", "held_out": ["0"],
    }  # fmt: skip
    alone = entry(folder, held_out=["1", "2", "3"], validation=[])
    chosen = params(folder, "one_shot", data=[alone], scans=[more])
    assert train.train(chosen, tmp_path / "bundle", None) == 0
    about = read_bundle(tmp_path / "bundle", "synthesize").metadata
    assert about["training"]["subjects"] == {"train": 1, "val": 1}
    assert len(about["inputs"]["trained_on"]) == 3, "the case and two of three scans"
    (made,) = generate.make(
        tmp_path / "bundle", "one_shot", labelled(folder)[:1], [more], KNOWN, 1, 0
    )
    assert set(np.unique(sitk.GetArrayFromImage(made.labels))) == {0, 1, 2}
    with pytest.raises(VoxelwayError, match="E-TRAIN-DATA"):
        train.train(params(folder, "spade", data=[alone]), tmp_path / "other", None)


@pytest.fixture(scope="module")
def spade(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folder of cases, and the bundle of a generator."""
    path = tmp_path_factory.mktemp("spade")
    folder = folder_of(path / "data")
    train.train(params(folder, "spade"), path / "bundle", None)
    return folder, path / "bundle"


def test_a_segmenter_is_trained_on_generated_cases(
    spade: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, bundle = spade
    seen: list[str] = []
    real = segment_train.Patches._scene

    def noted(self: Any, number: int) -> Any:
        made, before = real(self, number)
        seen.append(made.case.name)
        return made, before

    monkeypatch.setattr(segment_train.Patches, "_scene", noted)
    chosen = section(
        folder, True, augmentation=["classical", "gan"], augmentation_cases=2,
        augmentation_models={"gan": str(bundle)}, augmentation_share=0.5, data=[entry(folder)],
        levels=section(folder, True)["learning"]["levels"][:1],
    )  # fmt: skip
    chosen["training"]["steps"] = 16
    assert segment_train.train(chosen, tmp_path / "out", None) == 0
    kinds_seen = {name.partition("/")[0] for name in seen}
    assert kinds_seen == {"blobs", "spade"}
    assert "blobs/3" not in seen


def test_a_generator_that_saw_the_validation_is_refused(spade: tuple[Path, Path]) -> None:
    folder, bundle = spade
    learning = section(
        folder, True, augmentation=["gan"], augmentation_models={"gan": str(bundle)},
        augmentation_cases=1,
    )["learning"]  # fmt: skip
    cases = labelled(folder)
    with pytest.raises(VoxelwayError, match="E-TRAIN-SPLIT"):
        generated.cases(learning, (cases[1:], cases[:1]), KNOWN, 0)
    (group,) = generated.cases(learning, (cases[:3], cases[3:]), KNOWN, 0)
    assert [case.name for case in group] == ["spade/0"]


def test_what_does_not_fit_is_refused(spade: tuple[Path, Path]) -> None:
    folder, bundle = spade
    cases = labelled(folder)
    with pytest.raises(VoxelwayError, match="E-MODEL-INPUT"):
        generate.make(bundle, "one_shot", cases, [], KNOWN, 1, 0)
    with pytest.raises(VoxelwayError, match="labels"):
        generate.make(bundle, "gan", cases, [], (1, 2, 3), 1, 0)
    none = section(folder, True, augmentation=["gan"])["learning"]
    with pytest.raises(VoxelwayError, match="E-CONFIG-VALUE"):
        generated.cases(none, (cases[:3], cases[3:]), KNOWN, 0)


def test_without_classical_nothing_is_changed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    plain = section(folder, True, augmentation=[])["learning"]
    usual = section(folder, True)["learning"]
    assert set(vars(generated.variety(plain)).values()) == {0.0}
    assert generated.variety(usual).rotation == 12.0
    assert generated.cases(plain, (labelled(folder), []), KNOWN, 0) == []


def test_a_critic_rejects_and_the_best_is_kept() -> None:
    class Kind:
        calls = 0

        def make(self, networks: Any, sources: Any, rng: Any) -> kinds.Made:
            self.calls += 1
            nothing = np.zeros((1, 1, 1, 1), np.float32)
            score = [0.1, 0.4, 0.3, 0.2][(self.calls - 1) % 4]
            return kinds.Made(nothing, nothing[0].astype(np.int64), sitk.Image(), score)

    def found(least: float) -> tuple[float, int]:
        kind: Any = Kind()
        made = generate.accepted(kind, {}, kinds.Sources({"least_score": least}, KNOWN, []), [0])
        return made.score, kind.calls

    assert found(0.05) == (0.1, 1)
    assert found(0.35) == (0.4, 2)
    assert found(0.9) == (0.4, 4)


def test_classes_and_intensities() -> None:
    values = np.array([[[0, 17, 53, 2]]])
    assert samples.classes_of(values, (17, 53)).tolist() == [[[0, 1, 2, 0]]]
    ramp = np.linspace(0.0, 1000.0, 1001, dtype=np.float32).reshape(1, 1, 1, -1)
    found = samples.scaled(ramp)
    assert found.min() == -1.0 and found.max() == 1.0
    assert found[0, 0, 0, 500] == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(VoxelwayError, match="E-SIGNAL"):
        samples.scaled(np.ones((1, 2, 2, 2), np.float32))


def test_fitted_is_undone_about_the_middle() -> None:
    values = np.arange(2 * 3 * 5).reshape(1, 2, 3, 5)
    larger = samples.fitted(values, (7, 4, 8))
    assert larger.shape == (1, 7, 4, 8)
    assert np.array_equal(samples.fitted(larger, (2, 3, 5)), values)
    assert samples.fitted(values, (2, 3, 2), [0, 0, 3])[0, 0, 0].tolist() == [3, 4]


def test_texture_looks_at_distributions_not_at_places() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 1, 12, 12, 12)
    assert scores.texture(image, image) == 0.0
    blurred = torch.nn.functional.avg_pool3d(image, 3, 1, 1)
    assert scores.texture(image.flip(2), image) < 0.1 * scores.texture(blurred, image)


def test_cross_entropy_of_a_critic_that_cannot_tell() -> None:
    duel = Adversary.of({"kind": "bce", "critic_steps": 1})
    image = torch.zeros(2, 1, 4, 4, 4)

    def unsure(one: torch.Tensor) -> torch.Tensor:
        return one.mean(dim=(1, 2, 3, 4))

    assert float(duel.critic(unsure, image, image)["loss"]) == pytest.approx(0.6931, abs=1e-4)
    assert float(duel.generator(unsure, image)) == pytest.approx(0.6931, abs=1e-4)


def test_one_shot_moves_labels_with_the_image() -> None:
    """A map of two voxels along x, and an added brightness: both are seen in what comes out."""

    class Shape(torch.nn.Module):
        def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> Any:
            field = torch.zeros(1, 3, *moving.shape[2:])
            field[:, 2] = 2.0
            return one_shot.Deformation(field, -field, None)

    class Look(torch.nn.Module):
        divisor = 4

        def forward(self, both: torch.Tensor) -> torch.Tensor:
            return torch.full_like(both[:, :1], 0.25)

    values = np.full((1, 6, 7, 9), -0.5, np.float32)
    classes = np.zeros((6, 7, 9), np.int64)
    values[..., 5], classes[..., 5] = 0.5, 1
    other = np.zeros_like(values)
    networks = {one_shot.SHAPE: Shape(), one_shot.APPEARANCE: Look()}
    image, labels = one_shot.changed(networks, values, classes, other, other)
    assert np.flatnonzero(labels[0, 0]).tolist() == [3]
    assert image[0, 0, 0, 3] == pytest.approx(0.75) and image[0, 0, 0, 0] == pytest.approx(-0.25)


def test_steps_at_borders_of_structures_are_free() -> None:
    added = torch.zeros(1, 1, 4, 4, 4)
    added[..., 2:] = 1.0
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.int64)
    assert float(one_shot.roughness_inside(added, labels)) == pytest.approx(1 / 3)
    labels[..., 2:] = 1
    assert float(one_shot.roughness_inside(added, labels)) == 0.0


def test_scans_without_labels(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    given = {
        "name": "more", "folder": str(folder), "images": {"T1w": "images/case_*.nii.gz"},
        "licence": "CC0", "held_out": ["0"], "validation": ["2"],
    }  # fmt: skip
    found = samples.scans([given])
    assert [(one.name, one.side) for one in found] == [
        ("more/1", ""), ("more/2", "val"), ("more/3", "")
    ]  # fmt: skip
    assert not sitk.GetArrayFromImage(found[0].labels).any()
    with pytest.raises(VoxelwayError, match="E-TRAIN-DATA"):
        samples.scans([{**given, "images": {"T1w": "nothing_*.nii"}}])


def test_boxes_are_drawn_the_same_every_time(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    chosen = params(folder, "spade")["augmentation"]
    crops = Crops(labelled(folder), chosen, KNOWN, 8)
    one, two = (crops(np.random.default_rng(3), 4) for _ in range(2))
    assert np.array_equal(one["image"], two["image"])
    assert one["image"].shape == (1, 16, 16, 16) and one["labels"].shape == (16, 16, 16)
    assert one["progress"] == 0.5


def test_a_bundle_is_read_without_the_code_of_training(spade: tuple[Path, Path]) -> None:
    loaded = networks.load(spade[1], "synthesize")
    assert set(loaded.networks) == {"generator", "critic"}
