"""The atlas of a level: how often the training cases have each class at a place.

A case that is trained on or judged never sees its own subject in it: those labels are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from pipeline import images
from pipeline.errors import VoxelwayError
from pipeline.segment.cascade import prior, volume
from pipeline.segment.cascade.plan import Level, PriorGrid
from pipeline.segment.cascade.volume import Floats
from pipeline.segment.learning import targets
from pipeline.segment.learning.cases import Case

#: Edge of a voxel of the atlas, mm: no finer than how well it lies.
SPACING = 4.0
#: Every so many voxels of a case tell how far the atlas reaches.
STRIDE = 29
#: Deviation of the Gaussian that makes a mean of few cases smooth, mm.
SMOOTH = 2.0
#: Voxels around what the cases show.
RIM = 2


class Atlas:
    """Cases in the space of an atlas.

    Args:
        cases: that it is made of.
        level: that has a prior.
        before: the level before.
        learned: labels of the plan.
    """

    def __init__(
        self, cases: Sequence[Case], level: Level, before: Level, learned: NDArray[np.int64]
    ) -> None:
        assert level.prior is not None
        self.place, self.count = level.prior, len(level.classes)
        reference = np.asarray(level.prior.centres)
        frame = sitk.Image(level.prior.size, sitk.sitkUInt8)
        frame.SetOrigin(level.prior.origin)
        frame.SetSpacing(level.prior.spacing)
        self.maps: dict[str, NDArray[np.uint16]] = {}
        self.people: dict[str, list[str]] = {}
        for case in cases:
            found = _centres(case, before, learned)
            if np.isnan(found).all():
                continue  # nothing to lay the atlas by
            moves = prior.affine(reference, found)
            moved = _nearest(case.labels, frame, moves)
            self.people.setdefault(case.person, []).append(case.name)
            self.maps[case.name] = volume.table(level.classes, 65535)[moved].astype(np.uint16)
        self.total: Floats = np.zeros((self.count, *frame.GetSize()[::-1]), np.float32)
        for one in self.maps.values():
            self.total += self._shares(one)
        self._kept: tuple[str, Floats] | None = None

    @property
    def shares(self) -> Floats:
        """Of all cases, (K, Z, Y, X), 0 to 1."""
        return self.total / np.float32(max(1, len(self.maps)))

    def without(self, case: Case) -> Floats:
        """Of all cases but this one's subject, (K, Z, Y, X); the last asked for is kept."""
        if self._kept is None or self._kept[0] != case.person:
            found, own = self.total, self.people.get(case.person, [])
            for name in own:
                found = found - self._shares(self.maps[name])
            others = np.float32(max(1, len(self.maps) - len(own)))
            self._kept = case.person, np.clip(found, 0.0, None) / others
        return self._kept[1]

    def _shares(self, channels: NDArray[np.uint16]) -> Floats:
        width = SMOOTH / np.asarray(self.place.spacing)[::-1]
        return np.stack(
            [
                ndimage.gaussian_filter((channels == number).astype(np.float32), width)
                for number in range(1, self.count + 1)
            ]
        )


def place(
    cases: Sequence[Case], level: Level, before: Level, learned: NDArray[np.int64]
) -> PriorGrid:
    """Grid of a level's atlas, about the mean centres of the level before.

    Raises:
        VoxelwayError: E-TRAIN-DATA when a class of the level before is in no case.
    """
    centred = [(case, _centres(case, before, learned)) for case in cases]
    centred = [(case, one) for case, one in centred if not np.isnan(one).all()]
    found = [one for _, one in centred] or [np.full((len(before.classes), 3), np.nan)]
    # about the mean of those that every case has, so that one which lacks a class counts as well
    whole = ~np.isnan(np.stack(found)).any(axis=(0, 2))
    if np.isnan(np.stack(found)).all(axis=0).any():
        what = f"A class of the level {before.name} is in no case: {level.name} can have no prior"
        raise VoxelwayError("E-TRAIN-DATA", what, hint="Turn `prior` off, or give such cases")
    middle = [one[whole if whole.any() else ~np.isnan(one[:, 0])].mean(axis=0) for one in found]
    moved = [one - own for one, own in zip(found, middle, strict=True)]
    reference = np.nanmean(moved, axis=0).round(3)
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for case, one in centred:
        points = _extent(case, level, prior.affine(reference, one).GetInverse())
        if not len(points):
            continue
        low, high = np.minimum(low, points.min(axis=0)), np.maximum(high, points.max(axis=0))
    origin = np.floor(low / SPACING - RIM) * SPACING
    size = np.ceil((high - origin) / SPACING).astype(int) + RIM + 1
    x, y, z = (float(v) for v in origin)
    i, j, k = (int(n) for n in size)
    centres = tuple((float(p[0]), float(p[1]), float(p[2])) for p in reference)
    return PriorGrid((x, y, z), (SPACING, SPACING, SPACING), (i, j, k), centres)


def _centres(case: Case, before: Level, learned: NDArray[np.int64]) -> prior.Points:
    """Centres of a case's own labels, as the level before would best find them."""
    grid = images.spaced_grid(case.labels, before.spacing)
    highest = int(max(int(sitk.GetArrayViewFromImage(case.labels).max()), *learned))
    found = targets.channels(before, learned, highest, _reader(case), grid)
    return prior.centres(found, len(before.classes), grid)


def _reader(case: Case) -> Callable[[sitk.Image], targets.Labels]:
    def read(grid: sitk.Image) -> targets.Labels:
        return _nearest(case.labels, grid, sitk.Transform(3, sitk.sitkIdentity))

    return read


def _nearest(labels: sitk.Image, grid: sitk.Image, transform: sitk.Transform) -> targets.Labels:
    moved = sitk.Resample(labels, grid, transform, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt16)
    return np.asarray(sitk.GetArrayFromImage(moved), dtype=np.int64)


def _extent(case: Case, level: Level, transform: sitk.Transform) -> prior.Points:
    """Voxels of what a level looks at, some of them, mm, in the space of the atlas."""
    asked = level.crop or level.labels
    index = np.argwhere(np.isin(sitk.GetArrayViewFromImage(case.labels), asked))[::STRIDE, ::-1]
    points = [case.labels.TransformIndexToPhysicalPoint([int(n) for n in one]) for one in index]
    return np.asarray([transform.TransformPoint(point) for point in points]).reshape(-1, 3)
