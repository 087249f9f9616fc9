"""Sliding-window DCT filters: hard thresholding, and Wiener filtering with a first estimate.

Manjon et al. 2012, "New methods for MRI denoising based on sparseness and self-similarity",
Medical Image Analysis 16 (oracle DCT); Guleryuz 2007, IEEE TIP 16 (the weights). Every shift of a
lattice of 4x4x4 blocks is transformed, filtered and averaged; noise has deviation one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Volume = NDArray[np.float32]
#: Coefficients of the image and, if there is one, of the guide, (Z, Y, X) each, a block's where the
#: block is → the image's filtered ones, and the weight of each block, (Z / 4, Y / 4, X / 4).
Shrink = Callable[[Sequence[Tensor]], tuple[Tensor, Tensor]]

SIDE = 4
BLOCK = SIDE**3


def line(side: int = SIDE) -> Volume:
    """Orthonormal DCT-II of ``side`` values as a matrix, a row a basis function."""
    frequency, place = np.mgrid[0:side, 0:side]
    matrix = np.sqrt(2.0 / side) * np.cos(np.pi * (2 * place + 1) * frequency / (2 * side))
    matrix[0] /= np.sqrt(2.0)
    return np.asarray(matrix, dtype=np.float32)


def basis(side: int = SIDE) -> Volume:
    """Orthonormal 3D DCT-II as a matrix of side**3 rows, one a basis function."""
    one = line(side).astype(np.float64)
    return np.kron(np.kron(one, one), one).astype(np.float32)


def hard_threshold(noisy: Volume, threshold: float) -> Volume:
    """Set DCT coefficients of magnitude below ``threshold`` to zero; the mean of a block stays."""

    def shrink(given: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        (coefficients,) = given
        kept = functional.hardshrink(coefficients, threshold)
        first(kept)[:] = first(coefficients)
        counted = (kept != 0).float()
        first(counted)[:] = 1.0
        return kept, block_sums(counted).reciprocal_()

    return _slide([noisy], shrink)


def wiener(noisy: Volume, guide: Volume, sigma: float) -> Volume:
    """Shrink each DCT coefficient by ``g² / (g² + sigma²)``, g being the guide's."""

    def shrink(given: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        coefficients, power = given[0], given[1].square()
        gain = power / (power + sigma**2)
        first(gain)[:] = 1.0
        return coefficients * gain, block_sums(gain.square()).reciprocal_()

    return _slide([noisy, guide], shrink)


def first(coefficients: Tensor) -> Tensor:
    """Coefficients of the blocks' means, (Z / 4, Y / 4, X / 4)."""
    return coefficients[::SIDE, ::SIDE, ::SIDE]


def block_sums(values: Tensor) -> Tensor:
    """Sums over blocks: (Z, Y, X) → (Z / 4, Y / 4, X / 4)."""
    for axis in range(3):
        shape = values.shape
        values = values.reshape(*shape[:axis], -1, SIDE, *shape[axis + 1 :]).sum(dim=axis + 1)
    return values


def _slide(given: Sequence[Volume], shrink: Shrink) -> Volume:
    """Filter all shifts of the lattice; an axis is transformed once for those that share it."""
    padding = [(SIDE, SIDE + (-n) % SIDE) for n in given[0].shape]
    padded = [torch.from_numpy(np.pad(one, padding, mode="symmetric")) for one in given]
    total, corners = (torch.zeros_like(padded[0]) for _ in range(2))
    for x in _windows(padded[0].shape[2]):
        along_x = [transformed(one[:, :, x], 2) for one in padded]
        sum_x = torch.zeros_like(along_x[0])
        for y in _windows(sum_x.shape[1]):
            along_y = [transformed(one[:, y], 1) for one in along_x]
            sum_y = torch.zeros_like(along_y[0])
            for z in _windows(sum_y.shape[0]):
                filtered, weight = shrink([transformed(one[z], 0) for one in along_y])
                filtered.view(-1, SIDE, *filtered.shape[1:]).mul_(_in_planes(weight))
                sum_y[z] += transformed(filtered, 0, back=True)
                corners[z, y, x][::SIDE, ::SIDE, ::SIDE] = weight
            sum_x[:, y] += transformed(sum_y, 1, back=True)
        total[:, :, x] += transformed(sum_x, 2, back=True)
    inner = tuple(slice(SIDE, SIDE + n) for n in given[0].shape)
    result: Volume = (total / covering(corners))[inner].numpy()
    return result


def _windows(count: int) -> Iterator[slice]:
    """The shifts of whole blocks along an axis."""
    for start in range(SIDE):
        yield slice(start, start + (count - start) // SIDE * SIDE)


def transformed(values: Tensor, axis: int, *, back: bool = False) -> Tensor:
    """DCT of each SIDE values along an axis of (Z, Y, X), or its inverse."""
    matrix = torch.from_numpy(line())
    matrix = matrix.T if back else matrix
    if axis == 2:
        return (values.reshape(-1, SIDE) @ matrix.T).view(values.shape)
    around = values.shape[:axis].numel() * values.shape[axis] // SIDE
    return (matrix @ values.reshape(around, SIDE, -1)).view(values.shape)


def _in_planes(weight: Tensor) -> Tensor:
    """A block's weight for the voxels of each of its planes, (Z / 4, 1, Y, X)."""
    for axis in (2, 1):
        weight = weight.repeat_interleave(SIDE, dim=axis)
    return weight[:, None]


def covering(corners: Tensor, side: int = SIDE) -> Tensor:
    """Weights of all blocks that a voxel is in, summed, from those at the blocks' first voxels."""
    sums = corners
    for axis in range(3):
        total = sums.clone()
        for back in range(1, side):
            count = sums.shape[axis] - back
            total.narrow(axis, back, count).add_(sums.narrow(axis, 0, count))
        sums = total
    return sums
