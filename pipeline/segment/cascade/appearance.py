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

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

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
#: Voxels along the first axis that are looked at together: memory for all classes of some slices.
SLAB = 16
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

    def likely(self, image: Tensor) -> Tensor:
        """Log-density (1 + K, Z, Y, X) of voxels (C, Z, Y, X); first the background's."""
        result = image.new_zeros((1 + self.mean.shape[1], *image.shape[1:]))
        for values, mean, variance, (low, high), density in zip(
            image, self.mean, self.variance, self.edges, self.density, strict=True
        ):
            result[0] += torch.log(density)[_bins(values, low, high, BINS)]
            for number in range(len(mean)):
                spread = float(variance[number])
                distance = (values - mean[number]).square_().mul_(-0.5 / spread)
                result[1 + number] += distance.sub_(0.5 * math.log(2 * math.pi * spread))
        return result


def refined(
    prior: Tensor,
    image: Tensor,
    spacing: Sequence[float],
    tissues: Sequence[str],
    biased: bool,
) -> tuple[Tensor, Look]:
    """Posterior of the classes given the image.

    Args:
        prior: (1 + K, Z, Y, X), the background first; need not sum to 1. It is overwritten.
        image: (C, Z, Y, X), scaled to about 0 to 1 in the structures.
        spacing: mm along z, y, x.
        tissues: of each of the K classes: those of one name look alike, as far as few voxels tell.
        biased: whether a multiplicative bias field is fitted; for images above 0.

    Returns:
        (1 + K, Z, Y, X), sums to 1, and what the classes look like without the bias field.
    """
    told = prior.add_(FLOOR)
    told = told.div_(told.sum(dim=0, keepdim=True)).log_()
    steps = [max(1, round(LATTICE / length)) for length in spacing]
    part = tuple(slice(None, None, step) for step in steps)
    few = [length * step for length, step in zip(spacing, steps, strict=True)]
    look, field = _fitted(told[:, *part], image[:, *part], few, _alike(tissues), biased)
    clean = image / _bias(image.shape[1:], field) if biased else image
    result = torch.empty_like(told)
    for slab in _slabs(told):
        result[:, slab] = torch.softmax(told[:, slab] + look.likely(clean[:, slab]), dim=0)
    for _ in range(SWEEPS):
        _sweep(result, told, clean, look, spacing)
    return result, look


def _fitted(
    told: Tensor, image: Tensor, spacing: Sequence[float], alike: Tensor, biased: bool
) -> tuple[Look, Tensor]:
    """EM on a lattice of the voxels: the look of the classes and the bias field's coefficients."""
    voxel = float(np.prod(spacing))
    shares = torch.softmax(told, dim=0)
    field = image.new_zeros((len(image), _terms(ORDER)))
    field[:, 0] = 1.0
    basis = _polynomials(image.shape[1:])
    look: Look | None = None
    for number in range(ROUNDS):
        clean = image / torch.tensordot(field, basis, 1).clamp(*LIMITS) if biased else image
        strong, weak = HELD
        held = strong * (weak / strong) ** (number / max(1, ROUNDS - 1))
        look = _looks(clean, shares, look, alike, voxel, held)
        shares = _expected(told, look.likely(clean), shares, spacing)
        if biased:
            field = _settled(image, shares, look, basis)
    assert look is not None
    return look, field


def _looks(
    image: Tensor, shares: Tensor, before: Look | None, alike: Tensor, voxel: float, held: float
) -> Look:
    """The M step: moments of the classes, held by those of their tissue; the background's density.

    Args:
        alike: (K, K), 1 for classes of one tissue.
        held: volume with which they hold each other, mm3.
    """
    flat = image.flatten(1)
    weights = shares[1:].flatten(1)
    if before is None:
        weights = weights**SURE
        mean, own = _medians(flat, weights)
    else:
        mean, own = _moments(flat, weights, before)
    volume = weights.sum(dim=1).clamp_min(1e-3) * voxel
    common = ((volume * mean) @ alike) / (alike @ volume)
    mean = (volume * mean + held * common) / (volume + held)
    usual = torch.log(own).median(dim=1, keepdim=True).values
    slow = STEADY * held
    variance = torch.exp((volume * torch.log(own) + slow * usual) / (volume + slow))
    edges = torch.stack([flat.amin(dim=1), flat.amax(dim=1)], dim=1)
    outside = shares[0].flatten()
    density = torch.stack(
        [_histogram(values, outside, *ends) for values, ends in zip(flat, edges, strict=True)]
    )
    return Look(mean, variance, edges, density, volume)


