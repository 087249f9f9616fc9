"""From the posteriors of the last level to labels, entropy and volumes on the input's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from numpy.typing import NDArray

from pipeline import images
from pipeline.labels import Label
from pipeline.segment import crop
from pipeline.segment.cascade import lattice, space, uncertainty
from pipeline.segment.cascade.bounds import Bounds
from pipeline.segment.cascade.cleanup import Cleanup
from pipeline.segment.cascade.run import Found
from pipeline.segment.cascade.uncertainty import Limits
from pipeline.segment.cascade.volume import Floats

Mask = NDArray[np.bool_]
Sums = NDArray[np.float64]
#: Bytes a voxel of the box that :func:`finish` works in: labels, best share, entropy, one class.
BYTES_PER_VOXEL = 30


@dataclass(frozen=True)
class Finished:
    """A segmentation on the grid of the input.

    Attributes:
        labels: uint8, or uint16 where a label needs it.
        entropy: of the mean posterior, share of the maximum, 0..1.
        volumes: rows of volumes.tsv.
        box: of the last level on the input's grid.
    """

    labels: sitk.Image
    entropy: sitk.Image
    volumes: list[dict[str, Any]]
    box: crop.Box


@dataclass(frozen=True)
class _Part:
    """The result inside the box; arrays are (Z, Y, X) of the input's own axes."""

    labels: NDArray[np.uint16]
    best: Floats
    entropy: Floats
    probable: Sums


def finish(
    found: Sequence[Found],
    reference: sitk.Image,
    labels: Sequence[Label],
    cleanup: Cleanup,
    limits: Limits,
    factor: float,
    bounds: Bounds | None = None,
) -> Finished:
    """Labels of the most probable class at the place of every voxel of the input.

    The posteriors are interpolated, not the labels; one class at a time, so that little memory is
    needed.

    Args:
        found: of every level; the last one gives the result, the one before splits its sides.
        reference: the input, any orientation.
        labels: of the plan.
        cleanup: of the labels.
        limits: when a structure is flagged.
        factor: of the volumes' intervals.
        bounds: outside of which nothing is labelled.
    """
    last = found[-1]
    box = crop.of_grid(last.grid, reference, last.level.name)
    target = box.cut(reference)
    inside = bounds.inside(target) if bounds is not None else None
    part = _interpolated(found, target, inside)
    clean = cleanup(part.labels)
    kind = np.uint8 if clean.max(initial=0) < 256 else np.uint16
    result = box.paste(images.like(clean.astype(kind), target), reference)
    names = {label.index: label for label in labels}
    own = [names[index] for index in last.level.labels]
    rows = _rows(part, clean, last, own, limits, factor, _cut(clean, box, reference), target)
    return Finished(result, box.paste(images.like(part.entropy, target), reference), rows, box)


def _interpolated(found: Sequence[Found], target: sitk.Image, inside: Mask | None) -> _Part:
    last = found[-1]
    side = last.side
    if side is not None and not images.same_grid(last.grid, target):
        side = found[-2].side_of(last.level, target)
    best = lattice.linear(last.posterior[0], last.grid, target, outside=1.0)
    if inside is not None:
        best[~inside] = 1.0
    entropy = _surprise(best)
    channels = np.zeros(best.shape, np.uint8 if last.level.channels < 256 else np.uint16)
    probable: list[float] = []
    for channel, group in enumerate(last.level.classes, start=1):
        box, share = lattice.placed(last.posterior[channel], last.grid, target)
        if inside is not None:
            share[~inside[box]] = 0.0
        entropy[box] += _surprise(share)
        more = share > best[box]
        np.copyto(channels[box], channel, where=more)
        np.copyto(best[box], share, where=more)
        probable += uncertainty.split(share, len(group), side[box] if side is not None else None)
    entropy /= np.float32(np.log(last.level.channels))
    labels = space.labelled(channels, last.level, side)
    return _Part(labels, best, np.clip(entropy, 0.0, 1.0), np.asarray(probable))


def _surprise(share: Floats) -> Floats:
    """-p log p, 0 where p is 0."""
    return np.asarray(torch.special.entr(torch.from_numpy(share)).numpy())


def _cut(clean: NDArray[np.uint16], box: crop.Box, reference: sitk.Image) -> set[int]:
    """Labels that reach the border of the image: what lies beyond is not counted."""
    found: set[int] = set()
    for axis, whole in enumerate(reference.GetSize()):
        first, last = box.index[axis], box.index[axis] + box.size[axis]
        if first == 0:
            found.update(np.unique(clean.take(0, 2 - axis)).tolist())
        if last == whole:
            found.update(np.unique(clean.take(-1, 2 - axis)).tolist())
    return found - {0}


def _rows(
    part: _Part,
    clean: NDArray[np.uint16],
    last: Found,
    labels: Sequence[Label],
    limits: Limits,
    factor: float,
    cut: set[int],
    grid: sitk.Image,
) -> list[dict[str, Any]]:
    voxel, most = float(np.prod(grid.GetSpacing())), int(clean.max(initial=0)) + 1
    size = max([most, *(label.index + 1 for label in labels)])
    count = np.bincount(clean.ravel(), minlength=size)
    # a voxel that the clean-up gave to another label says nothing for that one
    kept = np.where(clean == part.labels, part.best, 0.0)
    both = np.bincount(clean.ravel(), kept.ravel(), minlength=size)
    volumes = [float(count[label.index]) * voxel for label in labels]
    sums = [
        (float(both[label.index]), float(probable), int(count[label.index]))
        for label, probable in zip(labels, part.probable, strict=True)
    ]
    dices = [uncertainty.expected_dice(*one) for one in sums]
    flags = [
        uncertainty.flag(label.name, mm3, dice, label.index in cut, limits)
        for label, mm3, dice in zip(labels, volumes, dices, strict=True)
    ]
    wrong = [uncertainty.expected_wrong(*one) * voxel for one in sums]
    halves = uncertainty.halves(last.samples, wrong, factor)
    rows = uncertainty.rows(labels, volumes, halves, dices, flags)
    return sorted(rows, key=lambda row: int(row["label"]))
