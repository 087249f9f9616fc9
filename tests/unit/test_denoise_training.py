"""Training of denoising networks: noise, samples, losses, and every method in a few steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from pipeline import cli, config, images, methods
from pipeline.denoise.learning import noise_only, presets, recipe
from pipeline.denoise.learning.draw import AsMeasured, Training, Validation
from pipeline.denoise.learning.noise_model import NoiseModel, gaussian, rician, uneven
from pipeline.denoise.rician import moments
from pipeline.denoise.train import make_recipe
from pipeline.errors import VoxelwayError
from pipeline.paths import sidecar
from pipeline.restore.volumes import Volume
from pipeline.training.losses import adversary, restoration
from tests.unit.contract_cases import SMALL
from tests.unit.test_restore_parts import ball

LEARNED = [name for name in methods.available("denoise") if methods.learned("denoise", name)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("balls")
    for number in range(1, 4):
        images.write_image(ball(28, 0.05, number), place / f"sub-{number}_T1w.nii.gz")
    return place


def section(folder: Path, method: str, steps: int = 4) -> dict[str, Any]:
    """A tiny training of a method, with the architecture that is its own."""
    preset = presets.PRESETS[method]
    entry = {"name": "balls", "folder": str(folder), "files": "sub-*", "contrast": "T1w",
             "licence": "CC0"}  # fmt: skip
    return {
        "method": method,
        "network": {"architecture": "auto", "arguments": SMALL[preset.architecture]},
        "learning": {"data": [entry], "patch": 16, "validation_patch": 24, "crops": 3},
        "training": {"steps": steps, "batch": 2, "warmup": 1, "validate_every": steps},
    }


def test_every_learned_method_has_a_preset_and_no_other() -> None:
    assert sorted(LEARNED) == sorted(presets.PRESETS)


@pytest.mark.parametrize("method", LEARNED)
def test_a_method_is_trained_and_its_bundle_denoises(
    method: str, folder: Path, tmp_path: Path
) -> None:
    chosen = tmp_path / "config.yaml"
    chosen.write_text(json.dumps({"seed": 1, "denoise": section(folder, method)}))
    bundle = tmp_path / "bundle"
    assert cli.main(["train", "denoise", "--config", str(chosen), "--out", str(bundle)]) == 0
    metadata = json.loads((bundle / "metadata.json").read_text())
    assert list(metadata["architecture"]) == ["denoise"]
    assert metadata["training"]["subjects"] == {"train": 2, "val": 1}
    assert set(metadata["training"]["scores"]) >= {"psnr at 3 %, dB", "gain at 9 %, dB"}
    noisy = folder / "sub-3_T1w.nii.gz"
    outputs = [tmp_path / f"{n}_T1w.nii.gz" for n in (1, 2)]
    for output in outputs:
        call = ["denoise", noisy, output, "--method", method, "--model", bundle]
        assert cli.main([str(word) for word in call]) == 0
    first, second = (images.array(images.read_image(output)) for output in outputs)
    given = images.array(images.read_image(noisy))
    assert np.array_equal(first, second) and not np.array_equal(first, given)
    empty = ndimage.binary_opening(given == 0, np.ones((3, 3, 3)))
    assert empty.mean() > 0.3 and (first[empty] == 0).all()
    told = json.loads(sidecar(outputs[0]).read_text())
    assert told["Method"] == method and told["Model"] and told["NoiseVaries"] is False


def test_a_short_training_learns(tmp_path: Path) -> None:
    for number in range(1, 4):
        images.write_image(ball(28, 0.0, number), tmp_path / f"sub-{number}_T1w.nii.gz")
    chosen = section(tmp_path, "drunet", 100)
    chosen["network"]["arguments"] = {"features": [16], "blocks": 1}
    chosen["training"] |= {"learning_rate": 0.005, "batch": 4, "warmup": 20}
    chosen["learning"] |= {"variety": 0.0, "patch": 24}
    call = ["train", "denoise", "--params", json.dumps(chosen), "--out", str(tmp_path / "b")]
    assert cli.main(call) == 0
    scores = json.loads((tmp_path / "b" / "metadata.json").read_text())["training"]["scores"]
    assert scores["gain at 9 %, dB"]["mean"] > 1.0


def test_a_method_that_is_not_trained_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    call = ["train", "denoise", "--method", "bilateral", "--out", str(tmp_path / "b")]
    assert cli.main(call) == 2
    assert "E-METHOD" in capsys.readouterr().err


def test_rician_noise_has_the_moments_of_the_distribution() -> None:
    rng = np.random.default_rng(0)
    for signal in (0.0, 0.06, 0.3):
        drawn = rician(np.full((60, 60, 60), signal, "f4"), 0.03, rng)
        mean, std = moments(np.array([signal / 0.03]))
        assert drawn.mean() == pytest.approx(0.03 * mean[0], rel=0.01)
        assert drawn.std() == pytest.approx(0.03 * std[0], rel=0.01)
    plain = gaussian(np.full((60, 60, 60), 0.5, "f4"), 0.1, rng)
    assert plain.mean() == pytest.approx(0.5, abs=0.001)
    assert plain.std() == pytest.approx(0.1, rel=0.01)


def test_an_uneven_level_is_smooth_and_within_its_limits() -> None:
    factor = uneven((24, 24, 24), np.random.default_rng(3))
    assert 0.4 < factor.min() < 1 < factor.max() < 2.5
    assert np.abs(np.diff(np.log(factor), axis=0)).max() < 0.3


def volume(noise: float = 0.0, emptied: bool = True) -> Volume:
    values = images.array(ball(28, 0.0)) / 100
    return Volume("s/1", "T1w", values, values > 0, (1, 1, 1), noise, emptied, "")


def test_a_sample_is_noisy_as_it_is_told() -> None:
    rng = np.random.default_rng(0)
    even = NoiseModel(largest=0.1, rician=0.0, varying=0.0, none=0.0)
    for number in range(8):
        sample = Training([volume()], 16, even, 0.0)(rng, number)
        touched = sample["noisy"] != sample["clean"]
        spread = (sample["noisy"] - sample["clean"])[touched].std()
        # what is told errs by 5 %
        assert spread == pytest.approx(float(sample["level"].mean()), rel=0.25)
    none = NoiseModel(none=1.0)
    sample = Training([volume()], 16, none, 0.0)(rng, 0)
    assert np.array_equal(sample["noisy"], sample["clean"]) and sample["level"].max() <= 0.015


def test_validation_goes_through_the_levels_and_changes_nothing_else() -> None:
    judged = Validation([volume(), volume()], 24)
    assert judged.count == 6
    samples = [judged(np.random.default_rng([1, k]), k) for k in range(3)]
    assert [round(float(s["level"].max()), 3) for s in samples] == [0.03, 0.05, 0.09]
    assert all(np.array_equal(s["clean"], samples[0]["clean"]) for s in samples)


def test_noisy_images_are_taken_as_they_are() -> None:
    given = volume(noise=0.04)
    sample = AsMeasured([given], 28)(np.random.default_rng(0), 0)
    scale = sample["noisy"].max() / given.values.max()
    assert np.allclose(np.sort(sample["noisy"], None), np.sort(given.values * scale, None))
    assert "clean" not in sample and sample["rician"] == 1.0
    filled = sample["noisy"] > 0
    assert np.allclose(sample["level"][filled], 0.04 * scale)
    assert (sample["level"][~filled] == 0).all()


def test_the_mean_magnitude_is_that_of_the_rice_distribution() -> None:
    signal = np.array([0.0, 0.5, 1.0, 3.0, 10.0, 29.0, 31.0, 500.0])
    values = torch.tensor(0.1 * signal, dtype=torch.float32).view(1, 1, 1, 1, -1)
    level = torch.full_like(values, 0.1)
    found = noise_only.seen(values, level, torch.ones(1)).flatten().numpy() / 0.1
    assert np.allclose(found, moments(signal)[0], rtol=1e-3, atol=1e-3)
    assert torch.equal(noise_only.seen(values, level, torch.zeros(1)), values)


def test_a_hidden_voxel_shows_a_neighbour_never_itself() -> None:
    image = torch.arange(6.0**3).view(1, 1, 6, 6, 6)
    shown = noise_only.neighbours(image)
    assert (shown != image).all()
    there = torch.stack(torch.meshgrid(*[torch.arange(6)] * 3, indexing="ij"))
    place = torch.stack([shown[0, 0] // 36, shown[0, 0] // 6 % 6, shown[0, 0] % 6])
    distance = (place - there).abs()
    assert torch.minimum(distance, 6 - distance).max() == 2


class Told(torch.nn.Module):
    """Gives the image back times a weight, and remembers the levels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.levels: list[torch.Tensor] = []

    def forward(self, image: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        self.levels.append(level)
        return self.weight * image


def test_consensus_makes_two_images_of_independent_noise() -> None:
    torch.manual_seed(0)
    noise = 0.1 * torch.randn(2, 1, 40, 40, 40)
    batch = {"noisy": noise, "level": torch.full_like(noise, 0.1), "rician": torch.zeros(2),
             "inside": torch.ones_like(noise)}  # fmt: skip
    network = Told()
    loss = (
        noise_only.Consensus(network, "x")
        .losses({"denoise": network}, "denoise", batch)["loss"]
        .detach()
    )
    # told: 0.1 (1 + a²)^½ and 0.1 (1 + 1/a²)^½, whose product is that of a rectangle's sides
    first, second = (level[:, 0, 0, 0, 0] / 0.1 for level in network.levels)
    assert torch.allclose(first**-2 + second**-2, torch.ones(2))
    # independent: the squared difference is the sum of both variances, in units of the target's
    expected = 0.0
    for a, b in ((first, second), (second, first)):
        expected += float(((a**2 + b**2) / (b + 0.3) ** 2).mean()) / 2
    assert float(loss) == pytest.approx(expected, rel=0.02)


def test_losses_by_hand() -> None:
    target = torch.zeros(1, 1, 8, 8, 8)
    restored = torch.full_like(target, 0.3)
    weight, level = torch.ones_like(target), torch.full_like(target, 0.07)
    values = {name: float(term(restored, target, weight, level))
              for name, term in restoration.TERMS.items()}  # fmt: skip
    assert values["l1"] == pytest.approx(0.3) and values["mse"] == pytest.approx(0.09)
    # 0.3 / (0.07 + 0.03) = 3; (9 + 1/16)^½ - 1/4
    assert values["charbonnier"] == pytest.approx(9.0625**0.5 - 0.25, rel=1e-4)
    assert values["scaled_mse"] == pytest.approx(9.0, rel=1e-4)
    assert values["log_mse"] == pytest.approx(np.log(0.09 + 1e-5), rel=1e-5)
    assert values["gradient"] == 0.0
    # means only: c1 / (0.09 + c1)
    assert values["ssim"] == pytest.approx(1 - 1e-4 / 0.0901, rel=1e-4)
    # what does not count is not seen
    half = weight.clone()
    half[..., 4:] = 0.0
    restored[..., 4:] = 5.0
    assert float(restoration.l1(restored, target, half, level)) == pytest.approx(0.3)


def test_each_sample_counts_the_same_in_the_logarithm() -> None:
    target = torch.zeros(2, 1, 4, 4, 4)
    restored = torch.stack([torch.full((1, 4, 4, 4), 0.2), torch.full((1, 4, 4, 4), 0.01)])
    loss = restoration.log_mse(restored, target, torch.ones_like(target), target)
    assert float(loss) == pytest.approx((np.log(0.04001) + np.log(0.00011)) / 2, rel=1e-4)
    # a tenth less error of either is the same gain
    for number in (0, 1):
        better = restored.clone()
        better[number] *= 0.9
        gain = loss - restoration.log_mse(better, target, torch.ones_like(target), target)
        assert float(gain) == pytest.approx(-np.log(0.9), rel=0.15)


def test_structural_similarity_of_an_image_with_itself_is_one() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 1, 4, 40, 40)
    other = image + 0.2 * torch.randn_like(image)
    for term in (restoration.ssim, restoration.ms_ssim):
        assert float(term(image, image, image, image)) == pytest.approx(0.0, abs=1e-5)
        assert float(term(other, image, image, image)) > 0.05


