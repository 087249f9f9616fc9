"""Losses of predicted classes against labels, their weighted sums, and deep supervision.

The softmax is taken once an output, and all terms of a sum use it. MONAI's losses each take a
softmax and a one-hot copy of their own, and have no label that is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.training.losses import segmentation_terms as terms
from pipeline.training.losses.entries import Term, read
from pipeline.training.losses.segmentation_scored import IGNORED, Scored

Loss = Callable[[Scored], Tensor]

LOSSES: dict[str, Callable[..., Loss]] = {
    "cross_entropy": terms.CrossEntropy,
    "dice": terms.Dice,
    "generalised_dice": terms.GeneralisedDice,
    "focal": terms.Focal,
    "combo": terms.Combo,
    "boundary": terms.Boundary,
    "exponential_logarithmic": terms.ExponentialLogarithmic,
    "tversky": terms.Tversky,
}


@dataclass(frozen=True)
class SegmentationSum:
    """A sum of losses over the outputs of a network, each half as heavy as the finer one."""

    terms: tuple[Term, ...]

    def __call__(self, outputs: Sequence[Tensor], target: Tensor) -> dict[str, Tensor]:
        """The sum as ``loss``, and each term by its key, unweighted, for the log.

        Args:
            outputs: logits (B, K, *S_k), finest first.
            target: labels (B, *S) of 0 to K - 1, int64; -1 is ignored.

        Raises:
            ValueError: when the labels are not of the batch, or above K - 1 or below -1.
            VoxelwayError: E-CONFIG-VALUE for class weights that are not as many as the classes.
        """
        _check(outputs, target)
        scales = [0.5**k for k in range(len(outputs))]
        values = {term.key: target.new_zeros((), dtype=torch.float32) for term in self.terms}
        for scale, logits in zip(scales, outputs, strict=True):
            scored = Scored(logits, shrunk(target, logits.shape[2:]))
            for term in self.terms:
                share = scale / sum(scales)
                values[term.key] = values[term.key] + share * term.loss(scored)
        total = torch.stack([term.weight * values[term.key] for term in self.terms]).sum()
        return {"loss": total, **{key: value.detach() for key, value in values.items()}}


def build(entries: Sequence[Mapping[str, Any]]) -> SegmentationSum:
    """Make the sum that a configuration describes.

    Args:
        entries: each has the ``name`` of a loss, its ``weight`` (1 if left out), and the loss's
            own arguments. A loss may come twice; the second is logged as ``dice_2``.

    Raises:
        VoxelwayError: E-CONFIG-VALUE for no entry, an unknown name, a negative weight or
            arguments that do not fit.
    """
    return SegmentationSum(read(entries, LOSSES))


def shrunk(target: Tensor, shape: Sequence[int]) -> Tensor:
    """Labels (B, *S) on a coarser grid, each the nearest one (the first, where two are)."""
    if tuple(target.shape[1:]) == tuple(shape):
        return target
    # no nearest neighbour of integers; float32 holds every label
    values = functional.interpolate(target[:, None].float(), size=tuple(shape), mode="nearest")
    return values[:, 0].to(target.dtype)


def _check(outputs: Sequence[Tensor], target: Tensor) -> None:
    if not outputs:
        raise ValueError("there are no outputs")
    finest = outputs[0]
    if finest.shape[0] != target.shape[0] or finest.shape[2:] != target.shape[1:]:
        shapes = f"{tuple(finest.shape)} and {tuple(target.shape)}"
        raise ValueError(f"logits are (B, K, *S) and labels (B, *S), not {shapes}")
    low, high = (int(value) for value in torch.aminmax(target))
    if low < IGNORED or high >= finest.shape[1]:
        raise ValueError(f"labels are -1 to {finest.shape[1] - 1}, not {low} to {high}")
