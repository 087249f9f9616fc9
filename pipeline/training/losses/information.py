"""Mutual information of two images, with its own gradient.

Mattes et al. 2003, PET-CT image registration in the chest using free-form deformations,
doi:10.1109/TMI.2003.809072: cubic Parzen windows on the moving image, plain bins on the fixed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# voxels at a time: sums in single precision stay short, and temporaries in the cache
CHUNK = 1 << 17
SUPPORT = 4


class MutualInformation(nn.Module):
    """Minus the mutual information in nats, over the whole images.

    The weight of each voxel in its four bins is added to the joint histogram, so that the memory
    does not grow with the number of bins; libraries keep a weight for each voxel and bin.

    Args:
        bins: of each image, over 0 to 1; values outside count as the nearest of these.
    """

    def __init__(self, bins: int = 32) -> None:
        super().__init__()
        if bins < 2 * SUPPORT:
            raise ValueError(f"there are {2 * SUPPORT} bins or more, not {bins}")
        self.bins = bins

    def forward(self, warped: Tensor, fixed: Tensor, weight: Tensor | None = None) -> Tensor:
        """Loss of two (B, C, Z, Y, X); its gradient flows to ``warped`` only.

        Each sample of the batch has a histogram of its own; the loss is their mean.

        Args:
            warped: the moved image, scaled to 0 to 1.
            fixed: the fixed image, likewise.
            weight: (B, C or 1, Z, Y, X), weight of each voxel.
        """
        losses = []
        for i in range(warped.shape[0]):
            share = None if weight is None else weight[i].expand_as(fixed[i]).reshape(-1)
            pair = warped[i].reshape(-1).float(), fixed[i].detach().reshape(-1).float()
            if warped.dtype == torch.float64:
                pair = warped[i].reshape(-1), fixed[i].detach().reshape(-1)
            losses.append(_Information.apply(*pair, share, self.bins))  # type: ignore[no-untyped-call]
        return torch.stack(losses).mean()


class _Information(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, warped: Tensor, fixed: Tensor, weight: Tensor | None, bins: int
    ) -> Tensor:
        total = warped.new_tensor(float(warped.numel())) if weight is None else weight.sum()
        total = total.double().clamp_min(1e-12)
        joint = torch.zeros(bins * bins, dtype=torch.float64, device=warped.device)
        for part in _chunks(warped.numel()):
            cells, shares, _ = _parzen(warped[part], fixed[part], bins)
            if weight is not None:
                shares = shares * weight[part]
            counts = torch.bincount(cells.view(-1), shares.view(-1), minlength=bins * bins)
            joint += counts.double()
        joint = (joint / total).view(bins, bins)
        rows, columns = joint.sum(1, keepdim=True), joint.sum(0, keepdim=True)
        ratio = joint.clamp_min(1e-300) / (rows * columns).clamp_min(1e-300)
        ctx.bins, ctx.total = bins, total
        # the column's term is the same for all bins of a voxel, and the slopes sum to zero
        ctx.slopes = (joint.clamp_min(1e-12) / rows.clamp_min(1e-12)).log()
        ctx.save_for_backward(warped, fixed, *([] if weight is None else [weight]))
        return -(joint * ratio.log()).sum().to(warped.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        warped, fixed, *weight = ctx.saved_tensors
        table = (ctx.slopes / ctx.total).to(warped.dtype).view(-1)
        slope = torch.empty_like(warped)
        for part in _chunks(warped.numel()):
            cells, _, changes = _parzen(warped[part], fixed[part], ctx.bins)
            slope[part] = -(table[cells] * changes).sum(0)
            if weight:
                slope[part] *= weight[0][part]
        return slope * upstream[0], None, None, None


def _chunks(count: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, count, CHUNK)]


def _parzen(warped: Tensor, fixed: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cells of the histogram (4, N) that voxels share in, their shares, and the shares' slopes."""
    # one bin stays free on either side for the tails of the windows
    scale = bins - 3
    place = 1 + warped.clamp(0, 1) * scale
    base = place.floor().clamp_max(bins - 3)
    t = place - base
    square, cube = t * t, t * t * t
    shares = torch.stack(
        [
            (1 - t) ** 3 / 6,
            (3 * cube - 6 * square + 4) / 6,
            (-3 * cube + 3 * square + 3 * t + 1) / 6,
            cube / 6,
        ]
    )
    changes = torch.stack(
        [
            -((1 - t) ** 2) / 2,
            (3 * square - 4 * t) / 2,
            (-3 * square + 2 * t + 1) / 2,
            square / 2,
        ]
    )
    inside = (warped >= 0) & (warped <= 1)
    column = (fixed.clamp(0, 1) * bins).long().clamp_max(bins - 1)
    offsets = torch.arange(-1, SUPPORT - 1, device=warped.device).view(-1, 1)
    cells = (base.long() + offsets) * bins + column
    return cells, shares, changes * (inside * scale)
