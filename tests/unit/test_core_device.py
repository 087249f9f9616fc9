"""A job that was given a GPU does not fall back to the CPU in silence."""

from __future__ import annotations

import pytest
import torch

from pipeline import device
from pipeline.errors import VoxelwayError


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*device.LISTS, *device.COUNTS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv(device.SINGLE, raising=False)
    monkeypatch.setattr(device, "_used", {"device": "cpu", "arithmetic": ""})


def test_without_a_gpu_and_without_asking_the_cpu() -> None:
    assert device.choose() == torch.device("cpu")


def test_a_visible_gpu_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GPU of a test")
    assert device.choose().type == "cuda"
    assert device.used() == "GPU of a test"


@pytest.mark.parametrize("name", (*device.LISTS, *device.COUNTS))
def test_a_gpu_that_was_given_and_is_not_seen_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(VoxelwayError, match=f"E-GPU.*{name}=1.*torch sees none"):
        device.choose()


def test_zero_gpus_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_GPUS_ON_NODE", "0")
    assert device.choose() == torch.device("cpu")


def test_the_gpu_numbered_zero_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    with pytest.raises(VoxelwayError, match="E-GPU"):
        device.choose()


def let_the_cpu_have(monkeypatch: pytest.MonkeyPatch, *units: str) -> None:
    for name in device.BFLOAT16_UNITS:
        has = name in units
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda has=has: has, raising=False)


@pytest.mark.parametrize(
    ("units", "single", "told"),
    [
        (["amx_tile"], "", "cpu, bfloat16"),
        (["avx512_bf16"], "", "cpu, bfloat16"),
        (["amx_tile", "avx512_bf16"], "", "cpu, bfloat16"),
        ([], "", "cpu"),
        (["amx_tile"], "1", "cpu"),
    ],
)
def test_networks_take_bfloat16_where_the_cpu_is_made_for_it(
    monkeypatch: pytest.MonkeyPatch, units: list[str], single: str, told: str
) -> None:
    let_the_cpu_have(monkeypatch, *units)
    monkeypatch.setenv(device.SINGLE, single)
    layer, image = torch.nn.Conv3d(1, 2, 3), torch.ones(1, 1, 4, 4, 4)
    with torch.inference_mode(), device.autocast(torch.device("cpu")):
        found = layer(image)
    assert (found.dtype == torch.bfloat16) == told.endswith("bfloat16")
    assert device.used() == told


def test_a_gpu_without_bfloat16_stays_with_single_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    assert not device.autocast(torch.device("cuda"))._enabled


@pytest.mark.parametrize("tiles", [True, False])
def test_weights_are_laid_out_for_bfloat16_and_stay_the_same(
    monkeypatch: pytest.MonkeyPatch, tiles: bool
) -> None:
    let_the_cpu_have(monkeypatch, *(["amx_tile"] if tiles else []))
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv3d(3, 4, 3), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    image = torch.rand(1, 3, 6, 6, 6)
    expected = network(image)
    network.train()
    ready = device.ready(network, torch.device("cpu"))
    assert not ready.training
    last = ready[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert last is tiles
    assert all(torch.equal(value, before[name]) for name, value in ready.state_dict().items())
    assert torch.allclose(ready(image), expected, atol=1e-6)
