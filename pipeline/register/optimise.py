"""Diffeomorphic optimisation of one pair, coarse to fine, from any start.

Steps along the gradient of the similarity are scaled by Adam's moments, smoothed, bounded and
composed with the field so far: Jena et al. 2024, FireANTs: adaptive Riemannian optimization for
multi-scale diffeomorphic matching, doi:10.48550/arXiv.2404.01249, with the smoothing of the greedy
scheme of Yushkevich et al. 2016, doi:10.1016/j.jalz.2016.06.270. It refines what a network predicts
(instance optimisation, Balakrishnan et al. 2019), or works from zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.networks.filters import gaussian
from pipeline.networks.forces import Correlation, Force, SelfSimilarity, alike
from pipeline.networks.spatial import compose, resize, warp
from pipeline.register.frame import Frame

#: Adam's decay of the mean and of the square of the gradient.
BETAS = (0.9, 0.99)
#: Mean squared gradient, in means of the image, below which a place counts as flat. With 0.001
#: in place of 10, structures that an image does not show were left worse than greedy leaves them
#: (Dice 0.64 and 0.72), and the error on the phantom's known fields was half as large again.
FLOOR = 10.0
#: A step by self-similarity takes three times as long, and half as many come to the same Dice
#: within 0.002 (T2w to T1w, one pair of drawn brains).
SLOWER = 2


@dataclass(frozen=True)
class Settings:
    """How one pair is optimised.

    Attributes:
        spacings: voxel size of each level, mm, coarse to fine; those finer than the frame's
            are the frame's.
        iterations: steps at each level, by ``lncc``; by ``mind`` half as many.
        similarity: ``lncc``, ``mind``, or ``auto``: by whether the images are of one contrast.
        window: edge of lncc's window, voxels.
        step: longest step, voxels of the level.
        smoothing: standard deviation of the Gaussian on the gradient, voxels.
        field_smoothing: the same, on the field after each step.
    """

    spacings: Sequence[float]
    iterations: Sequence[int]
    similarity: Literal["auto", "lncc", "mind"] = "auto"
    window: int = 5
    step: float = 0.35
    smoothing: float = 1.0
    field_smoothing: float = 0.75


@torch.no_grad()
def optimise(frame: Frame, settings: Settings, start: Tensor | None) -> Tensor:
    """Displacement (1, 3, Z, Y, X) in voxels of the last level that has steps.

    Args:
        frame: the pair.
        settings: levels and steps.
        start: displacement on any grid whose corners are the frame's; None starts from zero.
    """
    field = start
    same = _same(frame, settings)
    for spacing, count in zip(settings.spacings, settings.iterations, strict=True):
        if count == 0:
            continue
        if not same:
            count = math.ceil(count / SLOWER)
        moving, fixed = frame.at(spacing)
        shape = fixed.shape[2:]
        field = fixed.new_zeros((1, 3, *shape)) if field is None else resize(field, shape)
        field = _level(moving, fixed, field, count, settings, same)
    return frame.fixed.new_zeros((1, 3, *frame.fixed.shape[2:])) if field is None else field


def _same(frame: Frame, settings: Settings) -> bool:
    if settings.similarity != "auto":
        return settings.similarity == "lncc"
    return alike(*frame.at(2.0))


def _level(
    moving: Tensor, fixed: Tensor, field: Tensor, count: int, settings: Settings, same: bool
) -> Tensor:
    force: Force = Correlation(fixed, settings.window) if same else SelfSimilarity(moving, fixed)
    mean, square = torch.zeros_like(field), torch.zeros_like(field)
    for number in range(1, count + 1):
        slope = gaussian(force(field, warp(moving, field)), settings.smoothing)
        mean.lerp_(slope, 1 - BETAS[0])
        square.mul_(BETAS[1]).addcmul_(slope, slope, value=1 - BETAS[1])
        step = _adaptive(mean, square, number, settings.step)
        field = gaussian(compose(step, field), settings.field_smoothing)
    return field


def _adaptive(mean: Tensor, square: Tensor, number: int, longest: float) -> Tensor:
    """Adam's step, no longer than ``longest``.

    Where the gradient is weak against the image's mean, Adam alone would step as far as anywhere:
    flat places would follow their noise. There the step shrinks with the gradient.
    """
    unbiased = square / (1 - BETAS[1] ** number)
    floor = FLOOR * unbiased.mean() + torch.finfo(unbiased.dtype).tiny
    step = mean / unbiased.add_(floor).sqrt_() / (1 - BETAS[0] ** number)
    length = step.square().sum(dim=1, keepdim=True).sqrt_().clamp_min_(1.0)
    return step.mul_(longest).div_(length)
