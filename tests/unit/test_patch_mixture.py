"""The patch prior: what it keeps and takes away, and its mixture, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.denoise.learning import mixture
from pipeline.networks.patch_mixture import BLOCK, SIDE, PatchMixture, signal
from pipeline.restore.volumes import Volume


def volume(values: np.ndarray, mask: np.ndarray, weight: float = 1.0) -> Volume:
    return Volume("set/sub-1", "T1w", values.astype(np.float32), mask, (1.0, 1.0, 1.0), 0.0,
                  True, "0" * 16, weight)  # fmt: skip


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one_component(variance: float) -> PatchMixture:
    """A prior under which all detail has one variance, whatever its direction."""
    network = PatchMixture(1)
    network.fill(variance * torch.eye(BLOCK)[None], torch.ones(1))
    return network


@torch.no_grad()
def test_detail_is_shrunk_by_its_variance_and_that_of_the_noise() -> None:
    # one voxel of each second, mirrored in sign: every block has the mean 0.5
    image = torch.full((1, 1, 12, 12, 12), 0.4)
    image[..., ::2] = 0.6
    found = one_component(0.03).estimate(image, torch.full_like(image, 0.1))
    inner = (..., *[slice(4, 8)] * 3)
    # 0.03 / (0.03 + 0.01) of the detail is kept
    assert torch.allclose(found[inner] - 0.5, 0.75 * (image[inner] - 0.5), atol=1e-5)


@torch.no_grad()
def test_an_even_image_stays_and_noise_under_a_narrow_prior_goes() -> None:
    level = torch.full((1, 1, 16, 16, 16), 0.1)
    network = one_component(1e-8)
    even = torch.full_like(level, 0.7)
    assert torch.allclose(network.estimate(even, level), even, atol=1e-6)
    noise = 0.1 * torch.randn(level.shape, generator=generator(0))
    # the means of blocks of 64 voxels are left, averaged over overlapping blocks
    assert network.estimate(noise, level).std() < 0.1 / 8


@torch.no_grad()
def test_each_voxel_is_shrunk_by_its_own_level() -> None:
    level = torch.full((1, 1, 12, 12, 32), 0.01)
    level[..., 16:] = 0.2
    image = 0.5 + 0.05 * torch.randn(level.shape, generator=generator(1))
    left = (one_component(0.0025).estimate(image, level) - 0.5).abs().flatten(0, 3).mean(dim=0)
    assert left[4:10].min() > 3.0 * left[22:28].max()


@torch.no_grad()
def test_a_block_takes_the_component_that_explains_it() -> None:
    first, second = torch.full((BLOCK,), 1e-6), torch.full((BLOCK,), 1e-6)
    first[0], second[1] = 1.0, 1.0
    network = PatchMixture(2)
    network.fill(torch.stack([first.diag(), second.diag()]), torch.tensor([0.5, 0.5]))
    blocks = torch.zeros(3, BLOCK)
    blocks[0, 0], blocks[1, 1], blocks[2, 1] = 1.0, 1.0, -2.0
    assert network.choose(blocks, torch.full((3,), 0.01)).tolist() == [0, 1, 1]
    # what neither explains goes to the one that is more common
    network.fill(torch.stack([first.diag(), second.diag()]), torch.tensor([0.1, 0.9]))
    assert network.choose(torch.zeros(1, BLOCK), torch.ones(1)).tolist() == [1]


@pytest.mark.parametrize("magnitude", [True, False])
def test_only_magnitudes_lose_the_lift_of_their_noise(magnitude: bool) -> None:
    mean = torch.tensor([0.5, 1.0, 5.0, 13.0]).reshape(1, 1, 1, 1, 4)
    noisy = mean.clone()
    if not magnitude:
        noisy[..., 0] = -0.5
    found = signal(mean, torch.ones_like(mean), noisy).flatten().tolist()
    # roots of 25 - 1 and 169 - 1; what lies below the noise alone is next to none
    wanted = [1e-3, 1e-3, 24.0**0.5, 168.0**0.5] if magnitude else [0.5, 1.0, 5.0, 13.0]
    assert found == pytest.approx(wanted)


def test_blocks_are_cut_from_the_mask_turned_and_without_their_mean() -> None:
    z, _, _ = np.mgrid[:20, :20, :20]
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[5:15, 5:15, 5:15] = True
    values = np.where(mask, z, 1000.0)
    inner = np.zeros_like(mask)
    inner[7:13, 7:13, 7:13] = True
    blocks = mixture.draw([volume(values, inner)], 300, np.random.default_rng(0))
    assert blocks.shape == (300, BLOCK) and np.allclose(blocks.mean(axis=1), 0.0, atol=1e-4)
    # a ramp of one a voxel along some axis, upwards or downwards
    cubes = blocks.reshape(-1, SIDE, SIDE, SIDE)
    slopes = np.stack([np.diff(cubes, axis=axis).mean(axis=(1, 2, 3)) for axis in (1, 2, 3)])
    assert np.allclose(np.abs(slopes).sum(axis=0), 1.0, atol=1e-4)
    assert {(int(a), int(s)) for a, s in zip(np.abs(slopes).argmax(axis=0),
            np.sign(slopes.sum(axis=0)), strict=True)} == {(a, s) for a in range(3)
                                                          for s in (-1, 1)}  # fmt: skip


def test_rounds_find_two_kinds_of_blocks() -> None:
    drawn = torch.randn((4000, BLOCK), generator=generator(3))
    scale = torch.full((4000, BLOCK), 0.01)
    scale[:3000, 0], scale[3000:, 1] = 1.0, 1.0
    blocks = drawn * scale
    guess = 0.05 * torch.eye(BLOCK).repeat(2, 1, 1)
    guess[0, 0, 0], guess[1, 1, 1] = 0.5, 0.5
    shares = torch.full((2,), 0.5)
    for _ in range(5):
        guess, shares = mixture.refined(blocks, guess, shares, float(blocks.square().mean()))
    assert shares.tolist() == pytest.approx([0.75, 0.25], abs=0.02)
    assert float(guess[0, 0, 0]) == pytest.approx(1.0, rel=0.1)
    assert float(guess[1, 1, 1]) == pytest.approx(1.0, rel=0.1)
    assert float(guess[0, 1, 1]) < 0.01


def test_the_mixture_is_the_same_for_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture, "BLOCKS", 4000)
    monkeypatch.setattr(mixture, "ROUNDS", 3)
    values = np.random.default_rng(0).random((16, 16, 16))
    found = [mixture.learn([volume(values, values > 0.1)], 3, seed) for seed in (1, 1, 2)]
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])
    assert not torch.equal(found[0][0], found[2][0])
    assert float(found[0][1].sum()) == pytest.approx(1.0)
    # a covariance whose least axis is that of the mean, which was taken off
    assert (torch.linalg.eigvalsh(found[0][0]) > 0).all()
