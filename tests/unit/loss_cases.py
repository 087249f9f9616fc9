"""Images for the tests of losses of a registration."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def blobs(seed: int = 0, shape: tuple[int, int, int] = (12, 14, 13)) -> Tensor:
    """Smooth, of many grey levels, spread over 0.05 to 0.95."""
    rough = noise(1, 1, *(n + 4 for n in shape), seed=seed)
    smooth = functional.avg_pool3d(rough, 5, 1)
    low, high = smooth.min(), smooth.max()
    return 0.05 + 0.9 * (smooth - low) / (high - low)
