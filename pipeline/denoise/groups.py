"""Like blocks of an image, filtered together.

For each block of a lattice, the blocks around it that look most like it in a guide are stacked and
transformed in four dimensions, a DCT within the blocks and a Haar transform over the stack, where
what they share is concentrated in few coefficients. Those are shrunk as a Wiener filter would with
the guide as the truth, and the blocks go back to where they are from (Maggioni et al. 2013,
"Nonlocal transform-domain filter for volumetric data denoising and reconstruction",
doi:10.1109/TIP.2012.2210725). Noise has deviation one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import threads
from pipeline.denoise import dct

#: Blocks that a thread looks at, and groups that it filters, at a time.
COMPARED, FILTERED = 16384, 2048
Volume = NDArray[np.float32]


@dataclass(frozen=True)
class Blocks:
    """What is grouped.

    Attributes:
        side: of a block, voxels.
        step: between the blocks that are given a group, voxels.
        members: of a group, the block itself included; a power of two.
        radius: how far off they are looked for along each axis, voxels.
    """

    side: int
    step: int
    members: int
    radius: int


def wiener(noisy: Volume, guide: Volume, blocks: Blocks, sigmas: Sequence[float]) -> list[Volume]:
    """Filter groups of blocks: coefficient c becomes c g² / (g² + sigma²), g being the guide's.

    Args:
        noisy: (Z, Y, X), with noise of deviation one.
        guide: an estimate of the image without noise, same shape.
        blocks: how they are grouped.
        sigmas: noise that is assumed; a result for each.
    """
    margin = blocks.radius + blocks.side
    pads = [(margin, margin + -(n + blocks.side) % blocks.step) for n in noisy.shape]
    both = [torch.from_numpy(np.pad(one, pads, mode="symmetric")) for one in (noisy, guide)]
    sums = [_Sums(both[0].shape) for _ in sigmas]

    def work(rows: slice) -> tuple[int, list[_Sums]]:
        return rows.start, _filtered([one[rows] for one in both], blocks, sigmas)

    for start, parts in threads.map_torch(work, _rows(both[0].shape, blocks)):
        for total, part in zip(sums, parts, strict=True):
            total.add(part, start)
    inner = tuple(slice(margin, margin + n) for n in noisy.shape)
    return [one.mean(both[1])[inner].numpy().copy() for one in sums]


class _Sums:
    """Weighted sums of overlapping blocks, (Z, Y, X)."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.values, self.weights = torch.zeros(*shape), torch.zeros(*shape)

    def put(self, places: Tensor, values: Tensor, weight: Tensor) -> None:
        """Blocks (n, members, voxels) to their voxels, with a weight a group, (n, 1, 1)."""
        where = places.reshape(-1)
        self.values.view(-1).index_add_(0, where, (values * weight).reshape(-1))
        self.weights.view(-1).index_add_(0, where, weight.expand_as(values).reshape(-1))

    def add(self, other: _Sums, start: int) -> None:
        """What another one has of the planes from ``start``."""
        planes = slice(start, start + len(other.values))
        self.values[planes] += other.values
        self.weights[planes] += other.weights

    def mean(self, otherwise: Tensor) -> Tensor:
        """What was put, and ``otherwise`` where nothing was."""
        return torch.where(self.weights > 0, self.values / self.weights, otherwise)


