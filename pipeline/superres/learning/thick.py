"""Training volumes of thick slices, which are sharp within their planes alone.

Such a volume is brought onto voxels as long as its pixels, as the stage does it before a network.
Slices are made thick anew along an axis that is sharp; along the others a restored patch is judged
by what the acquired slices would see of it, as nothing sharper is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.restore.volumes import Volume
from pipeline.superres import profile, sampling

Values = NDArray[np.float32]

#: An edge of a voxel is sharp up to this multiple of the shortest.
ISOTROPIC = 1.5
#: Of :func:`pipeline.superres.sampling.correction`; keeps rounding errors small.
DAMPING = 1e-4
#: Slices beyond a box on either side that its interpolation sees.
REACH = 4


@dataclass(frozen=True)
class Slices:
    """Where touching slices lie along an axis.

    Attributes:
        middles: (n,), voxels.
        distance: from one to the next, voxels.
    """

    middles: sampling.Doubles
    distance: float

    def matrix(self, count: int) -> sampling.Matrix:
        """(n, count): what the slices see of a row of voxels."""
        box = profile.weights(self.distance, "box", 1.0)
        return sampling.slices(self.middles, box, count)

    def projection(self, count: int) -> sampling.Matrix:
        """(count, count): the part of a row that the slices which lie wholly in it see."""
        half = self.distance / 2.0 - 1e-6
        whole = (self.middles - half >= -0.5) & (self.middles + half <= count - 0.5)
        if not whole.any():
            return np.zeros((count, count), np.float32)
        matrix = replace(self, middles=self.middles[whole]).matrix(count)
        return sampling.correction(matrix, DAMPING) @ matrix


@dataclass(frozen=True)
class Box:
    """A box of a volume.

    Attributes:
        values: (Z, Y, X), the normal of what is to be made thick along Z.
        guide: another contrast of the same shape; or None.
        slices: by axis, where the volume's own slices are thick.
    """

    values: Values
    guide: Values | None
    slices: Mapping[int, Slices]

    @property
    def parts(self) -> list[Values]:
        """The values, and the guide if there is one."""
        return [self.values] if self.guide is None else [self.values, self.guide]

    def of(self, parts: Sequence[Values], slices: Mapping[int, Slices]) -> Box:
        """A box of changed parts."""
        return Box(parts[0], parts[1] if len(parts) > 1 else None, slices)

    def transposed(self, order: Sequence[int]) -> Box:
        """With axes exchanged, as :func:`numpy.transpose` does it."""
        moved = {order.index(axis): one for axis, one in self.slices.items()}
        return self.of([np.transpose(part, order) for part in self.parts], moved)

    def crop(self, middle: NDArray[np.int_], sizes: Sequence[int]) -> Box:
        """A part of it about a voxel; beyond the volume its edge goes on."""
        starts = [int(place) - size // 2 for place, size in zip(middle, sizes, strict=True)]
        moved = {
            axis: replace(one, middles=one.middles - starts[axis])
            for axis, one in self.slices.items()
        }
        return self.of([crop(part, starts, sizes) for part in self.parts], moved)

    def enlarged(self, sizes: Sequence[int], zoom: float) -> Box:
        """The same anatomy on smaller voxels: scanners differ in theirs."""
        matrices = [
            sampling.spline(np.arange(count, dtype=np.float64), np.arange(size) / zoom)
            for count, size in zip(self.values.shape, sizes, strict=True)
        ]
        # a spline swings over at edges; magnitudes have no negative values
        made = [np.maximum(sampling.apply(matrices, part), part.min()) for part in self.parts]
        moved = {
            n: Slices(one.middles * zoom, one.distance * zoom) for n, one in self.slices.items()
        }
        return self.of(made, moved)

    def mirrored(self, steps: Sequence[int]) -> Box:
        """Backwards along each axis whose step is -1."""
        counts = self.values.shape
        moved = {
            axis: replace(one, middles=counts[axis] - 1 - one.middles) if steps[axis] < 0 else one
            for axis, one in self.slices.items()
        }
        turn = tuple(slice(None, None, step) for step in steps)
        return self.of([part[turn] for part in self.parts], moved)

    def seen(self, margins: Sequence[int]) -> NDArray[np.float32]:
        """(2, P, P): what is known along Y and X of the box without margins; identities if all."""
        found = []
        for axis in (1, 2):
            count = self.values.shape[axis] - 2 * margins[axis]
            own = self.slices.get(axis)
            inner = own and replace(own, middles=own.middles - margins[axis])
            found.append(inner.projection(count) if inner else np.eye(count, dtype=np.float32))
        return np.stack(found)


def crop(values: Values, starts: Sequence[int], sizes: Sequence[int]) -> Values:
    """A box from a voxel on; beyond the volume its edge goes on."""
    chosen = [
        np.clip(np.arange(size) + start, 0, count - 1)
        for size, start, count in zip(sizes, starts, values.shape, strict=True)
    ]
    return values[np.ix_(*chosen)]


def sharp_axes(volume: Volume) -> tuple[int, ...]:
    """Axes along which the volume's voxels are not much longer than along the finest."""
    finest = min(volume.spacing)
    return tuple(axis for axis, edge in enumerate(volume.spacing) if edge <= ISOTROPIC * finest)


