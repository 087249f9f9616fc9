"""Pool of past made images: the critic judges older ones too, and does not swing with the newest.

Shrivastava et al. 2017, doi:10.1109/CVPR.2017.241; in the cycle-consistent network Zhu et al. 2017,
doi:10.1109/ICCV.2017.244.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ImagePool(nn.Module):
    """Images kept in buffers: as a network of a recipe it is part of every checkpoint.

    Args:
        size: images that are kept; 0 keeps none.
        shape: of one image, (C, Z, Y, X).
    """

    kept: Tensor
    count: Tensor

    def __init__(self, size: int, shape: Sequence[int]) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("kept", torch.zeros(size, *shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """The images, or at a chance of a half a kept one in place of each, which it replaces.

        Args:
            images: (B, C, Z, Y, X), newly made; until the pool is full they are kept and returned.
        """
        found = images.detach().clone()
        for k in range(len(found)) if self.size else ():
            filled = int(self.count)
            if filled < self.size:
                self.kept[filled] = found[k].to(self.kept.dtype)
                self.count += 1
            elif float(torch.rand(())) < 0.5:
                place = int(torch.randint(self.size, ()))
                older = self.kept[place].clone().to(found.dtype)
                self.kept[place] = found[k].to(self.kept.dtype)
                found[k] = older
        return found
