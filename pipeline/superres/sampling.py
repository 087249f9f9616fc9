"""Acquisition and interpolation along one axis, as matrices: what a whole volume takes in a moment.

On a lattice of the image's own axes both are separable: an axis is multiplied by its matrix, the
others stay. ``slices`` is the forward operator of :mod:`pipeline.superres.profile`, with the same
profiles; ``spline`` is the cubic B-spline between its slices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Matrix = NDArray[np.float32]
Volume = NDArray[np.float32]
#: Damping of the correction that an interpolation gets before a network sees it.
GENTLE = 0.01
Doubles = NDArray[np.float64]


def slices(middles: Doubles, profile: tuple[Doubles, Doubles], count: int) -> Matrix:
    """What slices acquire of ``count`` voxels in a row, which go on as they end beyond both ends.

    Args:
        middles: (n,), middles of the slices, in voxels.
        profile: offsets from a slice's middle, in voxels, and their weights, as of
            :func:`pipeline.superres.profile.weights`.
        count: voxels.

    Returns:
        (n, count); rows sum to 1.
    """
    offsets, shares = profile
    places = np.clip(middles[:, None] + offsets[None], 0.0, count - 1.0)
    low = np.minimum(places.astype(int), max(count - 2, 0))
    part = places - low
    rows = np.broadcast_to(np.arange(len(middles))[:, None], places.shape)
    matrix = np.zeros((len(middles), count))
    np.add.at(matrix, (rows, low), shares * (1.0 - part))
    np.add.at(matrix, (rows, np.minimum(low + 1, count - 1)), shares * part)
    return matrix.astype(np.float32)


def spline(middles: Doubles, places: Doubles) -> Matrix:
    """Cubic B-spline through samples in a row, mirrored beyond the ends (Unser 1999).

    Unser 1999, IEEE Signal Processing Magazine, doi:10.1109/79.799930.

    Args:
        middles: (n,), places of the samples, equally far apart.
        places: (m,), wanted places, in the same unit.

    Returns:
        (m, n).
    """
    count = len(middles)
    if count == 1:
        return np.ones((len(places), 1), np.float32)
    positions = (places - middles[0]) / (middles[1] - middles[0])
    first = np.floor(positions).astype(int) - 1
    period = 2 * (count - 1)
    basis = np.zeros((len(places), count))
    for tap in range(4):
        index = np.abs(first + tap) % period
        index = np.minimum(index, period - index)
        np.add.at(basis, (np.arange(len(places)), index), _cubic(positions - first - tap))
    coefficients = ndimage.spline_filter1d(np.eye(count), 3, axis=0, mode="mirror")
    return np.asarray(basis @ coefficients, dtype=np.float32)


def _cubic(distance: Doubles) -> Doubles:
    """The cubic B-spline."""
    far = np.abs(distance)
    near = 2.0 / 3.0 - far**2 + far**3 / 2.0
    return np.where(far < 1.0, near, np.clip(2.0 - far, 0.0, None) ** 3 / 6.0)


def apply(matrices: Sequence[Matrix | None], volume: Volume) -> Volume:
    """Multiply each axis of (Z, Y, X) by its matrix; None leaves the axis as it is."""
    shape = volume.shape
    for axis, matrix in enumerate(matrices):
        if matrix is not None and axis == 2:
            volume = volume @ matrix.T
        elif matrix is not None:
            volume = np.matmul(matrix, volume.reshape(*volume.shape[:axis], volume.shape[axis], -1))
            volume = volume.reshape(*volume.shape[: axis + 1], *shape[axis + 1 :])
    return np.ascontiguousarray(volume, dtype=np.float32)


def correction(matrix: Matrix, damping: float) -> Matrix:
    """Turns what slices differ by into the smallest change of the voxels that explains it.

    ``Dᵀ (D Dᵀ + damping)⁻¹`` for the forward operator D: with 0 the changed voxels give the slices
    exactly; more leaves of the difference what noise may have made (Tikhonov).

    Args:
        matrix: (n, m), D.
        damping: relative to the mean of D Dᵀ's diagonal.

    Returns:
        (m, n).
    """
    forward = matrix.astype(np.float64)
    gram = forward @ forward.T
    gram += damping * float(np.trace(gram)) / len(gram) * np.eye(len(gram))
    return np.asarray(np.linalg.pinv(gram, rcond=1e-6, hermitian=True).T @ forward).T.astype(
        np.float32
    )


def explained(
    values: Volume, acquired: Volume, forward: Sequence[Matrix | None], damping: float
) -> Volume:
    """The volume after the smallest change that makes it give the acquired samples.

    Args:
        values: (Z, Y, X).
        acquired: what ``forward`` should give of it.
        forward: matrices of the acquisition, as of :func:`slices`; None for an axis left as it is.
        damping: of :func:`correction`.
    """
    if all(one is None for one in forward):
        return values
    back = [None if one is None else correction(one, damping) for one in forward]
    return values + apply(back, acquired - apply(forward, values))
