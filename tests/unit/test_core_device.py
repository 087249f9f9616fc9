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


def test_without_a_gpu_and_without_asking_the_cpu() -> None:
    assert device.choose() == torch.device("cpu")


def test_a_visible_gpu_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.choose().type == "cuda"


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
