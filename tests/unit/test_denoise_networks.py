"""Denoising networks: what they must keep whatever their weights are."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.errors import VoxelwayError
from pipeline.networks import build, slices
from pipeline.networks.drunet import KNEE, compressed
from pipeline.networks.wavelet_resnet import haar, inverse_haar

SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "patch_mixture": ("patch_mixture", {"components": 3}),
    "drunet": ("drunet", {"features": [4, 6], "blocks": 1}),
    "refiner": ("refiner", {"features": [4, 6], "blocks": 1}),
    "redcnn": ("redcnn", {"features": 4}),
    "redcnn 2.5": ("redcnn", {"features": 4, "dimensions": "2.5"}),
    "redcnn 3": ("redcnn", {"features": 4, "dimensions": "3", "kernel": 3}),
    "redcnn blind": ("redcnn", {"features": 4, "told": False}),
    "cnn_dae": ("cnn_dae", {"features": [4, 6]}),
    "plain_cnn": ("plain_cnn", {"features": 4, "layers": 3}),
    "plain_cnn 2": ("plain_cnn", {"features": 4, "layers": 3, "dimensions": "2"}),
    "wavelet_resnet": ("wavelet_resnet", {"features": 4, "blocks": 1}),
    "wavelet_resnet 2": ("wavelet_resnet", {"features": 4, "blocks": 1, "levels": 2}),
}


def small(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = build(*SMALL[name])
    with torch.no_grad():
        for parameter in network.parameters():
            # last layers start at zero; here everything has to act
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def level(value: float) -> Tensor:
    return torch.full((1, 1, 1, 1, 1), value)


@pytest.mark.parametrize("name", SMALL)
def test_any_shape_comes_back_and_every_weight_has_a_gradient(name: str) -> None:
    network = small(name)
    for shape in ((4, 9, 13), (16, 16, 16), (7, 30, 5)):
        image = torch.rand(2, 1, *shape)
        found = network(image, level(0.1))
        assert found.shape == image.shape and torch.isfinite(found).all()
    network(torch.rand(1, 1, 16, 24, 24), level(0.1)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_detail_is_in_levels_of_noise_and_its_logarithm_beyond() -> None:
    noise = torch.tensor(0.05)
    given = torch.tensor([-0.004, -1e-5, 0.0, 1e-5, 0.004, 0.05 * KNEE * math.sinh(3.0)])
    found = compressed(given, noise)
    assert torch.allclose(found[:5], given[:5] / noise, rtol=1e-3, atol=1e-5)
    assert found[5].item() == pytest.approx(3.0 * KNEE, rel=1e-5)


@pytest.mark.parametrize("name", ["patch_mixture", "drunet", "refiner"])
def test_without_noise_the_image_comes_back_as_it_is(name: str) -> None:
    image = torch.rand(1, 1, 10, 12, 9)
    assert torch.equal(small(name)(image, level(0.0)), image)
    # and a level that is zero in one half changes nothing there
    half = torch.zeros_like(image)
    half[..., 4:] = 0.1
    found = small(name)(image, half)
    assert torch.equal(found[..., :4], image[..., :4])
    assert not torch.equal(found[..., 4:], image[..., 4:])


def test_fresh_weights_change_nothing() -> None:
    image = torch.rand(1, 1, 8, 8, 8)
    for name in ("drunet", "refiner", "wavelet_resnet"):
        assert torch.equal(build(*SMALL[name])(image, level(0.1)), image)


@pytest.mark.parametrize("name", [n for n in SMALL if n not in ("redcnn blind", "cnn_dae")])
def test_the_level_is_heard(name: str) -> None:
    image = torch.rand(1, 1, 16, 24, 24)
    network = small(name)
    assert not torch.allclose(network(image, level(0.02)), network(image, level(0.2)))


@pytest.mark.parametrize("name", ["redcnn blind", "cnn_dae"])
def test_what_is_not_told_does_not_listen(name: str) -> None:
    image = torch.rand(1, 1, 6, 24, 24)
    network = small(name)
    assert torch.equal(network(image, level(0.02)), network(image, level(0.2)))


def test_planes_are_seen_alone_with_their_neighbours_or_all() -> None:
    image = torch.rand(1, 1, 9, 24, 24)
    other = image.clone()
    other[:, :, 4] += 0.5
    reach = {"redcnn": 0, "redcnn 2.5": 1, "redcnn 3": 4}
    for name, planes in reach.items():
        network = small(name)
        changed = (network(image, level(0.1)) - network(other, level(0.1))).abs().amax((0, 1, 3, 4))
        found = torch.nonzero(changed > 0).flatten().tolist()
        assert found == list(range(4 - planes, 5 + planes))


def test_slices_put_the_neighbours_in_order() -> None:
    image = torch.arange(5.0).view(1, 1, 5, 1, 1)
    seen: list[Tensor] = []

    def note(planes: Tensor) -> Tensor:
        seen.append(planes)
        return planes[:, 1:2]

    found = slices.apply(note, image, torch.full_like(image, 9.0), "2.5", 1)
    assert torch.equal(found, image)
    # plane before, itself, plane after (the edge repeated), the level
    assert seen[0][:, :, 0, 0].tolist()[0] == [0, 0, 1, 9]
    assert seen[0][:, :, 0, 0].tolist()[4] == [3, 4, 4, 9]


@given(st.integers(0, 100), st.sampled_from([(2, 2, 2), (4, 2, 6)]))
@settings(max_examples=20, deadline=None)
def test_the_haar_transform_keeps_energy_and_is_undone(seed: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(seed)
    volume = torch.randn(1, 2, *shape, dtype=torch.float64)
    bands = haar(volume)
    assert bands.shape[1] == 16
    assert float(bands.square().sum()) == pytest.approx(float(volume.square().sum()))
    assert torch.allclose(inverse_haar(bands), volume)


def test_the_haar_transform_of_a_constant_and_of_an_edge() -> None:
    bands = haar(torch.ones(1, 1, 2, 2, 2))[0, :, 0, 0, 0]
    assert torch.allclose(bands, torch.tensor([8**0.5, 0, 0, 0, 0, 0, 0, 0]), atol=1e-6)
    edge = torch.zeros(1, 1, 2, 2, 2)
    edge[..., 0] = 1.0
    # half of the sum, and as much in the band of differences along x, the second
    bands = haar(edge)[0, :, 0, 0, 0]
    assert torch.allclose(bands[:2], torch.full((2,), 2**0.5)) and bands[2:].abs().max() < 1e-6


def test_a_critic_scores_patches_of_any_size() -> None:
    critic = build("image_critic", {"features": [4, 8]})
    assert critic(torch.rand(3, 1, 16, 9, 12)).shape == (3, 1)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("patch_mixture", {"components": 0}),
        ("drunet", {"features": []}),
        ("drunet", {"blocks": 0}),
        ("redcnn", {"dimensions": "4"}),
        ("redcnn", {"kernel": 4}),
        ("plain_cnn", {"layers": 1}),
        ("wavelet_resnet", {"levels": 3}),
        ("image_critic", {"features": [0]}),
    ],
)
def test_arguments_that_do_not_fit_are_refused(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(VoxelwayError) as caught:
        build(name, arguments)
    assert caught.value.code == "E-MODEL-INPUT"
