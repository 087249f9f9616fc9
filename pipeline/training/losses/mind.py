"""MIND: a description of each voxel's surroundings that does not depend on the contrast.

Heinrich et al. 2013, Towards realtime multimodal fusion for image-guided interventions using
self-similarities, doi:10.1007/978-3-642-40811-3_24 (MIND-SSC, the self-similarity context).
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_NEIGHBOURS = [(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)]
# neighbours of each other at the square root of two; the three pairs across are left out
PAIRS = [
    (one, two)
    for one, two in combinations(_NEIGHBOURS, 2)
    if sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) == 2
]
# voxels of a slab: descriptors of a whole head, with what their gradient needs, take 3 GB
SLAB = 1 << 18


class Mind(nn.Module):
    """Mean squared difference of the descriptors of two images.

    Value and gradient are computed together, slab by slab, so that the descriptors of the whole
    image are never held.

    Args:
        radius: the patches compared have the edge ``2 radius + 1``.
        dilation: distance of the neighbours in voxels.
        floor: least variance that distances are measured by, of images scaled to about 0 to 1; in
            a flat patch the distances are nothing but rounding, and are not blown up.
    """

    def __init__(self, radius: int = 1, dilation: int = 2, floor: float = 1e-6) -> None:
        super().__init__()
        if radius < 0 or dilation < 1 or floor <= 0:
            raise ValueError("radius is 0 or more, dilation 1 or more, floor above 0")
        self.radius = radius
        self.dilation = dilation
        self.floor = floor

    def forward(self, warped: Tensor, fixed: Tensor, weight: Tensor | None = None) -> Tensor:
        """Loss of two (B, 1, Z, Y, X) of any contrasts; its gradient flows to ``warped`` only.

        Args:
            warped: the moved image.
            fixed: the fixed image.
            weight: (B, 1, Z, Y, X), weight of each voxel.
        """
        if warped.dtype in (torch.float16, torch.bfloat16):
            warped = warped.float()
        padded = self._padded(warped), self._padded(fixed.detach().to(warped.dtype))
        if weight is None:
            weight = torch.ones_like(fixed)
        value: Tensor = _Difference.apply(*padded, weight, self)  # type: ignore[no-untyped-call]
        return value

    def descriptor(self, image: Tensor) -> Tensor:
        """The twelve self-similarities of each voxel of (B, 1, Z, Y, X), 0 to 1: (B, 12, ...)."""
        return self.of_padded(self._padded(image))

    def of_padded(self, padded: Tensor) -> Tensor:
        """Descriptors of an image whose border of ``radius + dilation`` voxels is taken off."""
        distances = torch.cat([self._distance(padded, one, two) for one, two in PAIRS], dim=1)
        distances = distances - distances.amin(dim=1, keepdim=True)
        variance = distances.mean(dim=1, keepdim=True).clamp_min(self.floor)
        return torch.exp(-distances / variance)

    def _distance(
        self, padded: Tensor, one: tuple[int, int, int], two: tuple[int, int, int]
    ) -> Tensor:
        square = (self._shifted(padded, one) - self._shifted(padded, two)).square()
        edge = 2 * self.radius + 1
        for axis in (2, 3, 4):
            size = square.shape[axis] - edge + 1
            parts = [square.narrow(axis, start, size) for start in range(edge)]
            square = sum(parts[1:], parts[0])
        return square / edge**3

    def _shifted(self, padded: Tensor, offset: tuple[int, int, int]) -> Tensor:
        cut = padded
        for axis, step in enumerate(offset):
            size = padded.shape[axis + 2] - 2 * self.dilation
            cut = cut.narrow(axis + 2, self.dilation * (1 + step), size)
        return cut

    def _padded(self, image: Tensor) -> Tensor:
        return functional.pad(image, (self.radius + self.dilation,) * 6, mode="replicate")


class _Difference(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, warped: Tensor, fixed: Tensor, weight: Tensor, mind: Mind) -> Tensor:
        gradient = ctx.needs_input_grad[0]
        weight = weight / (len(PAIRS) * weight.sum().clamp_min(1e-12))
        total = warped.new_zeros(())
        slope = torch.zeros_like(warped) if gradient else None
        length = weight.shape[2]
        step = max(1, SLAB * length // weight.numel())
        for start in range(0, length, step):
            size = min(step, length - start)
            margin = size + 2 * (mind.radius + mind.dilation)
            moved = warped.narrow(2, start, margin).detach().requires_grad_(gradient)
            with torch.no_grad():
                target = mind.of_padded(fixed.narrow(2, start, margin))
            with torch.set_grad_enabled(gradient):
                square = (mind.of_padded(moved) - target).square()
                part = (square * weight.narrow(2, start, size)).sum()
            total += part.detach()
            if slope is not None:
                slope.narrow(2, start, margin).add_(torch.autograd.grad(part, moved)[0])
        ctx.slope = slope
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.slope * upstream[0], None, None, None