def on_pixels(volume: Volume) -> Box:
    """A volume on voxels as long as its pixels where its slices are thick, else as it is."""
    sharp, finest = sharp_axes(volume), min(volume.spacing)
    whole = Box(volume.values, volume.guide, {})
    if len(sharp) == 3:
        return whole
    up: list[sampling.Matrix | None] = [None] * 3
    down: list[sampling.Matrix | None] = [None] * 3
    slices = {}
    for axis in set(range(3)) - set(sharp):
        step, number = volume.spacing[axis] / finest, volume.values.shape[axis]
        count = round(number * step)
        middles = np.asarray((np.arange(number) + 0.5) * step - 0.5, dtype=np.float64)
        slices[axis] = Slices(middles, step)
        up[axis] = sampling.spline(slices[axis].middles, np.arange(count, dtype=np.float64))
        down[axis] = slices[axis].matrix(count)
    parts = [
        sampling.explained(sampling.apply(up, part), part, down, sampling.GENTLE)
        for part in whole.parts
    ]
    return whole.of(parts, slices)


def facing(volume: Volume, number: int) -> Box:
    """A volume as of :func:`on_pixels`, one of its sharp axes, by number, first."""
    axes = sharp_axes(volume)
    axis = axes[number % len(axes)]
    return on_pixels(volume).transposed([axis, *(n for n in range(3) if n != axis)])


def cut(volume: Volume, place: Sequence[int], sizes: Sequence[int]) -> Box:
    """A box about a voxel of a volume, on voxels as long as its pixels.

    Only what the box needs is brought there: a whole volume of thick slices would be many times
    as large as it was.

    Args:
        volume: to cut from.
        place: its voxel.
        sizes: of the box, in its own voxels.
    """
    finest, sharp = min(volume.spacing), sharp_axes(volume)
    starts, wanted = [], []
    for axis, size in enumerate(sizes):
        count, step = volume.values.shape[axis], volume.spacing[axis] / finest
        number = size if axis in sharp else min(count, int(np.ceil(size / step)) + 2 * REACH)
        start = int(place[axis]) - number // 2
        starts.append(start if axis in sharp else min(max(0, start), count - number))
        wanted.append(number)
    guide = None if volume.guide is None else crop(volume.guide, starts, wanted)
    part = replace(volume, values=crop(volume.values, starts, wanted), guide=guide)
    middle = [
        size // 2 if axis in sharp
        else round((place[axis] - starts[axis] + 0.5) * volume.spacing[axis] / finest - 0.5)
        for axis, size in enumerate(sizes)
    ]  # fmt: skip
    return on_pixels(part).crop(np.asarray(middle), sizes)