def test_unknown_losses_are_refused() -> None:
    for entries in ([], [{"name": "magic"}]):
        with pytest.raises(VoxelwayError) as caught:
            restoration.build(entries)
        assert caught.value.code == "E-CONFIG-VALUE"
    for entry in ({"kind": "vanilla"}, {"speed": 3}, {"critic_steps": 0}):
        with pytest.raises(VoxelwayError) as caught:
            adversary.Adversary.of(entry)
        assert caught.value.code == "E-CONFIG-VALUE"


def test_the_gradient_penalty_of_a_linear_critic_is_known() -> None:
    a, b = torch.rand(3, 1, 2, 2, 2), torch.rand(3, 1, 2, 2, 2)
    # the gradient is 2 at each of 8 voxels: its norm is 2 · 8^½
    found = adversary.gradient_penalty(lambda x: 2 * x.sum(dim=(1, 2, 3, 4)), a, b)
    assert float(found) == pytest.approx((2 * 8**0.5 - 1) ** 2, rel=1e-5)


def test_adversaries_pull_apart() -> None:
    def critic(images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(1, 2, 3, 4))

    good, bad = torch.ones(2, 1, 4, 4, 4), torch.zeros(2, 1, 4, 4, 4)
    wasserstein = adversary.Adversary("wgan_gp")
    assert float(wasserstein.generator(critic, good)) == -1.0
    assert float(wasserstein.critic(critic, bad, good)["distance"]) == 1.0
    squares = adversary.Adversary("lsgan")
    assert float(squares.critic(critic, bad, good)["loss"]) == 0.0
    assert float(squares.generator(critic, bad)) == 0.5


