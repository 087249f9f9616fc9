"""Sliding-window DCT filters: hard thresholding, and Wiener filtering with a first estimate.

Manjon et al. 2012, "New methods for MRI denoising based on sparseness and self-similarity",
Medical Image Analysis 16 (oracle DCT); Guleryuz 2007, IEEE TIP 16 (the weights). Every shift of a
lattice of 4x4x4 blocks is transformed, filtered and averaged; noise has deviation one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Volume = NDArray[np.float32]
#: Blocks and the guide's blocks, shape (n, BLOCK) → filtered blocks and the weight of each, (n,).
Shrink = Callable[[Volume, Volume | None], tuple[Volume, Volume]]

SIDE = 4
BLOCK = SIDE**3


def basis(side: int = SIDE) -> Volume:
    """Orthonormal 3D DCT-II as a matrix of side**3 rows, one a basis function."""
    frequency, place = np.mgrid[0:side, 0:side]
    line = np.sqrt(2.0 / side) * np.cos(np.pi * (2 * place + 1) * frequency / (2 * side))
    line[0] /= np.sqrt(2.0)
    return np.kron(np.kron(line, line), line).astype(np.float32)


def hard_threshold(noisy: Volume, threshold: float) -> Volume:
    """Set DCT coefficients of magnitude below ``threshold`` to zero; the mean of a block stays."""
    matrix = basis()

    def shrink(blocks: Volume, _: Volume | None) -> tuple[Volume, Volume]:
        coefficients: Volume = blocks @ matrix.T
        kept = np.abs(coefficients) > threshold
        kept[:, 0] = True
        coefficients *= kept
        weight = np.reciprocal(kept.sum(axis=1, dtype=np.float32))
        return np.matmul(coefficients, matrix, dtype=np.float32), weight

    return _slide(noisy, None, shrink)


def wiener(noisy: Volume, first: Volume, sigma: float) -> Volume:
    """Shrink each DCT coefficient by ``g² / (g² + sigma²)``, g being the first estimate's."""
    matrix = basis()

    def shrink(blocks: Volume, guide: Volume | None) -> tuple[Volume, Volume]:
        power = np.square((blocks if guide is None else guide) @ matrix.T)
        gain = power / (power + np.float32(sigma**2))
        gain[:, 0] = 1.0
        weight = np.reciprocal(np.square(gain).sum(axis=1))
        return ((blocks @ matrix.T) * gain) @ matrix, weight

    return _slide(noisy, first, shrink)


def _slide(noisy: Volume, guide: Volume | None, shrink: Shrink) -> Volume:
    padding = [(SIDE, SIDE + (-n) % SIDE) for n in noisy.shape]
    padded = np.pad(noisy, padding, mode="symmetric")
    other = None if guide is None else np.pad(guide, padding, mode="symmetric")
    total, corners = np.zeros_like(padded), np.zeros_like(padded)
    for shift in itertools.product(range(SIDE), repeat=3):
        window = tuple(
            slice(s, s + (n - s) // SIDE * SIDE) for s, n in zip(shift, padded.shape, strict=True)
        )
        shape = padded[window].shape
        blocks, weight = shrink(
            _split(padded[window]), None if other is None else _split(other[window])
        )
        total[window] += _join(blocks * weight[:, None], shape)
        first = tuple(slice(part.start, part.stop, SIDE) for part in window)
        corners[first] = weight.reshape([n // SIDE for n in shape])
    inner = tuple(slice(SIDE, SIDE + n) for n in noisy.shape)
    result: Volume = total[inner] / _covering(corners)[inner]
    return result


def _covering(corners: Volume) -> Volume:
    """Weights of all blocks that a voxel is in, summed, from those at the blocks' first voxels."""
    sums = corners
    for axis in range(3):
        line = np.moveaxis(sums, axis, 0)
        total = line.copy()
        for back in range(1, SIDE):
            total[back:] += line[:-back]
        sums = np.moveaxis(total, 0, axis)
    return sums


def _split(volume: Volume) -> Volume:
    """Volume whose sides are multiples of SIDE → blocks, shape (n, BLOCK)."""
    z, y, x = (n // SIDE for n in volume.shape)
    parts = volume.reshape(z, SIDE, y, SIDE, x, SIDE).transpose(0, 2, 4, 1, 3, 5)
    return np.ascontiguousarray(parts).reshape(-1, BLOCK)


def _join(blocks: Volume, shape: tuple[int, ...]) -> Volume:
    """Inverse of :func:`_split`."""
    z, y, x = (n // SIDE for n in shape)
    parts = blocks.reshape(z, y, x, SIDE, SIDE, SIDE).transpose(0, 3, 1, 4, 2, 5)
    return parts.reshape(shape)
