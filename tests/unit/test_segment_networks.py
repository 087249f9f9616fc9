"""Every segmentation network: one interface, honest divisor, trainable, the same every time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor, nn

from pipeline import networks
from pipeline.errors import VoxelwayError
from pipeline.networks.anisotropic import Anisotropic
from pipeline.networks.multiview import MultiView
from pipeline.networks.segmenter import Segmenter
from pipeline.networks.slicewise import Slicewise
from pipeline.networks.unet import UNet

NARROW: dict[str, Any] = {"channels": [8, 8, 12]}
THICK: dict[str, Any] = {**NARROW, "kernels": [[1, 3, 3], 3, 3], "strides": [1, [1, 2, 2], 2]}
DEEP: dict[str, Any] = {"deep_supervision": True, "dropout": 0.2}
TWO: dict[str, Any] = {"dims": 2}
LEVELS = (
    "unet", "residual_unet", "attention_unet", "unet_plus_plus", "dynunet", "multires_unet",
    "r2_unet", "resunet_plus_plus", "unet_3_plus",
)  # fmt: skip
# name and arguments of each way of building that takes another path; then how many outputs
CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    **{name: (name, NARROW, 1) for name in LEVELS},
    **{f"{name} 2D": (name, {**NARROW, **TWO}, 1) for name in LEVELS},
    **{f"{name} thick slices, deep": (name, {**THICK, **DEEP}, 2) for name in LEVELS},
    "dynunet residual": ("dynunet", {**NARROW, "residual": True}, 1),
    "segresnet": ("segresnet", {"blocks": [1, 1, 1]}, 1),
    "segresnet 2D": ("segresnet", {"blocks": [1, 1], **TWO}, 1),
    "segresnet thick slices, deep": (
        "segresnet", {"blocks": [1, 1, 1], "spacing": [4, 1, 1], **DEEP}, 2,
    ),
    "vnet 2D": ("vnet", {"dropout": 0.2, **TWO}, 1),
    "anisotropic": ("anisotropic", {"width": 4}, 1),
    "anisotropic deep": ("anisotropic", {"width": 4, "downsamplings": 1, **DEEP}, 4),
    "slicewise": ("slicewise", {"arguments": NARROW}, 1),
    "slicewise deep": (
        "slicewise",
        {"network": "segresnet", "arguments": {"blocks": [1, 1, 1]}, "deep_supervision": True}, 2,
    ),
    "multiview": ("multiview", {"arguments": {"width": 4}}, 1),
    "multiview shared 2.5D": (
        "multiview",
        {"network": "slicewise", "arguments": {"arguments": NARROW}, "shared": True}, 1,
    ),
}  # fmt: skip
CLASSES = 3


def told(case: str) -> dict[str, Any]:
    return {"inputs": 2, "outputs": CLASSES, **CASES[case][1]}


def build(case: str) -> Segmenter:
    torch.manual_seed(3)
    made = networks.build(CASES[case][0], told(case))
    assert isinstance(made, Segmenter)
    return made


def image(network: Segmenter, times: Sequence[int] = (3, 2, 4), batch: int = 2) -> Tensor:
    """Of sizes that are no multiple of more than the divisor."""
    chosen = times[-network.dims :]
    sizes = [number * edge for number, edge in zip(chosen, network.divisor, strict=True)]
    generator = torch.Generator().manual_seed(5)
    return torch.rand((batch, network.inputs, *sizes), generator=generator)


def test_every_network_of_this_interface_is_tested() -> None:
    found = set()
    for name in networks.available():
        module = __import__(networks.module_name(name), fromlist=["ARCHITECTURE"])
        if issubclass(module.ARCHITECTURE, Segmenter):
            found.add(name)
    assert found == {name for name, _, _ in CASES.values()}


@pytest.mark.parametrize("case", CASES)
def test_logits_of_every_level_while_training_and_of_the_finest_after(case: str) -> None:
    network, wanted = build(case), CASES[case][2]
    given = image(network)
    outputs = network.train()(given)
    assert len(outputs) == wanted
    assert all(one.shape[:2] == (2, CLASSES) for one in outputs)
    assert outputs[0].shape[2:] == given.shape[2:]
    counts = [one[0, 0].numel() for one in outputs]
    assert counts == sorted(counts, reverse=True)
    after = network.eval()(given)
    assert [one.shape for one in after] == [outputs[0].shape]


@pytest.mark.parametrize("case", CASES)
def test_gradients_reach_every_parameter(case: str) -> None:
    network = build(case).train()
    sum((one**2).sum() for one in network(image(network))).backward()
    silent = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert silent == []


@pytest.mark.parametrize("case", CASES)
def test_sizes_off_the_divisor_and_other_channels_are_refused(case: str) -> None:
    network = build(case)
    given = image(network)
    for axis, edge in enumerate(network.divisor):
        if edge > 1:
            less = given.narrow(2 + axis, 0, given.shape[2 + axis] - 1)
            with pytest.raises(ValueError, match="multiples"):
                network(less)
    with pytest.raises(ValueError, match="image has"):
        network(given[:, :1])


@pytest.mark.parametrize("case", CASES)
def test_the_seed_gives_the_same_network_and_results(case: str) -> None:
    one, two = build(case).eval(), build(case).eval()
    given = image(one)
    with torch.no_grad():
        assert torch.equal(one(given)[0], two(given)[0])
        assert torch.equal(one(given)[0], one(given)[0])


@pytest.mark.parametrize("case", CASES)
def test_one_image_of_a_batch_does_not_change_another(case: str) -> None:
    network = build(case).eval()
    given = image(network)
    with torch.no_grad():
        together, alone = network(given)[0][:1], network(given[:1])[0]
    assert torch.allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_a_network_can_be_copied_and_saved_after_a_step(case: str) -> None:
    network = build(case).train()
    given = image(network)
    network(given)
    torch.manual_seed(9)
    other = networks.build(CASES[case][0], told(case))
    other.load_state_dict(load(save(network.state_dict())))
    with torch.no_grad():
        wanted = network.eval()(given)[0]
        assert torch.equal(other.eval()(given)[0], wanted)
        assert torch.equal(copy.deepcopy(network)(given)[0], wanted)


@settings(max_examples=15, deadline=None)
@given(
    strides=st.lists(st.tuples(*[st.sampled_from([1, 2, 3])] * 3), min_size=1, max_size=2),
    times=st.tuples(*[st.integers(1, 2)] * 3),
    data=st.data(),
)
def test_any_strides_and_kernels(
    strides: list[tuple[int, ...]], times: tuple[int, ...], data: st.DataObject
) -> None:
    depth = len(strides) + 1
    size = st.tuples(*[st.sampled_from([1, 3])] * 3)
    kernels = data.draw(st.lists(size, min_size=depth, max_size=depth))
    network = UNet(1, 2, 3, [2] * depth, kernels, [1, *strides], blocks=1, deep_supervision=True)
    expected = [1, 1, 1]
    for stride in strides:
        expected = [have * more for have, more in zip(expected, stride, strict=True)]
    assert network.divisor == tuple(expected)
    given = image(network, (times[0] + 1, *times[1:]))
    outputs = network(given)
    assert outputs[0].shape == (2, 2, *given.shape[2:])
    assert len(outputs) == depth - 1


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("unet", {"dims": 4}),
        ("unet", {"outputs": 1}),
        ("unet", {"inputs": 0}),
        ("unet", {"channels": [8]}),
        ("unet", {"kernels": [3, 3]}),
        ("unet", {"kernels": [2, 3, 3, 3]}),
        ("unet", {"kernels": [[3, 3], 3, 3, 3]}),
        ("unet", {"strides": [2, 2, 2, 2]}),
        ("unet", {"strides": [1, 0, 2, 2]}),
        ("unet", {"dropout": 1.0}),
        ("unet", {"blocks": 0}),
        ("unet", {"width": 3}),
        ("vnet", {"inputs": 3, "dims": 2}),
        ("segresnet", {"features": 12}),
        ("segresnet", {"spacing": [1, 1]}),
        ("dynunet", {"channels": [8, 16]}),
        ("multires_unet", {"channels": [4, 8]}),
        ("resunet_plus_plus", {"channels": [6, 8]}),
        ("unet_3_plus", {"share": 0}),
        ("anisotropic", {"dims": 2}),
        ("anisotropic", {"downsamplings": 3}),
        ("slicewise", {"slices": 2}),
        ("slicewise", {"network": "voxelmorph"}),
        ("multiview", {"views": []}),
        ("multiview", {"views": [3]}),
        ("multiview", {"network": "unet", "arguments": {"dims": 2}}),
    ],
)
def test_arguments_that_make_no_network(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(VoxelwayError) as caught:
        networks.build(name, {"inputs": 1, "outputs": 2, **arguments})
    assert caught.value.code == "E-MODEL-INPUT"


def test_one_voxel_at_the_deepest_level_is_refused() -> None:
    network = build("unet")
    with pytest.raises(ValueError, match="above"):
        network(torch.zeros(1, 2, *network.divisor))


def test_dropout_can_be_drawn_from_a_network_that_is_not_trained() -> None:
    torch.manual_seed(0)
    network = UNet(1, 2, 3, [4, 8], dropout=0.5, deep_supervision=True).eval()
    given = image(network)
    assert torch.equal(network(given)[0], network(given)[0])
    for module in network.modules():
        if isinstance(module, nn.Dropout3d):
            module.train()
    outputs = network(given)
    assert len(outputs) == 1
    assert not torch.equal(outputs[0], network(given)[0])


def test_a_2d_network_sees_the_slices_beside_and_no_others() -> None:
    network = Slicewise(1, 2, arguments={"channels": [4, 8]}, slices=3).eval()
    given = torch.rand(1, 1, 6, 4, 8)
    changed = given.clone()
    changed[:, :, 2] += 1
    with torch.no_grad():
        apart = (network(given)[0] - network(changed)[0]).abs().amax(dim=(0, 1, 3, 4))
    assert (apart > 0).tolist() == [False, True, True, True, False, False]


def test_plain_2d_treats_every_slice_alike() -> None:
    network = Slicewise(1, 2, arguments={"channels": [4, 8]}, slices=1).eval()
    given = torch.rand(2, 1, 5, 4, 8)
    order = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        assert torch.allclose(
            network(given)[0][:, :, order], network(given[:, :, order])[0], atol=1e-6
        )


def test_the_receptive_field_across_slices_is_nine() -> None:
    torch.manual_seed(0)
    network = Anisotropic(1, 2, width=4).eval().double()
    given = torch.rand(1, 1, 15, 8, 8, dtype=torch.float64, requires_grad=True)
    # normalisation joins all voxels: it is taken out
    for module in network.modules():
        if isinstance(module, nn.GroupNorm):
            module.forward = lambda values: values  # type: ignore[method-assign]
    network(given)[0][:, :, 7].square().sum().backward()
    assert given.grad is not None
    reached = given.grad.abs().amax(dim=(0, 1, 3, 4)) > 0
    assert reached.nonzero().flatten().tolist() == list(range(3, 12))


def test_views_are_averaged_as_probabilities() -> None:
    torch.manual_seed(0)
    network = MultiView(1, 3, arguments={"width": 4}).eval()
    given = torch.rand(1, 1, 4, 8, 8)
    with torch.no_grad():
        found = network(given)[0].exp()
        whole = [net(given.movedim(2 + axis, 2))[0] for axis, net in enumerate(network.networks)]
    views = [one.softmax(dim=1).movedim(2, 2 + axis) for axis, one in enumerate(whole)]
    assert torch.allclose(found, sum(views) / 3, atol=1e-6)
    assert torch.allclose(found.sum(dim=1), torch.ones(1, 4, 8, 8), atol=1e-5)


def test_a_view_along_another_axis_is_the_turned_volume() -> None:
    torch.manual_seed(0)
    network = MultiView(1, 2, arguments={"width": 4}, views=[1]).eval()
    given = torch.rand(1, 1, 8, 3, 12)
    assert network.divisor == (4, 1, 4)
    with torch.no_grad():
        turned = network.networks[0](given.transpose(2, 3))[0].transpose(2, 3)
        assert torch.allclose(network(given)[0], turned.log_softmax(dim=1), atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_unet_learns_to_find_bright_blocks(dims: int) -> None:
    torch.manual_seed(0)
    network = UNet(1, 2, dims, [8, 16], deep_supervision=True).train()
    steps = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(25):
        given, target = blocks(dims)
        loss = nn.functional.cross_entropy(network(given)[0], target)
        steps.zero_grad()
        loss.backward()
        steps.step()
    given, target = blocks(dims)
    with torch.no_grad():
        found = network.eval()(given)[0].argmax(dim=1)
    dice = 2 * ((found == 1) & (target == 1)).sum() / ((found == 1).sum() + (target == 1).sum())
    assert dice > 0.95


def blocks(dims: int) -> tuple[Tensor, Tensor]:
    """A bright block in noise, elsewhere each time, and its labels."""
    edge = 16
    target = torch.zeros((2, *[edge] * dims), dtype=torch.int64)
    for one in target:
        starts = torch.randint(0, edge - 6, (dims,)).tolist()
        one[tuple(slice(start, start + 6) for start in starts)] = 1
    return (target + 0.2 * torch.randn(target.shape))[:, None], target
