"""Probabilities beside labels: what all losses of segmentation are made of, computed once."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

#: Label of voxels that do not count.
IGNORED = -1


class Scored:
    """Probabilities and labels of one output.

    Args:
        logits: (B, K, *S).
        target: labels (B, *S), 0 to K - 1 and -1.

    Attributes:
        target: labels, 0 where they are ignored.
        known: 1 where they are not, 0 where they are (B, *S).
        logs: logarithms of the probabilities (B, K, *S), single precision.
    """

    def __init__(self, logits: Tensor, target: Tensor) -> None:
        # half precision is too coarse for sums over a volume
        logits = logits if logits.dtype == torch.float64 else logits.float()
        self.logs = torch.log_softmax(logits, dim=1)
        self.known = (target != IGNORED).to(self.logs.dtype)
        self.target = target.clamp_min(0)
        self.classes = logits.shape[1]

    @cached_property
    def probabilities(self) -> Tensor:
        """(B, K, *S), 0 where the label is ignored."""
        return self.logs.exp() * self.known[:, None]

    @cached_property
    def true_logs(self) -> Tensor:
        """Logarithm of the true class's probability, (B, *S), 0 where the label is ignored."""
        return self.logs.gather(1, self.target[:, None])[:, 0] * self.known

    @cached_property
    def count(self) -> Tensor:
        """Number of voxels that count, 1 at least."""
        return self.known.sum().clamp_min(1.0)

    @cached_property
    def volumes(self) -> Tensor:
        """Voxels of each class in the labels, (B, K)."""
        return self.by_class(self.known)

    @cached_property
    def predicted(self) -> Tensor:
        """Expected voxels of each class, (B, K)."""
        return self.probabilities.flatten(2).sum(dim=2)

    @cached_property
    def shared(self) -> Tensor:
        """Expected voxels of each class that are right, (B, K)."""
        return self.by_class(self.true_logs.exp() * self.known)

    def by_class(self, values: Tensor) -> Tensor:
        """Sums of values (B, *S) over the voxels of each class in the labels, (B, K)."""
        # cheaper than products with a one-hot copy of the labels; first along the last axis, as
        # one long sum in single precision would round what is added
        rows, labels = values.flatten(1, -2), self.target.flatten(1, -2)
        empty = values.new_zeros(*rows.shape[:2], self.classes)
        return empty.scatter_add(2, labels, rows).sum(dim=1)