def test_the_critic_moves_on_every_step_and_the_generator_seldom() -> None:
    params = config.section("denoise", {"method": "wgan_perceptual"})
    made = make_recipe(presets.chosen(params), 0, "x")
    assert [(p.name, p.every) for p in made.players] == [
        ("autoencoder", 1), ("critic", 1), ("denoise", 4),
    ]  # fmt: skip
    assert set(made.networks) == {"denoise", "critic", "autoencoder"}


def test_the_configuration_goes_before_the_preset() -> None:
    own = {"architecture": "redcnn", "arguments": {"features": 8}}
    learning = {"losses": [{"name": "l1"}], "objective": "supervised"}
    params = config.section(
        "denoise", {"method": "consensus", "network": own, "learning": learning}
    )
    chosen = presets.chosen(params)
    assert (chosen.architecture, chosen.arguments) == ("redcnn", {"features": 8})
    assert (chosen.objective, list(chosen.losses)) == ("supervised", [{"name": "l1"}])


def test_psnr_by_hand() -> None:
    zero = torch.zeros(1, 1, 2, 2, 2)
    inside = zero.clone()
    inside[..., 0] = 1.0
    image = zero + 0.1
    image[..., 1] = 7.0
    assert recipe.psnr(image, zero, inside) == pytest.approx(20.0, abs=1e-4)
