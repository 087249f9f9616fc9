"""Convolutions of few voxels stay in float32 on a CPU.

With torch 2.13 the gradient of the weights of a 3D convolution in bfloat16 is arbitrary memory on a
CPU (of any size up to 1e38, or not a number) where an image has fewer voxels along an axis than the
kernel; what such a convolution gives forward, 2D ones and GPUs are right. The deepest level of a
small patch and critics come there. They are the cheapest layers, so that float32 costs nothing.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

KINDS = (nn.Conv3d, nn.ConvTranspose3d)


def keep_exact(network: nn.Module) -> None:
    """Let a network's 3D convolutions leave autocast where the image is smaller than the kernel."""
    for module in network.modules():
        if isinstance(module, KINDS):
            keeper = _Keeper()
            module.register_forward_pre_hook(keeper.before)
            module.register_forward_hook(keeper.after, always_call=True)


class _Keeper:
    """Takes one convolution out of autocast, call by call."""

    def __init__(self) -> None:
        self.left: list[ExitStack | None] = []

    def before(self, module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Leave autocast where the image is small."""
        assert isinstance(module, KINDS)
        image = given[0]
        reach = [d * (k - 1) + 1 for k, d in zip(module.kernel_size, module.dilation, strict=True)]
        small = any(n < r for n, r in zip(image.shape[-3:], reach, strict=True))
        if not small or image.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            self.left.append(None)
            return None
        stack = ExitStack()
        stack.enter_context(torch.autocast("cpu", enabled=False))
        self.left.append(stack)
        return (image.float(), *given[1:])

    def after(self, module: nn.Module, given: Any, found: Any) -> None:
        """Go back."""
        stack = self.left.pop()
        if stack is not None:
            stack.close()
