"""The pyramid, the forces that it follows and the filters under both."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import networks
from pipeline.networks import filters, forces, spatial
from pipeline.networks.pyramid import Pyramid
from pipeline.training.losses.similarity import LocalNCC


def textured(shape: tuple[int, int, int], seed: int = 0) -> torch.Tensor:
    """A blob with texture, zero outside, (1, 1, Z, Y, X)."""
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype("f4"))
    texture = filters.gaussian(noise[None, None], 2.0)
    axes = [torch.linspace(-1, 1, n) for n in shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    inside = (z**2 + y**2 + x**2 < 0.7)[None, None]
    return torch.where(inside, (0.5 + 0.2 * texture / texture.std()).clamp(0.05, 1), 0.0)


def smooth_field(shape: tuple[int, int, int], largest: float, seed: int = 1) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    noise = torch.from_numpy(rng.standard_normal((1, 3, *shape)).astype("f4"))
    field = filters.gaussian(noise, 4.0)
    return spatial.integrate(field * largest / (2 * field.std()))


@given(st.floats(0.3, 2.0), st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_gaussian_keeps_constants_and_commutes_with_mirrors(sigma: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    volume = torch.from_numpy(rng.standard_normal((1, 2, 6, 7, 8)))
    assert torch.allclose(filters.gaussian(volume * 0 + 3, sigma), volume * 0 + 3)
    mirrored = filters.gaussian(volume.flip(-1), sigma).flip(-1)
    assert torch.allclose(filters.gaussian(volume, sigma), mirrored)


def test_gaussian_of_one_voxel_by_hand() -> None:
    volume = torch.zeros(1, 1, 9, 9, 9)
    volume[0, 0, 4, 4, 4] = 1
    smooth = filters.gaussian(volume, 1.0)
    ratio = float(smooth[0, 0, 4, 4, 5] / smooth[0, 0, 4, 4, 4])
    assert ratio == pytest.approx(np.exp(-0.5), rel=1e-5)
    assert float(smooth.sum()) == pytest.approx(1, rel=1e-5)
    assert filters.gaussian(volume, 0.0) is volume


def test_coarser_keeps_the_corners_in_place() -> None:
    z = torch.arange(13.0).view(1, 1, 13, 1, 1).expand(1, 1, 13, 12, 11)
    coarse = filters.coarser(z.contiguous(), 2.0)
    assert coarse.shape[2:] == (6, 6, 6)
    inner = coarse[0, 0, 1:-1, 2, 2]
    assert torch.allclose(inner, torch.linspace(0, 12, 6)[1:-1], atol=1e-4)
    assert filters.coarser(z, 1) is z


def test_force_of_the_correlation_is_its_gradient() -> None:
    shape = (12, 13, 14)
    moving, fixed = textured(shape), spatial.warp(textured(shape), smooth_field(shape, 1.0))
    loss = LocalNCC(5, epsilon=1e-3)
    # between voxels, where the derivative of the interpolation has one value
    field = torch.full((1, 3, *shape), 0.5, requires_grad=True)
    moved = spatial.warp(moving, field)
    loss(moved, fixed).backward()
    found = forces.Correlation(fixed, 5)(field.detach(), moved.detach())
    assert field.grad is not None
    same = torch.nn.functional.cosine_similarity(-field.grad.flatten(), found.flatten(), dim=0)
    assert float(same) > 0.9


@pytest.mark.parametrize("kind", ["correlation", "self-similarity"])
def test_forces_pull_a_shifted_image_back(kind: str) -> None:
    image = textured((20, 20, 20))
    moving = torch.roll(image, 1, dims=4)  # the moving point is one voxel further along x
    field = torch.zeros(1, 3, 20, 20, 20)
    force = (
        forces.Correlation(image, 5)
        if kind == "correlation"
        else forces.SelfSimilarity(moving, image)
    )
    mean = force(field, moving)[0, :, 4:-4, 4:-4, 4:-4].mean(dim=(1, 2, 3))
    assert float(mean[2]) > 2 * float(mean[:2].abs().max())


def test_contrasts_are_told_apart() -> None:
    image = textured((16, 18, 20))
    inverted = torch.where(image > 0, 1.1 - image, 0.0)
    assert forces.alike(image, 0.5 * image)
    assert not forces.alike(image, inverted)
    assert forces.alike(image * 0, image)  # nothing to tell by: as of one contrast


@given(st.integers(0, 5))
@settings(max_examples=4, deadline=None)
def test_inverse_of_a_field(seed: int) -> None:
    field = smooth_field((20, 22, 24), 2.0, seed)
    there = spatial.compose(field, spatial.invert(field))[..., 4:-4, 4:-4, 4:-4]
    assert float(there.norm(dim=1).max()) < 0.1


@pytest.mark.parametrize(("contrast", "left"), [("same", 0.5), ("inverted", 0.8)])
def test_untrained_it_is_an_optimiser(contrast: str, left: float) -> None:
    shape = (33, 30, 27)  # divides by nothing
    moving = textured(shape)
    truth = smooth_field(shape, 2.5)
    fixed = spatial.warp(moving, truth)
    shown = fixed if contrast == "same" else torch.where(fixed > 0, 1.1 - fixed, 0.0)
    network = Pyramid(factors=(2, 1), iterations=(20, 20)).eval()
    with torch.no_grad():
        found = network(moving, shown)
    inside = (fixed > 0).expand(1, 3, *shape)
    before = float(truth[inside].abs().mean())
    after = float((found.displacement - truth)[inside].abs().mean())
    assert after < left * before
    assert float(spatial.jacobian_determinant(found.displacement).min()) > 0
    assert found.displacement.shape == found.inverse.shape == (1, 3, *shape)


def test_levels_one_by_one_are_the_whole() -> None:
    shape = (24, 26, 22)
    moving = textured(shape)
    fixed = spatial.warp(moving, smooth_field(shape, 2.0))
    network = Pyramid(factors=(2, 1), iterations=(4, 4)).eval()
    with torch.no_grad():
        whole = network(moving, fixed).displacement
        coarse = [filters.coarser(image, 2) for image in (moving, fixed)]
        first = network(*coarse, level=0, same=True).displacement
        start = spatial.resize(first, shape)
        second = network(moving, fixed, level=1, start=start, same=True).displacement
    assert torch.allclose(whole, second, atol=1e-5)


def test_every_weight_learns_but_those_behind_the_zeros() -> None:
    torch.manual_seed(0)
    network = Pyramid(factors=(2, 1), iterations=(2, 2), hidden=4)
    shape = (16, 16, 16)
    moving, fixed = textured(shape), textured(shape, 3)
    for _ in range(2):  # the last layer starts at zero, so that the others learn from step two on
        network.zero_grad()
        loss = LocalNCC(5)(spatial.warp(moving, network(moving, fixed).displacement), fixed)
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= 0.1 * parameter.grad
    assert all(float(p.grad.abs().sum()) > 0 for p in network.parameters())


def test_it_is_in_the_registry() -> None:
    assert "pyramid" in networks.available()
    network = networks.build("pyramid", {"hidden": 4, "factors": [2, 1], "iterations": [1, 1]})
    assert isinstance(network, Pyramid)
    assert "forces" not in networks.available() and "spatial" not in networks.available()
