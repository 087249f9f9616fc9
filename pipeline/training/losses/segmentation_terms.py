"""Terms of the losses of segmentation: each takes a :class:`Scored`, and returns a scalar.

Voxels whose label is -1 count nowhere. Terms of overlap leave out a class that the labels do not
have: its overlap is 0 whatever is predicted (Tilborghs et al. 2022, doi:10.48550/arXiv.2207.09521).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from pipeline.errors import VoxelwayError
from pipeline.training.losses.segmentation_scored import IGNORED, Scored

#: Smallest argument of a logarithm, and of a power below one: slopes stay finite.
SMALLEST = 1e-6


def _check_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {low:g} to {high:g}, not {value}")


def _weights(weights: Sequence[float] | None) -> tuple[float, ...] | None:
    if weights is None:
        return None
    if not weights or min(weights) < 0 or max(weights) <= 0:
        raise ValueError("class weights are 0 or more, one above 0 at least")
    return tuple(float(weight) for weight in weights)


def _check_count(name: str, values: Sequence[float], scored: Scored) -> None:
    if len(values) != scored.classes:
        what = f"There are {len(values)} {name} of the loss for {scored.classes} classes"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint="One a class, the background's first")


def _by_voxel(weights: Sequence[float] | None, scored: Scored) -> Tensor:
    """Weight of each voxel by its class, (B, *S), 0 where the label is ignored."""
    if weights is None:
        return scored.known
    _check_count("class weights", weights, scored)
    table = scored.known.new_tensor(weights)
    return table[scored.target] * scored.known


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return values.sum() / weight.sum().clamp_min(SMALLEST)


@dataclass(frozen=True)
class CrossEntropy:
    """Mean of -ln p of the true class; with class weights, the weighted mean."""

    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        _weights(self.weights)

    def __call__(self, scored: Scored) -> Tensor:
        """A scalar, 0 or more."""
        weight = _by_voxel(self.weights, scored)
        return _mean(-scored.true_logs * weight, weight)


@dataclass(frozen=True)
class Focal:
    """Mean of -(1 - p)^gamma ln p: what is easy counts less.

    Lin et al. 2017, doi:10.1109/ICCV.2017.324.
    """

    gamma: float = 2.0
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        _check_range("gamma", self.gamma, 0)
        _weights(self.weights)

    def __call__(self, scored: Scored) -> Tensor:
        """A scalar, 0 or more."""
        weight = _by_voxel(self.weights, scored)
        missed = (1.0 - scored.true_logs.exp()).clamp_min(SMALLEST)
        return _mean(-(missed**self.gamma) * scored.true_logs * weight, weight)


def _present(
    scored: Scored, background: bool, batch: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Right, predicted and true voxels of each class, and whether the labels have it.

    Each (1, K) with ``batch``, which takes the batch as one volume, else (B, K).
    """
    first = 0 if background else 1
    sums = [one[:, first:] for one in (scored.shared, scored.predicted, scored.volumes)]
    if batch:
        sums = [one.sum(dim=0, keepdim=True) for one in sums]
    shared, predicted, volumes = sums
    return shared, predicted, volumes, (volumes > 0).to(volumes.dtype)


@dataclass(frozen=True)
class Tversky:
    """One less the Tversky index: Dice whose false positives and negatives weigh differently.

    Salehi et al. 2017, doi:10.1007/978-3-319-67389-9_44.

    Args:
        alpha: weight of false positives.
        beta: weight of false negatives.
        background: whether class 0 counts.
        batch: the overlap of the whole batch instead of the mean of its images.
    """

    alpha: float = 0.3
    beta: float = 0.7
    background: bool = False
    batch: bool = True

    def __post_init__(self) -> None:
        _check_range("alpha", self.alpha, 0)
        _check_range("beta", self.beta, 0)
        _check_range("alpha + beta", self.alpha + self.beta, SMALLEST)

    def index(self, scored: Scored) -> tuple[Tensor, Tensor]:
        """The index and whether the class is there, both (1 or B, K or K - 1)."""
        shared, predicted, volumes, there = _present(scored, self.background, self.batch)
        wrong = self.alpha * (predicted - shared) + self.beta * (volumes - shared)
        return shared / (shared + wrong).clamp_min(SMALLEST), there

    def __call__(self, scored: Scored) -> Tensor:
        """A scalar, 0 to 1; 0 where the labels have no class that counts."""
        index, there = self.index(scored)
        return _mean((1.0 - index) * there, there)


@dataclass(frozen=True)
class Dice:
    """One less the soft Dice, the mean over classes.

    Milletari et al. 2016, doi:10.1109/3DV.2016.79, with plain sums in the denominator.

    Args:
        background: whether class 0 counts.
        batch: the overlap of the whole batch instead of the mean of its images.
    """

    background: bool = False
    batch: bool = True

    def __call__(self, scored: Scored) -> Tensor:
        """A scalar, 0 to 1; 0 where the labels have no class that counts."""
        return Tversky(0.5, 0.5, self.background, self.batch)(scored)


