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
from torch.nn import functional

from pipeline import threads
from pipeline.denoise import dct

#: Blocks that a thread looks at, and groups that it filters, at a time.
COMPARED, FILTERED = 16384, 512
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
    return [one.mean(blocks.side, both[1])[inner].numpy().copy() for one in sums]


class _Sums:
    """Weighted sums of overlapping blocks, (Z, Y, X), and their weights at their first voxels."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.values, self.corners = torch.zeros(*shape), torch.zeros(*shape)

    def put(self, places: Tensor, values: Tensor, weight: Tensor) -> None:
        """Blocks (members, voxels, groups) to their voxels, with a weight a group, (groups,)."""
        self.values.view(-1).index_add_(0, places.reshape(-1), (values * weight).reshape(-1))
        first = places[:, 0]
        self.corners.view(-1).index_add_(0, first.reshape(-1), weight.expand_as(first).reshape(-1))

    def add(self, other: _Sums, start: int) -> None:
        """What another one has of the planes from ``start``."""
        planes = slice(start, start + len(other.values))
        self.values[planes] += other.values
        self.corners[planes] += other.corners

    def mean(self, side: int, otherwise: Tensor) -> Tensor:
        """What was put of blocks of a side, and ``otherwise`` where nothing was."""
        weights = dct.covering(self.corners, side)
        return torch.where(weights > 0, self.values / weights, otherwise)


def _rows(shape: Sequence[int], blocks: Blocks) -> Iterator[slice]:
    """Planes that hold some rows of the lattice of blocks, and what is around them."""
    counts = _counts(shape, blocks)
    for rows in threads.portions(counts[0], COMPARED // (counts[1] * counts[2])):
        last = (rows.stop - 1) * blocks.step + blocks.side + 2 * blocks.radius
        yield slice(rows.start * blocks.step, last)


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
        places = (corners[some] + members[:, some])[:, None] + _within(noisy, blocks)[:, None]
        power, coefficients = _transformed(noisy, guide, places, blocks)
        for sigma, total in zip(sigmas, sums, strict=True):
            gain = power / (power + sigma**2)
            gain[0, 0] = 1.0  # the mean of a group stays
            weight = gain.square().sum(dim=(0, 1)).reciprocal_()
            total.put(places, _back(gain.mul_(coefficients), blocks), weight)
    return sums


def _groups(noisy: Tensor, guide: Tensor, blocks: Blocks) -> tuple[Tensor, Tensor]:
    """First voxels of blocks, (n,), and the distances from there to those of the members.

    Both count voxels of the flattened image; distances are (members, n), the block itself first.
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
    return corners.int(), (torch.tensor(window) @ strides).int()[found]


def _nearest(
    guide: Tensor, window: Sequence[tuple[int, ...]], blocks: Blocks, wanted: Tensor
) -> Tensor:
    """Numbers of the shifts whose blocks are most like, (members, wanted)."""
    here = _inner(guide, blocks.radius)
    unlike = torch.empty(len(window), len(wanted))
    for number, shift in enumerate(window):
        there = _inner(guide, blocks.radius, shift)
        # the squared difference, in one pass over the memory
        squares = functional.mse_loss(here, there, reduction="none")
        unlike[number] = _block_sums(squares, blocks).reshape(-1)[wanted]
    # the block itself, before any that equals it
    unlike[0] = -1.0
    return unlike.T.contiguous().topk(blocks.members, dim=1, largest=False).indices.T


def _inner(values: Tensor, margin: int, shift: Sequence[int] = (0, 0, 0)) -> Tensor:
    """Without a margin, moved by a shift."""
    z, y, x = (slice(margin + s, n - margin + s) for s, n in zip(shift, values.shape, strict=True))
    return values[z, y, x]


def _block_sums(values: Tensor, blocks: Blocks) -> Tensor:
    """Sums over the blocks of the lattice, one value a block."""
    for axis in range(3):
        reach = values.shape[axis] - blocks.side + 1
        box: list[slice] = [slice(None)] * 3
        box[axis] = slice(None, None, blocks.step)
        parts = [values.narrow(axis, n, reach)[tuple(box)] for n in range(blocks.side)]
        values = parts[0].clone() if len(parts) == 1 else parts[0] + parts[1]
        for part in parts[2:]:
            values += part
    return values


def _within(image: Tensor, blocks: Blocks) -> Tensor:
    """Distances of a block's voxels from its first, in the flattened image."""
    sides = [torch.arange(blocks.side)] * 3
    return (torch.cartesian_prod(*sides) @ torch.tensor(image.stride())).int()


def _transformed(
    noisy: Tensor, guide: Tensor, places: Tensor, blocks: Blocks
) -> tuple[Tensor, Tensor]:
    """Squared coefficients of the guide's groups, and those of the noisy image's."""
    flat, (within, over) = places.reshape(-1), _bases(blocks)
    power, coefficients = (
        _along(one.view(-1).index_select(0, flat).view(places.shape), within, over)
        for one in (guide, noisy)
    )
    return power.square_(), coefficients


def _back(coefficients: Tensor, blocks: Blocks) -> Tensor:
    within, over = _bases(blocks)
    return _along(coefficients, within.T, over.T)


def _along(groups: Tensor, within: Tensor, over: Tensor) -> Tensor:
    """Transform (members, voxels, groups): each axis of a block by one matrix, members by another.

    Groups lie side by side: matrices as small as these are slow on anything shorter.
    """
    side, shape = len(within), groups.shape
    for blocks in (1, side, side**2):
        groups = within @ groups.reshape(len(over) * blocks, side, -1)
    return (over @ groups.reshape(len(over), -1)).view(shape)


def _bases(blocks: Blocks) -> tuple[Tensor, Tensor]:
    """Of the transform along an axis of a block and of that over a group, a row a function."""
    return torch.from_numpy(dct.line(blocks.side)), torch.from_numpy(haar(blocks.members))


def haar(count: int) -> Volume:
    """Orthonormal Haar transform of a power of two values, a row a basis function."""
    if count == 1:
        return np.ones((1, 1), dtype=np.float32)
    sums = np.kron(haar(count // 2), [1.0, 1.0])
    differences = np.kron(np.eye(count // 2), [1.0, -1.0])
    return np.asarray(np.concatenate([sums, differences]) / np.sqrt(2.0), dtype=np.float32)
