"""Local normalised cross-correlation, with its own gradient.

Avants et al. 2008, Symmetric diffeomorphic image registration with cross-correlation,
doi:10.1016/j.media.2007.06.004; as a loss, Balakrishnan et al. 2019, doi:10.1109/TMI.2019.2897538.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# elements of a slab: half a megabyte of float32, so that what is made of it stays in the cache
SLAB = 1 << 17


@dataclass(frozen=True)
class Prepared:
    """What the loss needs of the fixed image; made once for any number of moving images.

    Attributes:
        image: (N, Z, Y, X), batch and channels in one axis.
        mean: mean in each window.
        sharpness: 1 / (variance + epsilon) in each window.
        weight: weight of each window, summing to 1, or None for equal weights.
    """

    image: Tensor
    mean: Tensor
    sharpness: Tensor
    weight: Tensor | None


class LocalNCC(nn.Module):
    """One minus the mean local correlation of two images.

    Windows are cut at the border of the image, never filled with zeros, so that the value does
    not change with an offset or, but for epsilon, a gain. A window without contrast in either image
    has correlation 0 and no gradient.

    The value and the gradient are computed together, six box sums in all, slab by slab on a CPU:
    temporaries of the size of the image cost more there than the arithmetic.

    Args:
        window: edge of the cubic window in voxels, odd.
        signed: correlation itself (loss from 0 to 2) in place of its square (0 to 1, blind to
            inverted contrast).
        epsilon: added to the variances; images are taken to be scaled to about 0 to 1, and
            1e-5 is the variance of noise of 0.3 % of that.
    """

    def __init__(self, window: int = 9, signed: bool = False, epsilon: float = 1e-5) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise ValueError(f"the window is odd, not {window}")
        if epsilon <= 0:
            raise ValueError(f"epsilon is above 0, not {epsilon}")
        self.window = window
        self.signed = signed
        self.epsilon = epsilon

    def prepare(self, fixed: Tensor, weight: Tensor | None = None) -> Prepared:
        """Moments of the fixed image, to be passed to :meth:`forward` in its place.

        Args:
            fixed: (B, C, Z, Y, X).
            weight: (B, C or 1, Z, Y, X), weight of the window about each voxel, for instance a
                mask; all zero gives a loss of 1 without a gradient.
        """
        image = _volumes(fixed.detach())
        mean, variance = torch.empty_like(image), torch.empty_like(image)
        for part in _slabs(image, 1):
            part.write(mean, _plane_sums(part.of(image), self.window))
            part.write(variance, _plane_sums(part.of(image).square(), self.window))
        for part in _slabs(image, 2):
            share = _window_share(image, part, self.window)
            average = _sums(part.of(mean), 1, self.window) * share
            square = _sums(part.of(variance), 1, self.window) * share
            part.write(variance, (square - average.square()).clamp_min(0))
            part.write(mean, average)
        sharpness = variance.add_(self.epsilon).reciprocal_()
        return Prepared(image, mean, sharpness, _normalised(weight, fixed))

    def forward(
        self, warped: Tensor, fixed: Tensor | Prepared, weight: Tensor | None = None
    ) -> Tensor:
        """Loss of (B, C, Z, Y, X) ``warped`` against ``fixed``, an image or a prepared one.

        A prepared image carries its own weight. Gradients flow to ``warped``, and to ``fixed``
        where that is an image that asks for one.
        """
        warped = _full(warped)
        image: Tensor | None = None
        if not isinstance(fixed, Prepared):
            image = _full(fixed)
            fixed = self.prepare(image, weight)
        value: Tensor = _Correlation.apply(warped, image, fixed, self)  # type: ignore[no-untyped-call]
        return value

    def value_and_gradient(
        self, warped: Tensor, fixed: Prepared, gradient: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The loss, and its gradient to ``warped`` where asked for, without autograd."""
        image = _volumes(warped.detach())
        if image.shape != fixed.image.shape:
            raise ValueError(f"shapes {tuple(image.shape)} and {tuple(fixed.image.shape)}")
        buffers = [torch.empty_like(image) for _ in range(3)]
        for part in _slabs(image, 1):
            moving, still = part.of(image), part.of(fixed.image)
            for buffer, product in zip(
                buffers, (moving, moving.square(), moving * still), strict=True
            ):
                part.write(buffer, _plane_sums(product, self.window))
        total = image.new_zeros(())
        for part in _slabs(image, 2):
            total += self._correlate(part, fixed, buffers, gradient)
        if not gradient:
            return 1 - total, None
        for part in _slabs(image, 1):
            one, two, three = (_plane_sums(part.of(buffer), self.window) for buffer in buffers)
            slope = three - part.of(fixed.image) * one - part.of(image) * two
            part.write(buffers[0], slope)
        return 1 - total, buffers[0].view_as(warped)

    def _correlate(
        self, part: _Slab, fixed: Prepared, buffers: list[Tensor], gradient: bool
    ) -> Tensor:
        """Weighted sum of the correlations of a slab; leaves in the buffers what the slopes need.

        With the correlation f of covariance c and moving variance v, the slope at voxel q is the
        sum over the windows p that hold q of f_c(p) (I(q) - mean I(p)) + 2 f_v(p) (J(q) - mean
        J(p)), divided by the size of the window: three box sums.
        """
        share = _window_share(fixed.image, part, self.window)
        mean, square, cross = (_sums(part.of(buffer), 1, self.window) * share for buffer in buffers)
        still, still_sharpness = part.of(fixed.mean), part.of(fixed.sharpness)
        sharpness = ((square - mean.square()).clamp_min(0) + self.epsilon).reciprocal()
        covariance = cross - mean * still
        if self.signed:
            by_covariance = (sharpness * still_sharpness).sqrt()
            value = covariance * by_covariance
            twice_by_variance = -value * sharpness
        else:
            by_covariance = 2 * covariance * sharpness * still_sharpness
            value = 0.5 * covariance * by_covariance
            twice_by_variance = -2 * value * sharpness
        weight = part.of(fixed.weight) if fixed.weight is not None else 1 / fixed.image.numel()
        if gradient:
            share = share * weight
            by_covariance, twice_by_variance = by_covariance * share, twice_by_variance * share
            offset = by_covariance * still + twice_by_variance * mean
            for buffer, slope in zip(
                buffers, (by_covariance, twice_by_variance, offset), strict=True
            ):
                part.write(buffer, _sums(slope, 1, self.window))
        return (value * weight).sum()


