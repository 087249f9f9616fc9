"""The fine lattice of an image: its own axes, the wanted voxels.

Between an image and its own fine lattice lies no rotation, so interpolation, acquisition and the
correction that enforces consistency are one matrix an axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.superres import condition, sampling
from pipeline.superres.profile import Profile, weights

Values = NDArray[np.float32]

#: A sample is coarse when its spacing is above this many voxels.
COARSE = 1.02
#: Share of the diagonal that is added to D Dᵀ before it is inverted; keeps rounding errors small.
DAMPING = 1e-4


@dataclass(frozen=True)
class Fine:
    """The lattice, and how the image's samples lie on it.

    Attributes:
        grid: geometry.
        normal: array axis (z, y, x = 0, 1, 2) of the slices' normal.
        spacings: distance of the image's samples along z, y, x, in voxels of the lattice.
        middles: their places along z, y, x, in voxels.
        profile: offsets, in voxels, and weights of a slice along the normal.
        thickness: of a slice, in voxels.
    """

    grid: sitk.Image
    normal: int
    spacings: tuple[float, float, float]
    middles: tuple[sampling.Doubles, sampling.Doubles, sampling.Doubles]
    profile: tuple[sampling.Doubles, sampling.Doubles]
    thickness: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Z, Y, X."""
        x, y, z = self.grid.GetSize()
        return z, y, x

    def interpolated(self, values: Values, *, normal: bool = True, others: bool = True) -> Values:
        """The samples on the lattice, by cubic B-spline.

        Args:
            values: (z, y, x), of the image.
            normal: whether the slices' normal is interpolated where it is coarse.
            others: whether the two other axes are, where they are coarse; axes that are finer than
                the lattice always are.
        """
        return sampling.apply(
            [
                sampling.spline(self.middles[axis], np.arange(count, dtype=np.float64))
                if self._differs(axis) and self._wanted(axis, normal, others)
                else None
                for axis, count in enumerate(self.shape)
            ],
            values,
        )

    def start(self, values: Values) -> Values:
        """The samples on the lattice, corrected by the profile: what a network begins with."""
        target = self.interpolated(values, normal=False, others=False)
        spline = self.interpolated(values)
        return sampling.explained(spline, target, self.forward(), sampling.GENTLE)

    def forward(self) -> list[sampling.Matrix | None]:
        """Matrices of the acquisition along the coarse axes; None for the others."""
        return [
            sampling.slices(self.middles[axis], self._profile(axis), count)
            if self.spacings[axis] > COARSE
            else None
            for axis, count in enumerate(self.shape)
        ]

    def condition(self) -> NDArray[np.float32]:
        """What a network is told; the normal first, then the two other axes in their order."""
        order = [self.normal, *(axis for axis in range(3) if axis != self.normal)]
        a, b, c = (max(1.0, self.spacings[axis]) for axis in order)
        first = float(self.middles[self.normal][0])
        return condition.describe(self.shape[self.normal], first, (a, b, c), self.thickness)

    def _differs(self, axis: int) -> bool:
        middles, count = self.middles[axis], self.shape[axis]
        return len(middles) != count or not np.allclose(middles, np.arange(count), atol=1e-3)

    def _wanted(self, axis: int, normal: bool, others: bool) -> bool:
        return self.spacings[axis] <= COARSE or (normal if axis == self.normal else others)

    def _profile(self, axis: int) -> tuple[sampling.Doubles, sampling.Doubles]:
        if axis == self.normal:
            return self.profile
        return weights(self.spacings[axis], "box", 1.0)


def fine(
    image: sitk.Image, profile: Profile, wanted: float, along: Callable[[float], float]
) -> Fine:
    """The fine lattice of an image.

    Args:
        image: as acquired.
        profile: of its slices.
        wanted: edge of a voxel across the normal, mm.
        along: edge of a voxel along the normal from the slices' distance, mm.
    """
    old = image.GetSpacing()
    x, y, z = (along(old[n]) if n == profile.axis else wanted for n in range(3))
    grid = images.spaced_grid(image, (x, y, z))
    steps = np.asarray(old) / np.asarray(grid.GetSpacing())
    a, b, c = (
        (np.arange(count) + 0.5) * step - 0.5
        for count, step in zip(reversed(image.GetSize()), reversed(steps.tolist()), strict=True)
    )
    voxel = grid.GetSpacing()[profile.axis]
    return Fine(
        grid,
        2 - profile.axis,
        (float(steps[2]), float(steps[1]), float(steps[0])),
        (a, b, c),
        (profile.offsets / voxel, profile.weights),
        max(1.0, profile.width / voxel),
    )


def consistent(
    values: Values, acquired: Values, lattice: Fine, noise: float, rounds: int
) -> Values:
    """The nearest volume that gives back what was acquired, within the noise.

    The smallest change in the sense of least squares, once for a linear acquisition; values that
    it takes below the acquired ones' lowest are cut, so that a further round may be needed.

    Args:
        values: (z, y, x), on the lattice.
        acquired: (z, y, x), on the image's own lattice.
        lattice: which both belong to.
        noise: standard deviation of the acquired values; a difference of this size stays.
        rounds: most corrections.
    """
    forward = lattice.forward()
    back = [None if one is None else sampling.correction(one, DAMPING) for one in forward]
    target = lattice.interpolated(acquired, normal=False, others=False)
    lowest = min(0.0, float(acquired.min()))
    values = np.maximum(values, lowest)
    if all(one is None for one in forward):
        return values
    for _ in range(rounds):
        difference = target - sampling.apply(forward, values)
        error = float(np.sqrt(np.mean(difference**2)))
        if error <= noise or error == 0:
            break
        step = sampling.apply(back, difference)
        values = np.maximum(values + np.float32(1.0 - noise / error) * step, lowest)
    return values
