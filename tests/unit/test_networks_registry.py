"""Every architecture: any shape, near identity at the start, trainable, the same every time."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from pipeline import networks
from pipeline.errors import VoxelwayError
from pipeline.networks import spatial
from pipeline.networks.deformation import Deformation
from pipeline.networks.parts import deform, double

NARROW = {"encoder": [4, 4, 4], "decoder": [4, 4, 4], "final": [4]}
# one entry for each way of building that takes another path
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "voxelmorph": ("voxelmorph", NARROW),
    "voxelmorph full": ("voxelmorph", {**NARROW, "resolution": "full"}),
    "voxelmorph displacement": ("voxelmorph", {**NARROW, "field": "displacement"}),
    "faim": ("faim", {}),
    "faim velocity": ("faim", {"field": "velocity"}),
    "affine": ("affine", {"features": [4, 8], "grid": 2}),
    "admir": ("admir", {"affine": {"features": [4, 8]}, "deformable": NARROW}),
    "admir displacement": ("admir", {"deformable": {**NARROW, "field": "displacement"}}),
}
SHAPE = (13, 18, 11)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def images() -> tuple[Tensor, Tensor]:
    return noise(2, 1, *SHAPE), noise(2, 1, *SHAPE, seed=1)


def smooth_images() -> tuple[Tensor, Tensor]:
    """Smooth, so that the fields of networks with random weights are smooth too."""
    pool = torch.nn.functional.avg_pool3d
    padded = [torch.nn.functional.pad(image, (3,) * 6) for image in images()]
    one, two = (pool(image, 7, 1) for image in padded)
    return one, two


def network(case: str) -> nn.Module:
    torch.manual_seed(3)
    name, arguments = CASES[case]
    return networks.build(name, arguments)


def shaken(module: nn.Module) -> nn.Module:
    """Far from its start, so that the fields are not nearly zero."""
    torch.manual_seed(4)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "flow" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            if "logarithm.bias" in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return module


def test_listing_needs_no_torch() -> None:
    code = "import sys; import pipeline.networks as n; n.available(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_architecture_is_listed_and_helpers_are_not() -> None:
    listed = networks.available()
    assert {"admir", "affine", "autoencoder", "critic", "faim", "voxelmorph"} <= set(listed)
    assert not {"__init__", "spatial", "deformation", "parts"} & set(listed)


def test_each_listed_architecture_builds_by_default() -> None:
    for name in networks.available():
        taken = inspect.signature(importlib.import_module(networks.module_name(name)).ARCHITECTURE)
        asked = [key for key, one in taken.parameters.items() if one.default is one.empty]
        known = {"inputs": 1, "targets": 1, "classes": 2, "outputs": 2}
        needed = {key: known[key] for key in asked}
        network = networks.build(name, needed)
        parameters = sum(weight.numel() for weight in network.parameters())
        # small by default, so that a CPU can train it; V-Net is as published
        assert 1000 < parameters < (50_000_000 if name == "vnet" else 3_500_000), name


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("no_such_network", {}),
        ("spatial", {}),
        ("voxelmorph", {"depth": 3}),
        ("voxelmorph", {"field": "warp"}),
        ("voxelmorph", {"resolution": "third"}),
        ("voxelmorph", {"encoder": [8, 8], "decoder": [8]}),
        ("voxelmorph", {"encoder": [], "decoder": []}),
        ("faim", {"kernels": [2]}),
        ("affine", {"features": [0]}),
        ("admir", {"affine": {"encoder": [4]}}),
        ("critic", {"inputs": 0}),
    ],
)
def test_what_does_not_fit_is_refused(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(VoxelwayError) as caught:
        networks.build(name, arguments)
    assert caught.value.code == "E-MODEL-INPUT"
    assert name in caught.value.message


@pytest.mark.parametrize("case", CASES)
def test_starts_near_identity_on_a_shape_that_does_not_divide(case: str) -> None:
    moving, fixed = images()
    found: Deformation = network(case)(moving, fixed)
    assert found.displacement.shape == (2, 3, *SHAPE)
    assert 0 < found.displacement.abs().max() < 0.05
    if found.inverse is not None:
        assert found.inverse.shape == (2, 3, *SHAPE)
        assert found.inverse.abs().max() < 0.05


@pytest.mark.parametrize("case", CASES)
def test_gradients_reach_every_parameter(case: str) -> None:
    moving, fixed = images()
    module = shaken(network(case))
    found: Deformation = module(moving, fixed)
    moved = spatial.warp(moving, found.displacement)
    (moved - fixed).square().mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("case", CASES)
def test_same_seed_same_result_and_weights_survive_a_file(case: str) -> None:
    moving, fixed = images()
    first = shaken(network(case))
    second = network(case)
    assert torch.equal(second(moving, fixed)[0], network(case)(moving, fixed)[0])
    second.load_state_dict(load(save(first.state_dict())))
    assert torch.equal(first(moving, fixed)[0], second(moving, fixed)[0])


@pytest.mark.parametrize(
    "case", ["voxelmorph", "voxelmorph full", "faim velocity", "affine", "admir"]
)
def test_the_inverse_goes_back(case: str) -> None:
    moving, fixed = smooth_images()
    found: Deformation = shaken(network(case))(moving, fixed)
    assert found.inverse is not None
    there = found.displacement
    assert there.abs().max() > 0.2
    back = spatial.compose(there, found.inverse)
    inside = (..., slice(4, -4), slice(4, -4), slice(4, -4))
    assert back[inside].abs().max() < 0.2 * there[inside].abs().max()


def test_admir_is_the_affine_after_the_deformable() -> None:
    moving, fixed = images()
    found: Deformation = shaken(network("admir"))(moving, fixed)
    assert found.matrix is not None and found.warp is not None
    affine = spatial.affine_displacement(found.matrix, SHAPE)
    chained = spatial.compose(found.warp, affine)
    inside = (..., slice(3, -3), slice(3, -3), slice(3, -3))
    assert torch.allclose(found.displacement[inside], chained[inside], atol=1e-3)


def test_an_affine_does_not_mirror_and_turns_alike_along_all_axes() -> None:
    module = networks.build("affine", {"features": [4], "grid": 1})
    with torch.no_grad():
        bias = dict(module.named_parameters())["logarithm.bias"]
        # the logarithm of a quarter turn from z to x
        bias.view(3, 4)[0, 2], bias.view(3, 4)[2, 0] = -torch.pi / 2, torch.pi / 2
    found: Deformation = module(*images())
    assert found.matrix is not None
    expected = torch.tensor([[0.0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, 0]])
    assert torch.allclose(found.matrix, expected.expand(2, 3, 4), atol=1e-2)


def test_pooling_then_doubling_keeps_places() -> None:
    # a field that is linear in the voxel's place stays so: half i covers 2 i and 2 i + 1
    ramp = torch.arange(8.0).expand(1, 3, 8, 8, 8)
    half = torch.nn.functional.avg_pool3d(ramp, 2) / 2
    assert torch.allclose(double(half)[..., 1:-1], ramp[..., 1:-1], atol=1e-5)


def test_a_half_resolution_velocity_moves_twice_as_many_voxels() -> None:
    velocity = torch.full((1, 3, 4, 4, 4), 0.5)
    found = deform(velocity, (7, 8, 8), "velocity", 5)
    assert found.displacement.shape == (1, 3, 7, 8, 8)
    assert torch.allclose(found.displacement, torch.tensor(1.0), atol=1e-5)
    assert found.inverse is not None
    assert torch.allclose(found.inverse, torch.tensor(-1.0), atol=1e-5)


def test_a_deformable_map_follows_the_images_not_the_padding() -> None:
    # the same pair with zeros added at the ends gives the same field
    module = shaken(network("voxelmorph")).eval()
    moving, fixed = images()
    longer = [torch.nn.functional.pad(image, (0, 5, 0, 6, 0, 3)) for image in (moving, fixed)]
    short, long = module(moving, fixed)[0], module(*longer)[0]
    assert torch.allclose(short, long[:, :, :13, :18, :11], atol=1e-4)


@pytest.mark.parametrize("name", ["voxelmorph", "faim", "affine", "admir"])
def test_images_that_are_no_pair_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="one shape"):
        networks.build(name, {})(noise(1, 1, 8, 8, 8), noise(1, 1, 8, 8, 9))


def test_voxelmorph_learns_one_pair() -> None:
    axes = torch.meshgrid(*(torch.arange(16.0),) * 3, indexing="ij")
    ball = [
        torch.sigmoid(5 - torch.stack([axes[0] - c, axes[1] - 8, axes[2] - 7]).norm(dim=0))[
            None, None
        ]
        for c in (7.0, 8.5)
    ]
    module = network("voxelmorph")
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    errors = []
    for _ in range(25):
        optimiser.zero_grad()
        error = (spatial.warp(ball[0], module(*ball).displacement) - ball[1]).square().mean()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < 0.3 * errors[0]


def test_the_autoencoder_learns_its_image() -> None:
    torch.manual_seed(0)
    module = networks.build("autoencoder", {"features": [4, 8]})
    image = torch.nn.functional.avg_pool3d(noise(1, 1, 15, 14, 19), 3)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    errors = []
    for _ in range(30):
        optimiser.zero_grad()
        encoded = module(image)
        error = (encoded.image - image).square().mean()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert encoded.image.shape == image.shape
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert errors[-1] < 0.1 * errors[0]
    only = module(image, decode=False)
    assert only.image is None
    assert only.features.shape == (1, 8, 2, 1, 2)


def test_the_critic_scores_patches_with_bounded_gain() -> None:
    torch.manual_seed(0)
    critic = networks.build("critic", {"features": [4, 8]})
    pair = noise(1, 2, 9, 17, 12)
    for _ in range(20):  # the power iteration of the norms settles
        scores = critic(pair)
    assert scores.shape == (1, 1, 3, 5, 3)
    scores.square().mean().backward()
    for name, parameter in critic.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    critic.eval()
    weights = [
        layer.weight.flatten(1) for layer in critic.modules() if isinstance(layer, nn.Conv3d)
    ]
    assert len(weights) == 3
    for weight in weights:
        assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1.0, abs=0.05)