def _rows(shape: Sequence[int], blocks: Blocks) -> Iterator[slice]:
    """Planes that hold some rows of the lattice of blocks, and what is around them."""
    counts = _counts(shape, blocks)
    rows = max(1, COMPARED // (counts[1] * counts[2]))
    for first in range(0, counts[0], rows):
        last = min(counts[0], first + rows) - 1
        yield slice(first * blocks.step, last * blocks.step + blocks.side + 2 * blocks.radius)


def _counts(shape: Sequence[int], blocks: Blocks) -> list[int]:
    """Blocks of the lattice along each axis; the radius is left free around them."""
    return [(n - 2 * blocks.radius - blocks.side) // blocks.step + 1 for n in shape]


def _filtered(both: Sequence[Tensor], blocks: Blocks, sigmas: Sequence[float]) -> list[_Sums]:
    """Filter the groups of a part of the image."""
    noisy, guide = (one.contiguous() for one in both)
    sums = [_Sums(noisy.shape) for _ in sigmas]
    corners, members = _groups(noisy, guide, blocks)
    for start in range(0, len(corners), FILTERED):
        some = slice(start, start + FILTERED)
        places = (corners[some, None] + members[some])[:, :, None] + _within(noisy, blocks)
        power, coefficients = _transformed(noisy, guide, places, blocks)
        for sigma, total in zip(sigmas, sums, strict=True):
            gain = power / (power + sigma**2)
            gain[:, 0, 0] = 1.0  # the mean of a group stays
            weight = gain.square().sum(dim=(1, 2), keepdim=True).reciprocal_()
            total.put(places, _back(gain.mul_(coefficients), blocks), weight)
    return sums


def _groups(noisy: Tensor, guide: Tensor, blocks: Blocks) -> tuple[Tensor, Tensor]:
    """First voxels of blocks, (n,), and the distances from there to those of the members.

    Both count voxels of the flattened image; distances are (n, members), the block itself first.
    Empty blocks are left out.
    """
    strides, counts = torch.tensor(guide.stride()), _counts(guide.shape, blocks)
    window = list(itertools.product(range(-blocks.radius, blocks.radius + 1), repeat=3))
    window.sort(key=lambda shift: (sum(n * n for n in shift), shift))
    content = _block_sums(_inner(noisy, blocks.radius).abs(), blocks).reshape(-1)
    filled = torch.nonzero(content)[:, 0]
    lattice = torch.cartesian_prod(*(torch.arange(n) for n in counts))
    corners = (blocks.radius + blocks.step * lattice[filled]) @ strides
    found = _nearest(guide, window, blocks, filled)
    return corners, (torch.tensor(window) @ strides)[found]


def _nearest(
    guide: Tensor, window: Sequence[tuple[int, ...]], blocks: Blocks, wanted: Tensor
) -> Tensor:
    """Numbers of the shifts whose blocks are most like, (wanted, members)."""
    here = _inner(guide, blocks.radius)
    unlike = torch.empty(len(wanted), len(window))
    for number, shift in enumerate(window):
        there = _inner(guide, blocks.radius, shift)
        unlike[:, number] = _block_sums((here - there).square_(), blocks).reshape(-1)[wanted]
    # the block itself, before any that equals it
    unlike[:, 0] = -1.0
    return unlike.topk(blocks.members, dim=1, largest=False).indices


def _inner(values: Tensor, margin: int, shift: Sequence[int] = (0, 0, 0)) -> Tensor:
    """Without a margin, moved by a shift."""
    z, y, x = (slice(margin + s, n - margin + s) for s, n in zip(shift, values.shape, strict=True))
    return values[z, y, x]


def _block_sums(values: Tensor, blocks: Blocks) -> Tensor:
    """Sums over the blocks of the lattice, one value a block."""
    for axis in range(3):
        reach = values.shape[axis] - blocks.side + 1
        box: list[slice] = [slice(None)] * 3
        total = values.new_zeros(())
        for start in range(blocks.side):
            box[axis] = slice(start, start + reach, blocks.step)
            total = total + values[tuple(box)]
        values = total
    return values


def _within(image: Tensor, blocks: Blocks) -> Tensor:
    """Distances of a block's voxels from its first, in the flattened image."""
    sides = [torch.arange(blocks.side)] * 3
    return torch.cartesian_prod(*sides) @ torch.tensor(image.stride())


def _transformed(
    noisy: Tensor, guide: Tensor, places: Tensor, blocks: Blocks
) -> tuple[Tensor, Tensor]:
    """Squared coefficients of the guide's groups, and those of the noisy image's."""
    inside, over = _bases(blocks)
    flat = places.reshape(-1)
    found = [over @ (one.view(-1)[flat].view(places.shape) @ inside.T) for one in (guide, noisy)]
    return found[0].square_(), found[1]


def _back(coefficients: Tensor, blocks: Blocks) -> Tensor:
    inside, over = _bases(blocks)
    return over.T @ (coefficients @ inside)


def _bases(blocks: Blocks) -> tuple[Tensor, Tensor]:
    """Of the transform within blocks and of that over a group, a row a basis function."""
    return torch.from_numpy(dct.basis(blocks.side)), torch.from_numpy(haar(blocks.members))


def haar(count: int) -> Volume:
    """Orthonormal Haar transform of a power of two values, a row a basis function."""
    if count == 1:
        return np.ones((1, 1), dtype=np.float32)
    sums = np.kron(haar(count // 2), [1.0, 1.0])
    differences = np.kron(np.eye(count // 2), [1.0, -1.0])
    return np.asarray(np.concatenate([sums, differences]) / np.sqrt(2.0), dtype=np.float32)