class _Correlation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, warped: Tensor, fixed: Tensor | None, prepared: Prepared, loss: LocalNCC
    ) -> Tensor:
        value, slope = loss.value_and_gradient(warped, prepared, ctx.needs_input_grad[0])
        other = None
        if fixed is not None and ctx.needs_input_grad[1]:
            # the correlation is symmetric: with the roles changed the slope is the fixed image's
            swapped = loss.prepare(warped)
            swapped = Prepared(swapped.image, swapped.mean, swapped.sharpness, prepared.weight)
            other = loss.value_and_gradient(fixed, swapped, True)[1]
        ctx.slopes = slope, other
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        slopes = [None if slope is None else slope * upstream[0] for slope in ctx.slopes]
        return slopes[0], slopes[1], None, None


@dataclass(frozen=True)
class _Slab:
    axis: int
    start: int
    length: int

    def of(self, volume: Tensor) -> Tensor:
        return volume.narrow(self.axis, self.start, self.length)

    def write(self, volume: Tensor, values: Tensor) -> None:
        self.of(volume).copy_(values)


def _slabs(volume: Tensor, axis: int) -> Iterator[_Slab]:
    length = volume.shape[axis]
    step = length
    if volume.device.type == "cpu":
        step = max(1, SLAB * length // volume.numel())
    for start in range(0, length, step):
        yield _Slab(axis, start, min(step, length - start))


def _plane_sums(volume: Tensor, window: int) -> Tensor:
    return _sums(_sums(volume, 3, window), 2, window)


def _sums(volume: Tensor, axis: int, window: int) -> Tensor:
    """Sums over a sliding window along an axis, zeros outside; its own adjoint."""
    radius = window // 2
    pads = [0] * 6
    behind = 2 * (volume.ndim - 1 - axis)
    pads[behind] = pads[behind + 1] = radius
    padded = functional.pad(volume, pads)
    return _run(padded, axis, window)


def _run(padded: Tensor, axis: int, length: int) -> Tensor:
    # sums of 2k neighbours are two sums of k: log2(length) additions in place of length
    if length == 1:
        return padded
    half = length // 2 if length % 2 == 0 else 1
    sums = _run(padded, axis, length - half)
    other = sums if length % 2 == 0 else padded
    shift = half if length % 2 == 0 else length - 1
    size = padded.shape[axis] - length + 1
    return sums.narrow(axis, 0, size) + other.narrow(axis, shift, size)


def _window_share(volume: Tensor, part: _Slab, window: int) -> Tensor:
    """One over the number of voxels in the windows of a slab along axis 2, (Z, Y', X)."""
    counts = []
    for n in volume.shape[1:]:
        places = torch.arange(n, device=volume.device)
        last = (places + window // 2).clamp_max(n - 1)
        counts.append((last - (places - window // 2).clamp_min(0) + 1).to(volume.dtype))
    z, y, x = counts
    y = y[part.start : part.start + part.length]
    return 1 / (z[:, None, None] * y[:, None] * x)


def _normalised(weight: Tensor | None, fixed: Tensor) -> Tensor | None:
    if weight is None:
        return None
    spread = _volumes(weight.to(fixed.dtype).expand_as(fixed))
    total = spread.sum()
    return spread / total if total > 0 else torch.zeros_like(spread)


def _volumes(image: Tensor) -> Tensor:
    return image.reshape(-1, *image.shape[-3:]).contiguous()


def _full(image: Tensor) -> Tensor:
    # variances are differences of squares: half precision does not carry them
    return image.float() if image.dtype in (torch.float16, torch.bfloat16) else image