def _medians(flat: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted medians (C, K) and the variances that go with the median deviations from them."""
    mean = flat.new_zeros((len(flat), len(weights)))
    own = torch.full_like(mean, FLOOR)
    for channel, values in enumerate(flat):
        low, high = values.min(), values.max()
        places = _bins(values, low, high, FINE)
        centres = low + (high - low) * (torch.arange(FINE) + 0.5) / FINE
        for number, weight in enumerate(weights):
            counts = torch.bincount(places, weight, minlength=FINE).to(flat.dtype)
            mean[channel, number] = _median(centres, counts)
            apart = (centres - mean[channel, number]).abs()
            # 1.4826: from a median absolute deviation to a standard deviation
            own[channel, number] += (1.4826 * _median(apart, counts)) ** 2
    return mean, own


def _median(values: Tensor, counts: Tensor) -> Tensor:
    order = torch.argsort(values)
    sums = counts[order].cumsum(0)
    return values[order][int(torch.searchsorted(sums, 0.5 * sums[-1]).clamp_max(len(values) - 1))]


def _moments(flat: Tensor, weights: Tensor, before: Look) -> tuple[Tensor, Tensor]:
    """Means and variances (C, K); voxels far from what a class looked like before weigh less."""
    mean, own = torch.empty_like(before.mean), torch.empty_like(before.variance)
    edge = math.exp(-0.5 * FAR**2)
    for number, weight in enumerate(weights):
        apart = (flat - before.mean[:, number, None]).square_() / before.variance[:, number, None]
        shape = torch.exp(-0.5 * apart.sum(dim=0))
        typical = weight * shape / (shape + edge)
        total = typical.sum() + 1e-6
        mean[:, number] = (flat @ typical) / total
        apart = (flat - mean[:, number, None]).square_()
        own[:, number] = (apart @ typical) / total
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


def _expected(told: Tensor, likely: Tensor, shares: Tensor, spacing: Sequence[float]) -> Tensor:
    """The E step: posterior of every voxel by its prior, its look and its neighbours."""
    return torch.softmax(likely.add_(told).add_(_neighbours(shares, spacing)), dim=0)


def _sweep(
    result: Tensor, told: Tensor, image: Tensor, look: Look, spacing: Sequence[float]
) -> None:
    """One sweep of the mean field over the slices, in place: later ones see the earlier ones."""
    last = told.shape[1]
    for slab in _slabs(told):
        first, end = max(0, slab.start - 1), min(last, slab.stop + 1)
        near = _neighbours(result[:, first:end], spacing)
        inner = near[:, slab.start - first : slab.stop - first]
        scores = look.likely(image[:, slab]).add_(told[:, slab]).add_(inner)
        result[:, slab] = torch.softmax(scores, dim=0)


def _slabs(values: Tensor) -> Iterator[slice]:
    count = values.shape[1]
    return (slice(start, min(start + SLAB, count)) for start in range(0, count, SLAB))


def _neighbours(shares: Tensor, spacing: Sequence[float]) -> Tensor:
    """Sum over the six face neighbours times :data:`NEIGHBOUR`; farther ones count less."""
    result = torch.zeros_like(shares)
    for axis, length in enumerate(spacing, start=1):
        strength = NEIGHBOUR * min(spacing) / length
        count = shares.shape[axis] - 1
        for here, there in ((0, 1), (1, 0)):
            own, other = result.narrow(axis, here, count), shares.narrow(axis, there, count)
            own.add_(other, alpha=strength)
    return result


def _alike(tissues: Sequence[str]) -> Tensor:
    """(K, K), 1 where two classes are of one tissue; one without a tissue stands alone."""
    rows = [
        [float(own == other and bool(own)) or float(i == j) for j, other in enumerate(tissues)]
        for i, own in enumerate(tissues)
    ]
    return torch.tensor(rows)


def _settled(image: Tensor, shares: Tensor, look: Look, basis: Tensor) -> Tensor:
    """Coefficients (C, T) of the bias field, by weighted least squares inside the structures."""
    part = (slice(None), *(slice(None, None, THIN) for _ in range(3)))
    inner = shares[part][1:].flatten(1)
    terms = basis[part].flatten(1)
    found = []
    for values, mean, variance in zip(
        image[part].flatten(1), look.mean, look.variance, strict=True
    ):
        certainty = (inner / variance[:, None]).sum(dim=0)
        expected = (inner * (mean / variance)[:, None]).sum(dim=0) / certainty.clamp_min(TINY)
        weight = certainty * (inner.sum(dim=0) > 0.5)
        rows = (terms * expected).double()
        pulled = rows * weight.double()
        normal = pulled @ rows.T
        ridge = 1e-6 * float(normal.diagonal().mean()) + TINY
        square = normal + ridge * torch.eye(len(normal), dtype=normal.dtype)
        found.append(torch.linalg.solve(square, pulled @ values.double()).to(image.dtype))
    return torch.stack(found)


def _bias(shape: Sequence[int], field: Tensor) -> Tensor:
    """The bias field (C, Z, Y, X) of coefficients (C, T)."""
    result = field.new_zeros((len(field), *shape))
    for number, term in enumerate(_each_polynomial(shape)):
        result += field[:, number, None, None, None] * term
    return result.clamp_(*LIMITS)


def _polynomials(shape: Sequence[int]) -> Tensor:
    return torch.stack(list(_each_polynomial(shape)))


def _terms(order: int) -> int:
    return math.comb(order + 3, 3)


def _each_polynomial(shape: Sequence[int]) -> Iterator[Tensor]:
    """Products (Z, Y, X) of powers of the coordinates, -1 to 1, the constant first."""
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    for i in range(ORDER + 1):
        for j in range(ORDER + 1 - i):
            for k in range(ORDER + 1 - i - j):
                yield z**i * y**j * x**k
