"""What each structure looks like in an image decides, with where it lies, about its borders.

A network that any contrast shall suit knows where structures are better than where they end. Its
smoothed posterior is the prior of a mixture of Gaussians, one a class, that is fitted to the image
itself by EM: atlas-based segmentation that adapts to the contrast (Van Leemput et al. 1999,
doi:10.1109/42.811270; Puonti et al. 2016, doi:10.1016/j.neuroimage.2016.09.011), with a network's
posterior in place of the atlas. A Markov random field of the neighbours (mean field), a bias field
and weights against voxels that no class explains are of the same papers' model (Van Leemput et al.
2001, doi:10.1109/42.938237). The background may be anything: its density is a histogram.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.segment.cascade.boxed import Boxed, normalised, peaked, softmax

#: Rounds of EM on a part of the voxels, and of the mean field on all of them.
ROUNDS, SWEEPS = 8, 3
#: The part of the voxels: every n-th along each axis, so that they are about so far apart, mm.
LATTICE = 2.0
#: Gain in log-probability by a face neighbour of the same class, one that is as near as any.
NEIGHBOUR = 0.7
#: Power of the prior that weighs voxels in the first round: what a structure looks like is told by
#: the voxels that surely belong to it.
SURE = 12.0
#: Deviations beyond which a voxel loses weight in the estimation.
FAR = 2.5
#: Volume, mm3, with which the mean of its tissue stands beside what a class itself shows, in the
#: first and in the last round; a variance is held ten times as strongly, by the classes' median.
HELD = (300.0, 50.0)
STEADY = 10.0
#: Added to each prior share and, in squared units of the image's scale, to each first variance.
FLOOR = 1e-4
#: Least density of the background's histogram, and its bins.
RARE, BINS = 1e-3, 64
#: Bins of the weighted medians.
FINE = 1024
#: Order of the polynomial of the bias field, its limits, and the part of the lattice it is fitted
#: on: every second voxel along each axis.
ORDER, LIMITS, THIN = 3, (0.3, 3.0), 2
#: Smallest variance.
TINY = 1e-6


@dataclass
class Look:
    """What the classes look like.

    Attributes:
        mean: (C, K) of each channel and class, in units of the scaled image.
        variance: (C, K).
        edges: (C, 2), ends of the background's histogram.
        density: (C, :data:`BINS`) of the background.
        volume: (K,), mm3 that the estimate rests on.
    """

    mean: Tensor
    variance: Tensor
    edges: Tensor
    density: Tensor
    volume: Tensor

    def add_background(self, score: Tensor, image: Tensor) -> None:
        """Add the log-density of the background to scores (Z, Y, X) of voxels (C, Z, Y, X)."""
        for values, (low, high), density in zip(image, self.edges, self.density, strict=True):
            score += torch.log(density)[_bins(values, low, high, BINS)]

    def add_class(self, score: Tensor, image: Tensor, number: int) -> None:
        """Add the log-density of class ``number``, from 0, to the scores of its box."""
        for values, mean, variance in zip(
            image, self.mean[:, number], self.variance[:, number], strict=True
        ):
            spread = float(variance)
            score += (values - mean).square_().mul_(-0.5 / spread)
            score -= 0.5 * math.log(2 * math.pi * spread)


def refined(
    prior: Boxed,
    image: Tensor,
    spacing: Sequence[float],
    tissues: Sequence[str],
    biased: bool,
) -> tuple[Boxed, Look]:
    """Posterior of the classes given the image.

    Args:
        prior: of K classes; need not sum to 1. It is overwritten.
        image: (C, Z, Y, X), scaled to about 0 to 1 in the structures.
        spacing: mm along z, y, x.
        tissues: of each of the K classes: those of one name look alike, as far as few voxels tell.
        biased: whether a multiplicative bias field is fitted; for images above 0.

    Returns:
        The posterior, whose sum is 1, and what the classes look like without the bias field.
    """
    total = prior.sum() + FLOOR * len(prior.boxes)
    told = prior.like([one.add_(FLOOR).div_(total[box]).log_() for box, one in prior])
    steps = [max(1, round(LATTICE / length)) for length in spacing]
    part = tuple(slice(None, None, step) for step in steps)
    few = [length * step for length, step in zip(spacing, steps, strict=True)]
    look, field = _fitted(told.part(steps), image[:, *part], few, _alike(tissues), biased)
    clean = image / _bias(image.shape[1:], field) if biased else image
    likely = peaked(_scores(told, clean, look))
    shares = normalised(likely.copy())
    for _ in range(SWEEPS):
        shares = _expected(likely, shares, spacing)
    return shares, look


def _fitted(
    told: Boxed, image: Tensor, spacing: Sequence[float], alike: Tensor, biased: bool
) -> tuple[Look, Tensor]:
    """EM on a lattice of the voxels: the look of the classes and the bias field's coefficients."""
    voxel = float(np.prod(spacing))
    shares = softmax(told.copy())
    field = image.new_zeros((len(image), *(ORDER + 1,) * 3))
    field[:, 0, 0, 0] = 1.0
    look: Look | None = None
    for number in range(ROUNDS):
        clean = image / _bias(image.shape[1:], field) if biased else image
        strong, weak = HELD
        held = strong * (weak / strong) ** (number / max(1, ROUNDS - 1))
        look = _looks(clean, shares, look, alike, voxel, held)
        shares = _expected(peaked(_scores(told.copy(), clean, look)), shares, spacing)
        if biased:
            field = _settled(image, shares, look)
    assert look is not None
    return look, field


