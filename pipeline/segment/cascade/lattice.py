"""Interpolation between grids whose axes are parallel, and smoothing: one matrix an axis.

The grids of a cascade are all of one image, so that nothing is ever rotated; axes may change places
and directions. Products with a matrix, of a few weights a row, take a fraction of the time of
looking up each voxel's neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import images, threads
from pipeline.segment.cascade import boxed
from pipeline.segment.cascade.boxed import Box

Points = NDArray[np.float64]
Floats = NDArray[np.float32]
Triple = tuple[int, int, int]
#: Largest entry of a rotation that is taken for none, and largest part of a voxel that is taken for
#: no shift.
STRAIGHT, WHOLE = 1e-5, 1e-3
#: Voxels beyond the outermost centres up to which values go on.
BEYOND = 1.5
#: Deviations after which a Gaussian is cut off.
REACH = 4.0


@dataclass(frozen=True)
class Lattice:
    """Where the voxels of a grid are in an array on another one.

    Attributes:
        axes: axis of the array, 0 to 2 for z to x, that each axis of the grid runs along.
        places: index along that axis of each plane of the grid.
    """

    axes: Triple
    places: tuple[Points, Points, Points]

    @classmethod
    def of(cls, own: sitk.Image, target: sitk.Image) -> Lattice | None:
        """Of the voxels of ``target`` in an array on ``own``; None where one is rotated."""
        ours, theirs = (np.asarray(one.GetDirection()).reshape(3, 3) for one in (own, target))
        turn = ours.T @ theirs
        signs = np.rint(turn)
        if np.abs(turn - signs).max() > STRAIGHT or np.abs(signs).sum() != 3:
            return None
        first = own.TransformPhysicalPointToContinuousIndex(target.GetOrigin())
        axes, places = [], []
        for axis in (2, 1, 0):
            along = int(np.abs(signs[:, axis]).argmax())
            step = signs[along, axis] * target.GetSpacing()[axis] / own.GetSpacing()[along]
            axes.append(2 - along)
            places.append(first[along] + step * np.arange(target.GetSize()[axis]))
        return cls((axes[0], axes[1], axes[2]), (places[0], places[1], places[2]))

    def inside(self, near: Box) -> tuple[Box, Lattice]:
        """The planes of the grid that lie in a box of the array, and the same of the box alone."""
        edges, places = [], []
        for axis, own in zip(self.axes, self.places, strict=True):
            first, last = near[axis].start - BEYOND, near[axis].stop - 1 + BEYOND
            hit = np.flatnonzero((own >= first) & (own <= last))
            edges.append(slice(int(hit[0]), int(hit[-1]) + 1) if len(hit) else slice(0, 0))
            places.append(own[edges[-1]] - near[axis].start)
        z, y, x = edges
        return (z, y, x), Lattice(self.axes, (places[0], places[1], places[2]))

    def linear(self, values: Tensor, outside: float, deviations: Sequence[float]) -> Tensor:
        """Values (Z, Y, X), float32, on the grid; a new array.

        Args:
            values: the array, float32.
            outside: more than :data:`BEYOND` voxels beyond its outermost centres.
            deviations: of a Gaussian before, voxels along the axes of the array; 0 for none.
        """
        turned = values.permute(self.axes)
        result = turned
        for axis in (2, 1, 0):
            result = _along(result, axis, self.places[axis], deviations[self.axes[axis]])
        if result is turned:
            result = turned.clone(memory_format=torch.contiguous_format)
        for axis, places in enumerate(self.places):
            last = turned.shape[axis] - 1 + BEYOND + WHOLE
            beyond = np.flatnonzero((places < -BEYOND - WHOLE) | (places > last))
            if len(beyond):
                result.index_fill_(axis, torch.from_numpy(beyond), outside)
        return result


def linear(
    values: Floats,
    own: sitk.Image,
    target: sitk.Image,
    outside: float = 0.0,
    deviations: Sequence[float] = (0.0, 0.0, 0.0),
) -> Floats:
    """One channel (Z, Y, X) of a grid on another grid of the same space; a new array.

    Values go on for one voxel beyond the faces of their grid; further away is ``outside``.

    Args:
        values: on the grid ``own``.
        own: a grid.
        target: another one.
        outside: far from ``own``.
        deviations: of a Gaussian low-pass filter before, voxels of ``own`` along z, y, x.
    """
    given = torch.from_numpy(np.asarray(values, np.float32))
    straight = Lattice.of(own, target)
    if straight is not None:
        return np.asarray(straight.linear(given, outside, deviations).numpy())
    smooth = images.like(smoothed(given, deviations).numpy(), own)
    resample = sitk.ResampleImageFilter()
    # each voxel by itself: any number of threads gives the same
    resample.SetNumberOfThreads(threads.count())
    resample.SetReferenceImage(target)
    resample.SetInterpolator(sitk.sitkLinear)
    resample.SetDefaultPixelValue(float(outside))
    found: Floats = sitk.GetArrayFromImage(
        resample.Execute(sitk.ZeroFluxNeumannPad(smooth, [1, 1, 1], [1, 1, 1]))
    )
    return found


def placed(
    values: Floats, own: sitk.Image, target: sitk.Image, least: float = 0.0, rim: float = 0.0
) -> tuple[Box, Floats]:
    """One channel (Z, Y, X) of a grid on another one, where it is not nothing.

    Args:
        values: on the grid ``own``.
        own: a grid.
        target: another grid of the same space.
        least: the box holds what is above it.
        rim: mm around that, at least one voxel.

    Returns:
        Box on ``target``, empty where there is nothing, and the values there.
    """
    straight = Lattice.of(own, target)
    if straight is None:
        z, y, x = (slice(0, size) for size in target.GetSize()[::-1])
        return (z, y, x), linear(values, own, target)
    near = boxed.around(values > least)
    if near == boxed.EMPTY:
        return boxed.EMPTY, np.zeros((0, 0, 0), np.float32)
    reach = [max(1, math.ceil(rim / length)) for length in own.GetSpacing()[::-1]]
    near = boxed.wider(near, reach, values.shape)
    box, part = straight.inside(near)
    if not all(len(places) for places in part.places):
        return boxed.EMPTY, np.zeros((0, 0, 0), np.float32)
    given = torch.from_numpy(np.asarray(values[near], np.float32))
    return box, np.asarray(part.linear(given, 0.0, (0.0, 0.0, 0.0)).numpy())


def smoothed(values: Tensor, deviations: Sequence[float]) -> Tensor:
    """Values (Z, Y, X) after a Gaussian low-pass filter; those at the border go on beyond it.

    Args:
        values: float32.
        deviations: voxels along z, y, x; 0 for none.
    """
    for axis, deviation in enumerate(deviations):
        if deviation > 0:
            matrix = torch.from_numpy(_gaussian(values.shape[axis], deviation).astype(np.float32))
            values = _product(matrix, values, axis)
    return values


def _along(values: Tensor, axis: int, places: Points, deviation: float) -> Tensor:
    """Values (Z, Y, X) at other places along one axis, after a Gaussian along it."""
    count = values.shape[axis]
    inside = np.clip(places, 0, count - 1)
    near = np.rint(inside)
    smooth = deviation > 0 and count > 1
    if not smooth and np.abs(inside - near).max() < WHOLE:
        if np.array_equal(near, np.arange(count)):
            return values
        return values.index_select(axis, torch.from_numpy(near.astype(np.int64)))
    matrix = _weights(inside, count)
    if smooth:
        matrix = matrix @ _gaussian(count, deviation)
    return _product(torch.from_numpy(matrix.astype(np.float32)), values, axis)


def _product(matrix: Tensor, values: Tensor, axis: int) -> Tensor:
    """Values (Z, Y, X) times a matrix along one axis."""
    if axis == 2:
        return values @ matrix.T
    if axis == 1:
        return matrix @ values
    return (matrix @ values.flatten(1)).reshape(len(matrix), *values.shape[1:])


def _weights(places: Points, count: int) -> Points:
    """Matrix (N, count) of the weights of both neighbours of N places from 0 to count - 1."""
    low = np.minimum(places.astype(np.int64), count - 2)
    rows, high = np.arange(len(places)), places - low
    result = np.zeros((len(places), count))
    result[rows, low] = 1.0 - high
    result[rows, low + 1] = high
    return result


def _gaussian(count: int, deviation: float) -> Points:
    """Matrix (count, count) of a Gaussian's weights, cut off after :data:`REACH` deviations."""
    reach = int(REACH * deviation + 0.5)
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (steps / deviation) ** 2)
    rows = np.arange(count)[:, None]
    result = np.zeros((count, count))
    np.add.at(result, (rows, np.clip(rows + steps, 0, count - 1)), weights / weights.sum())
    return result
