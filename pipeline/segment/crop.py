"""The box that hands a structure from one level of the cascade to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.errors import VoxelwayError

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Box:
    """Part of a grid: index of its first voxel and its size, along x, y, z."""

    index: Triple
    size: Triple

    @classmethod
    def of(cls, slices: tuple[slice, slice, slice]) -> Box:
        """From slices along z, y, x with a start and a stop."""
        z, y, x = slices
        return cls(
            (x.start, y.start, z.start),
            (x.stop - x.start, y.stop - y.start, z.stop - z.start),
        )

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Of an array along z, y, x."""
        x, y, z = (slice(a, a + n) for a, n in zip(self.index, self.size, strict=True))
        return z, y, x

    @property
    def fact(self) -> dict[str, list[int]]:
        """For a sidecar."""
        return {"Index": list(self.index), "Size": list(self.size)}

    def cut(self, image: sitk.Image) -> sitk.Image:
        """The image inside the box, with its place in space."""
        return sitk.RegionOfInterest(image, self.size, self.index)

    def paste(self, part: sitk.Image, reference: sitk.Image) -> sitk.Image:
        """Put the part back on the grid of ``reference``; zero elsewhere."""
        whole = sitk.Image(reference.GetSize(), part.GetPixelID())
        whole.CopyInformation(reference)
        return sitk.Paste(whole, part, self.size, [0, 0, 0], self.index)


def around(mask: sitk.Image, reference: sitk.Image, margin: float, where: str) -> Box:
    """Box on the grid of ``reference`` around a mask on any grid of the same space.

    Args:
        mask: not empty.
        reference: the grid that the box indexes.
        margin: mm added on every side, cut at the border of the grid.
        where: for the message.

    Raises:
        VoxelwayError: E-MASK-EMPTY when the mask is empty or outside the grid.
    """
    found = np.argwhere(images.bool_array(mask))
    if not len(found):
        hint = "Look at the brain mask of this subject on its QC page"
        what = "The coarse level found no voxel of the brain"
        raise VoxelwayError("E-MASK-EMPTY", what, where=where, hint=hint)
    low, high = found.min(axis=0)[::-1] - 0.5, found.max(axis=0)[::-1] + 0.5
    return _spanned((low, high), mask, reference, margin, where)


def of_grid(grid: sitk.Image, reference: sitk.Image, where: str) -> Box:
    """Box on the grid of ``reference`` that covers the field of view of another grid.

    Raises:
        VoxelwayError: E-MASK-EMPTY when they do not meet.
    """
    ends = np.full(3, -0.5), np.asarray(grid.GetSize(), np.float64) - 0.5
    return _spanned(ends, grid, reference, 0.0, where)


def _spanned(
    ends: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
    grid: sitk.Image,
    reference: sitk.Image,
    margin: float,
    where: str,
) -> Box:
    """Box of ``reference`` around the continuous indices between two corners of a grid."""
    corners = [[ends[(n >> axis) & 1][axis] for axis in range(3)] for n in range(8)]
    points = [
        reference.TransformPhysicalPointToContinuousIndex(
            grid.TransformContinuousIndexToPhysicalPoint([float(v) for v in corner])
        )
        for corner in corners
    ]
    pad = margin / np.asarray(reference.GetSpacing())
    first = np.floor(np.min(points, axis=0) + 0.5 - pad + 1e-6)
    last = np.ceil(np.max(points, axis=0) - 0.5 + pad - 1e-6)
    return _clipped(first, last, reference, where)


def enlarged(box: Box, reference: sitk.Image, margin: float) -> Box:
    """The box with ``margin`` mm more on every side, at least one voxel."""
    pad = np.maximum(1, np.ceil(margin / np.asarray(reference.GetSpacing())))
    first = np.asarray(box.index) - pad
    last = np.asarray(box.index) + np.asarray(box.size) - 1 + pad
    return _clipped(first, last, reference, "")


def touches(labels: sitk.Image, box: Box, whole: Sequence[int]) -> bool:
    """Whether labels reach a face of the box that is not the border of the image itself.

    Args:
        labels: label image inside the box.
        box: where it was cut.
        whole: size of the full grid along x, y, z.
    """
    values = images.bool_array(labels)
    for axis in range(3):
        plane = 2 - axis
        if box.index[axis] > 0 and values.take(0, plane).any():
            return True
        end = box.index[axis] + box.size[axis]
        if end < whole[axis] and values.take(-1, plane).any():
            return True
    return False


def _clipped(
    first: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    last: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    reference: sitk.Image,
    where: str,
) -> Box:
    first = np.maximum(first, 0)
    last = np.minimum(last, np.asarray(reference.GetSize()) - 1)
    size = last - first + 1
    if (size < 1).any():
        what = "The coarse brain lies outside the grid"
        raise VoxelwayError("E-MASK-EMPTY", what, where=where)
    return Box(
        (int(first[0]), int(first[1]), int(first[2])), (int(size[0]), int(size[1]), int(size[2]))
    )
