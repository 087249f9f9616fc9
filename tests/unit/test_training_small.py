"""Convolutions of few voxels in mixed precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from pipeline.training.small import keep_exact

Layer = Callable[[], nn.Module]


def gradient(layer: nn.Module, image: torch.Tensor, *, half: bool) -> torch.Tensor:
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        made = layer(image)
    made.float().square().mean().backward()
    (weight,) = (p for name, p in layer.named_parameters() if name.endswith("weight"))
    assert weight.grad is not None
    return weight.grad.clone()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Conv3d(64, 16, 3, padding=1), (2, 4, 4)),
        (lambda: nn.Conv3d(64, 1, 4, padding=1), (3, 3, 3)),
        (lambda: nn.Conv3d(16, 16, 3, stride=2, padding=1), (8, 1, 8)),
        (lambda: nn.Conv3d(16, 16, 3, padding=2, dilation=2), (4, 8, 8)),
        (lambda: nn.ConvTranspose3d(16, 8, 4, padding=1), (2, 8, 8)),
    ],
)
def test_gradients_of_few_voxels_are_those_of_float32(
    layer: Layer, shape: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    own = layer()
    image = torch.randn(1, next(own.parameters()).shape[0 if "Trans" in repr(own) else 1], *shape)
    exact = gradient(own, image, half=False)
    keep_exact(own)
    assert torch.allclose(gradient(own, image, half=True), exact, rtol=0.05, atol=0.02)


def test_what_has_voxels_enough_stays_in_half_precision() -> None:
    layer = nn.Conv3d(4, 4, 3, padding=1)
    keep_exact(layer)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(1, 4, 3, 3, 3)).dtype == torch.bfloat16
        assert layer(torch.randn(1, 4, 2, 3, 3)).dtype == torch.float32
        # and what comes after it is in half precision again
        assert layer(torch.randn(1, 4, 3, 3, 3)).dtype == torch.bfloat16


def test_a_call_that_fails_leaves_autocast_as_it_was() -> None:
    layer = nn.Conv3d(4, 4, 3, padding=1)
    keep_exact(layer)
    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(RuntimeError):
            layer(torch.randn(1, 5, 2, 3, 3))
        assert torch.is_autocast_enabled("cpu")
