"""Shares of many classes of a volume, each kept in the box where it is not negligible.

Of the structures of a brain a few fill all of it, and most are small: on boxes there is a third of
the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Box = tuple[slice, slice, slice]
EMPTY: Box = (slice(0, 0), slice(0, 0), slice(0, 0))


@dataclass(frozen=True)
class Boxed:
    """Shares, or their logarithms, of the background and K classes.

    Attributes:
        shape: Z, Y, X of the volume.
        boxes: of each class; the background's, the first, is the whole volume.
        values: of each class in its box; outside it the share is 0.
    """

    shape: tuple[int, int, int]
    boxes: tuple[Box, ...]
    values: tuple[Tensor, ...]

    @classmethod
    def of(cls, shares: Tensor, least: float, rim: float = 0.0) -> Boxed:
        """Keep of (1 + K, Z, Y, X), the background first, what is above ``least``.

        Args:
            rim: voxels kept around it.
        """
        z, y, x = shares.shape[1:]
        boxes = (
            whole((z, y, x)),
            *(around((one > least).numpy(), math.ceil(rim)) for one in shares[1:]),
        )
        values = tuple(one[box].clone() for one, box in zip(shares, boxes, strict=True))
        return cls((z, y, x), boxes, values)

    def __iter__(self) -> Iterator[tuple[Box, Tensor]]:
        """Box and values of each class, the background first."""
        return zip(self.boxes, self.values, strict=True)

    def like(self, values: Sequence[Tensor]) -> Boxed:
        """Other values in the same boxes."""
        return Boxed(self.shape, self.boxes, tuple(values))

    def copy(self) -> Boxed:
        """The same in memory of its own."""
        return self.like([one.clone() for one in self.values])

    def sum(self) -> Tensor:
        """Over the classes, (Z, Y, X)."""
        total = self.values[0].clone()
        for box, one in list(self)[1:]:
            total[box] += one
        return total

    def dense(self) -> Tensor:
        """Shares of all voxels, (1 + K, Z, Y, X)."""
        result = torch.zeros((len(self.boxes), *self.shape))
        for number, (box, one) in enumerate(self):
            result[number][box] = one
        return result

    def part(self, steps: Sequence[int]) -> Boxed:
        """Every n-th voxel of the volume along each axis, from the first."""
        z, y, x = (-(-size // step) for size, step in zip(self.shape, steps, strict=True))
        boxes, values = [], []
        for box, one in self:
            found = [_thin(edge, step) for edge, step in zip(box, steps, strict=True)]
            (a, b, c), (i, j, k) = ([ends[n] for ends in found] for n in (0, 1))
            boxes.append((a, b, c))
            values.append(one[i, j, k])
        return Boxed((z, y, x), tuple(boxes), tuple(values))


def whole(shape: Sequence[int]) -> Box:
    """The box that is the volume."""
    z, y, x = (slice(0, size) for size in shape)
    return z, y, x


def around(mask: NDArray[np.bool_], rim: int = 0) -> Box:
    """The least box that holds a mask (Z, Y, X), and a rim; an empty one for an empty mask."""
    plane, depth = np.any(mask, axis=0), np.any(mask.reshape(len(mask), -1), axis=1)
    edges = []
    for found in (depth, np.any(plane, axis=1), np.any(plane, axis=0)):
        places = np.flatnonzero(found)
        if not len(places):
            return EMPTY
        first, last = int(places[0]) - rim, int(places[-1]) + 1 + rim
        edges.append(slice(max(0, first), min(last, len(found))))
    z, y, x = edges
    return z, y, x


def wider(box: Box, rim: Sequence[int], shape: Sequence[int]) -> Box:
    """A box with some voxels more on both sides of each axis, cut at the borders of the volume."""
    z, y, x = (
        slice(max(0, edge.start - more), min(edge.stop + more, size))
        for edge, more, size in zip(box, rim, shape, strict=True)
    )
    return z, y, x


def softmax(scores: Boxed) -> Boxed:
    """Shares of the classes from their scores, in the memory of the scores."""
    return normalised(peaked(scores))


def peaked(scores: Boxed) -> Boxed:
    """Exponentials of scores, 1 for the highest of each voxel, in the memory of the scores."""
    top = scores.values[0].clone()
    for box, one in scores:
        torch.maximum(top[box], one, out=top[box])
    for box, one in scores:
        one.sub_(top[box]).exp_()
    return scores


def normalised(shares: Boxed) -> Boxed:
    """Shares divided by their sum, in their own memory."""
    total = shares.sum()
    for box, one in shares:
        one.div_(total[box])
    return shares


def _thin(edge: slice, step: int) -> tuple[slice, slice]:
    """Of every n-th voxel those in a range: their numbers, and which of its values."""
    first, last = -(-edge.start // step), -(-edge.stop // step)
    return slice(first, last), slice(first * step - edge.start, None, step)