def _looks(
    image: Tensor, shares: Boxed, before: Look | None, alike: Tensor, voxel: float, held: float
) -> Look:
    """The M step: moments of the classes, held by those of their tissue; the background's density.

    Args:
        alike: (K, K), 1 for classes of one tissue.
        held: volume with which they hold each other, mm3.
    """
    found = []
    for number, (box, share) in enumerate(list(shares)[1:]):
        values, weight = image[:, *box].flatten(1), share.flatten()
        if before is None:
            found.append(_medians(values, weight**SURE))
        else:
            found.append(
                _moments(values, weight, before.mean[:, number], before.variance[:, number])
            )
    mean, own = (torch.stack([one[n] for one in found], dim=1) for n in (0, 1))
    counts = [share.sum() if before is not None else (share**SURE).sum() for _, share in shares]
    volume = torch.stack(counts[1:]).clamp_min(1e-3) * voxel
    common = ((volume * mean) @ alike) / (alike @ volume)
    mean = (volume * mean + held * common) / (volume + held)
    usual = torch.log(own).median(dim=1, keepdim=True).values
    slow = STEADY * held
    variance = torch.exp((volume * torch.log(own) + slow * usual) / (volume + slow))
    flat, outside = image.flatten(1), shares.values[0].flatten()
    edges = torch.stack([flat.amin(dim=1), flat.amax(dim=1)], dim=1)
    density = torch.stack(
        [_histogram(values, outside, *ends) for values, ends in zip(flat, edges, strict=True)]
    )
    return Look(mean, variance, edges, density, volume)


