"""Networks of the generators: shapes, ranges, growth, what noise and labels change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline import networks
from pipeline.errors import VoxelwayError
from pipeline.networks import lapgan, pggan

SIZE = (8, 16, 24)


def build(name: str, **arguments: Any) -> Any:
    torch.manual_seed(0)
    return networks.build(name, arguments).eval()


@pytest.mark.parametrize(
    ("name", "widths"), [("dcgan", [8, 4]), ("pggan", [8, 8, 4]), ("lapgan", 4)]
)
def test_generators_from_noise(name: str, widths: Any) -> None:
    generator = build(name, latent=5, outputs=3, size=SIZE, features=widths)
    noise = torch.randn(2, 5)
    found = generator(noise)
    last = found[-1] if name == "lapgan" else found
    assert last.shape == (2, 3, *SIZE)
    assert float(last.detach().abs().max()) <= 1.0
    assert not torch.equal(last[0], last[1])
    with pytest.raises(VoxelwayError, match="multiples"):
        build(name, size=(8, 16, 23), features=widths)


def test_a_pyramid_has_every_scale_and_keeps_the_mean() -> None:
    images = torch.rand(2, 1, *SIZE)
    scales = lapgan.pyramid(images, 2)
    assert [tuple(one.shape[2:]) for one in scales] == [(2, 4, 6), (4, 8, 12), SIZE]
    for one in scales:
        assert float(one.mean()) == pytest.approx(float(images.mean()), abs=1e-5)
    generator = build("lapgan", latent=5, size=SIZE, features=4)
    critic = build("lapgan_critic", features=[4, 4])
    made = generator(torch.randn(2, 5), scales[:-1])
    assert [one.shape for one in made] == [one.shape for one in scales]
    scores = [critic(one, level) for level, one in enumerate(made)]
    assert all(len(one) == 2 and one.ndim == 2 for one in scores)


def test_levels_of_a_pyramid_grow_what_they_are_given() -> None:
    """With nothing added, a level gives the real image of the scale below, grown."""
    generator = build("lapgan", latent=5, size=SIZE, features=4)
    for level in generator.more:
        torch.nn.init.zeros_(level[-1].weight)
        torch.nn.init.zeros_(level[-1].bias)
    scales = lapgan.pyramid(torch.rand(1, 1, *SIZE), 2)
    made = generator(torch.randn(1, 5), scales[:-1])
    assert torch.allclose(made[2], lapgan.grown(scales[1]))


@given(st.floats(0.0, 1.0), st.integers(1, 6))
def test_scales_come_one_after_the_other(progress: float, scales: int) -> None:
    scale, faded = pggan.stage(progress, scales)
    assert 0 <= scale < scales and 0.0 <= faded <= 1.0
    assert scale == 0 or progress * scales >= scale


def test_a_new_scale_is_faded_in() -> None:
    assert [pggan.stage(p, 4) for p in (0.0, 0.24, 0.25, 0.3125, 0.375, 0.49, 0.5, 1.0)] == [
        (0, 1.0), (0, 1.0), (1, 0.0), (1, 0.5), (1, 1.0), (1, 1.0), (2, 0.0), (3, 1.0)
    ]  # fmt: skip
    generator = build("pggan", latent=5, size=SIZE, features=[8, 8, 4])
    critic = build("pggan_critic", features=[4, 8, 8])
    noise = torch.randn(2, 5)

    def at(progress: float) -> tuple[torch.Tensor, torch.Tensor]:
        for one in (generator, critic):
            one.progress.fill_(progress)
        made = generator(noise)
        return made, critic(made)

    coarse, first = at(0.0)
    assert torch.equal(coarse[..., 0::4, 0::4, 0::4], coarse[..., 3::4, 3::4, 3::4])
    # at the moment that a scale comes in nothing jumps
    assert torch.allclose(at(1 / 3)[0], coarse, atol=1e-5)
    assert torch.allclose(at(1 / 3 + 1e-7)[1], first, atol=1e-4)
    fine, _ = at(1.0)
    assert not torch.equal(fine[..., 0::2, 0::2, 0::2], fine[..., 1::2, 1::2, 1::2])


def test_the_critic_sees_that_a_batch_is_all_alike() -> None:
    critic = build("pggan_critic", features=[4, 8])
    critic.progress.fill_(1.0)
    one, two = torch.rand(1, 1, 8, 8, 8), torch.rand(1, 1, 8, 8, 8)
    alike, apart = critic(torch.cat([one, one])), critic(torch.cat([one, two]))
    assert not torch.allclose(alike[0], apart[0])
    assert torch.allclose(alike[0], alike[1])


@pytest.mark.parametrize("name", ["spade", "noisy_unet"])
def test_generators_from_labels_follow_labels_and_noise(name: str) -> None:
    widths = [8, 4] if name == "spade" else [4, 8]
    generator = build(name, classes=2, outputs=1, features=widths, noise=3)
    labels = torch.zeros(1, 2, 8, 8, 8)
    labels[:, 0] = 1.0
    changed = labels.clone()
    changed[..., 4:] = 1.0 - changed[..., 4:]
    noise = torch.randn(1, 3, 4, 4, 4)
    made = generator(labels, noise)
    assert made.shape == (1, 1, 8, 8, 8) and float(made.detach().abs().max()) <= 1.0
    assert not torch.allclose(made, generator(changed, noise))
    assert not torch.allclose(made, generator(labels, noise + 1.0))
    with pytest.raises((ValueError, RuntimeError)):
        generator(labels, noise[..., :3])


def test_an_image_unet_keeps_the_grid() -> None:
    network = build("image_unet", inputs=2, outputs=1, features=[4, 8])
    assert network(torch.rand(1, 2, 6, 8, 10)).shape == (1, 1, 6, 8, 10)