@dataclass(frozen=True)
class GeneralisedDice:
    """One less the Dice over all classes, each weighted by one over its squared volume.

    Sudre et al. 2017, doi:10.1007/978-3-319-67558-9_28.

    Args:
        background: whether class 0 counts.
        batch: the overlap of the whole batch instead of the mean of its images.
    """

    background: bool = True
    batch: bool = True

    def __call__(self, scored: Scored) -> Tensor:
        """A scalar, 0 to 1; 0 where the labels have no class that counts."""
        shared, predicted, volumes, there = _present(scored, self.background, self.batch)
        weight = there / volumes.clamp_min(1.0) ** 2
        both = (weight * (predicted + volumes)).sum(dim=1)
        lost = 1.0 - 2.0 * (weight * shared).sum(dim=1) / both.clamp_min(1e-12)
        any_there = there.amax(dim=1)
        return _mean(lost * any_there, any_there)


@dataclass(frozen=True)
class Combo:
    """Cross-entropy of each class against the others, and Dice.

    Taghanaki et al. 2019, doi:10.1016/j.compmedimag.2019.04.005.

    Args:
        alpha: share of the cross-entropy; the rest is Dice's.
        beta: above 0.5 it punishes false negatives more than false positives.
        background: whether class 0 counts in the Dice.
    """

    alpha: float = 0.5
    beta: float = 0.5
    background: bool = False

    def __post_init__(self) -> None:
        _check_range("alpha", self.alpha, 0, 1)
        _check_range("beta", self.beta, 0, 1)

    def __call__(self, scored: Scored) -> Tensor:
        """A scalar, 0 or more."""
        others = torch.log((1.0 - scored.probabilities).clamp_min(SMALLEST))
        of_true = others.gather(1, scored.target[:, None])[:, 0]
        negatives = -(others.sum(dim=1) - of_true) * scored.known
        entropy = -self.beta * scored.true_logs + (1.0 - self.beta) * negatives
        mean = entropy.sum() / (scored.count * scored.classes)
        return self.alpha * mean + (1.0 - self.alpha) * Dice(self.background)(scored)


@dataclass(frozen=True)
class ExponentialLogarithmic:
    """Powers of -ln Dice and of the cross-entropy, for structures of very unequal size.

    Wong et al. 2018, doi:10.1007/978-3-030-00931-1_70.

    Args:
        gamma: exponent; below 1 it raises the weight of what is nearly right.
        dice: weight of the Dice part.
        entropy: weight of the cross-entropy part.
        frequencies: voxels of each class in the training data; the batch's if None.
        background: whether class 0 counts in the Dice.
    """

    gamma: float = 0.3
    dice: float = 0.8
    entropy: float = 0.2
    frequencies: Sequence[float] | None = None
    background: bool = True

    def __post_init__(self) -> None:
        for name in ("gamma", "dice", "entropy"):
            _check_range(name, getattr(self, name), 0)
        if self.frequencies is not None and min(self.frequencies, default=0) <= 0:
            raise ValueError("frequencies are above 0")

    def __call__(self, scored: Scored) -> Tensor:
        """A scalar, 0 or more."""
        index, there = Tversky(0.5, 0.5, self.background).index(scored)
        overlap = self._power(-torch.log(index.clamp_min(SMALLEST)))
        counts = scored.volumes.sum(dim=0)
        if self.frequencies is not None:
            _check_count("frequencies", self.frequencies, scored)
            counts = counts.new_tensor(self.frequencies)
        # a class that the batch does not have has no voxel to weigh
        rare = torch.sqrt(counts.sum() / counts.clamp_min(1.0))
        weight = _by_voxel(rare.tolist(), scored)
        entropy = (self._power(-scored.true_logs) * weight).sum() / scored.count
        return self.dice * _mean(overlap * there, there) + self.entropy * entropy

    def _power(self, values: Tensor) -> Tensor:
        return values.clamp_min(SMALLEST) ** self.gamma


@dataclass(frozen=True)
class Boundary:
    """Mean over voxels of the probability times the signed distance to the true boundary, voxels.

    Distances are positive outside and negative inside, so that the least is below 0. To be summed
    with a term of overlap, its weight small at first. It takes a distance map a structure and
    image on the CPU, so that many structures slow the training down.

    Kervadec et al. 2019, doi:10.1016/j.media.2020.101851.

    Args:
        background: whether class 0 counts.
    """

    background: bool = False

    def __call__(self, scored: Scored) -> Tensor:
        """A scalar of either sign; 0 where the labels have no class that counts."""
        first = 0 if self.background else 1
        labels = torch.where(scored.known > 0, scored.target, IGNORED).cpu().numpy()
        distances = np.zeros((len(labels), scored.classes, *labels.shape[1:]), np.float32)
        for item, volume in enumerate(labels):
            for label in range(first, scored.classes):
                distances[item, label] = signed_distance(volume == label)
        count = scored.count * (scored.classes - first)
        values = torch.from_numpy(distances).to(scored.logs)
        return (scored.probabilities * values).sum() / count


def signed_distance(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance to the boundary, voxels: above 0 outside, below 0 inside, 0 if there is none."""
    if inside.all() or not inside.any():
        return np.zeros(inside.shape, np.float32)
    outer = ndimage.distance_transform_edt(~inside)
    inner = ndimage.distance_transform_edt(inside)
    # the first voxels on both sides are as far from the face between them
    return np.asarray(np.where(inside, 0.5 - inner, outer - 0.5), dtype=np.float32)