def _medians(flat: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted medians (C,) of one class and the variances of the median deviations from them."""
    mean, own = flat.new_zeros(len(flat)), flat.new_full((len(flat),), FLOOR)
    for channel, values in enumerate(flat):
        if not len(values):
            continue
        low, high = values.min(), values.max()
        centres = low + (high - low) * (torch.arange(FINE) + 0.5) / FINE
        counts = torch.bincount(_bins(values, low, high, FINE), weight, minlength=FINE)
        mean[channel] = _median(centres, counts.to(flat.dtype))
        apart = (centres - mean[channel]).abs()
        # 1.4826: from a median absolute deviation to a standard deviation
        own[channel] += (1.4826 * _median(apart, counts.to(flat.dtype))) ** 2
    return mean, own


def _median(values: Tensor, counts: Tensor) -> Tensor:
    order = torch.argsort(values)
    sums = counts[order].cumsum(0)
    return values[order][int(torch.searchsorted(sums, 0.5 * sums[-1]).clamp_max(len(values) - 1))]


def _moments(flat: Tensor, weight: Tensor, before: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Means and variances (C,) of one class; voxels far from its look before weigh less."""
    apart = (flat - before[:, None]).square_().div_(spread[:, None])
    shape = torch.exp(-0.5 * apart.sum(dim=0))
    typical = weight * shape / (shape + math.exp(-0.5 * FAR**2))
    total = typical.sum() + 1e-6
    mean = (flat @ typical) / total
    own = ((flat - mean[:, None]).square_() @ typical) / total
    return mean, own.clamp_min(TINY) + FLOOR


def _histogram(values: Tensor, weight: Tensor, low: Tensor, high: Tensor) -> Tensor:
    counts = torch.bincount(_bins(values, low, high, BINS), weight, minlength=BINS)
    kernel = torch.tensor([0.06, 0.24, 0.4, 0.24, 0.06], dtype=values.dtype)
    smooth = functional.conv1d(counts.to(values.dtype)[None, None], kernel[None, None], padding=2)
    width = float(high - low) / BINS
    return smooth[0, 0] / (smooth.sum() * max(width, TINY) + TINY) + RARE


def _bins(values: Tensor, low: Tensor, high: Tensor, count: int) -> Tensor:
    width = torch.clamp((high - low) / count, min=TINY)
    return ((values - low) / width).long().clamp_(0, count - 1)


def _scores(told: Boxed, image: Tensor, look: Look) -> Boxed:
    """Log-probability of every voxel by its prior and its look, in the memory of the prior's."""
    look.add_background(told.values[0], image)
    for number, (box, score) in enumerate(list(told)[1:]):
        look.add_class(score, image[:, *box], number)
    return told


def _expected(likely: Boxed, shares: Boxed, spacing: Sequence[float]) -> Boxed:
    """The E step: posterior of every voxel by prior and look, and by the neighbours' shares."""
    found = [
        _neighbours(share, spacing).exp_().mul_(own)
        for share, own in zip(shares.values, likely.values, strict=True)
    ]
    return normalised(likely.like(found))


def _neighbours(share: Tensor, spacing: Sequence[float]) -> Tensor:
    """Sum of the face neighbours' shares times :data:`NEIGHBOUR`; farther ones count less."""
    found = torch.zeros_like(share)
    for axis, length in enumerate(spacing):
        count = share.shape[axis] - 1
        if count > 0:
            strength = NEIGHBOUR * min(spacing) / length
            for here, there in ((0, 1), (1, 0)):
                own, other = found.narrow(axis, here, count), share.narrow(axis, there, count)
                own.add_(other, alpha=strength)
    return found


def _alike(tissues: Sequence[str]) -> Tensor:
    """(K, K), 1 where two classes are of one tissue; one without a tissue stands alone."""
    rows = [
        [float(own == other and bool(own)) or float(i == j) for j, other in enumerate(tissues)]
        for i, own in enumerate(tissues)
    ]
    return torch.tensor(rows)


def _settled(image: Tensor, shares: Boxed, look: Look) -> Tensor:
    """Coefficients of the bias field, by weighted least squares inside the structures."""
    thin = shares.part((THIN,) * 3)
    part = (slice(None), *(slice(None, None, THIN),) * 3)
    powers, terms = _powers(image.shape[1:], THIN)
    inner = (thin.sum() - thin.values[0]).flatten()
    found = image.new_zeros((len(image), *(ORDER + 1,) * 3))
    for channel, values in enumerate(image[part].flatten(1)):
        certainty, expected = torch.zeros(thin.shape), torch.zeros(thin.shape)
        for number, (box, share) in enumerate(list(thin)[1:]):
            sure = share / look.variance[channel, number]
            certainty[box] += sure
            expected[box] += sure * look.mean[channel, number]
        weight = certainty.flatten() * (inner > 0.5)
        rows = (terms * (expected / certainty.clamp_min(TINY)).flatten()).double()
        pulled = rows * weight.double()
        normal = pulled @ rows.T
        ridge = 1e-6 * float(normal.diagonal().mean()) + TINY
        square = normal + ridge * torch.eye(len(normal), dtype=normal.dtype)
        solved = torch.linalg.solve(square, pulled @ values.double()).to(image.dtype)
        i, j, k = powers.T
        found[channel, i, j, k] = solved
    return found


def _bias(shape: Sequence[int], field: Tensor) -> Tensor:
    """The bias field (C, Z, Y, X) of coefficients (C, 4, 4, 4): of each power of z, y and x."""
    z, y, x = (_line(size, 1) for size in shape)
    found = torch.einsum("cijk,kx->cijx", field, x)
    found = torch.einsum("cijx,jy->ciyx", found, y)
    return torch.einsum("ciyx,iz->czyx", found, z).clamp_(*LIMITS)


def _line(size: int, step: int) -> Tensor:
    """Powers (4, n) of every ``step``-th coordinate of an axis, which go from -1 to 1."""
    places = torch.linspace(-1, 1, size)[::step]
    return torch.stack([places**power for power in range(ORDER + 1)])


def _powers(shape: Sequence[int], step: int) -> tuple[Tensor, Tensor]:
    """Powers (T, 3) of the terms up to :data:`ORDER`, and the terms (T, N) at the voxels."""
    every = itertools.product(range(ORDER + 1), repeat=3)
    powers = [one for one in every if sum(one) <= ORDER]
    z, y, x = (_line(size, step) for size in shape)
    terms = [(z[i][:, None, None] * y[j][:, None] * x[k]).flatten() for i, j, k in powers]
    return torch.tensor(powers), torch.stack(terms)
