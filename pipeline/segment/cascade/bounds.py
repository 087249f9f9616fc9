"""The brain mask as a bound of what a cascade may find: scalp and muscle look like tissue, too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.segment.cascade import lattice

if TYPE_CHECKING:
    from pipeline.segment.cascade.run import Found

#: Voxels that distances from the mask are told on, mm.
STEP = 2.0
#: A mask that holds less than this share of what the first level finds is not trusted.
TRUST = 0.5


@dataclass(frozen=True)
class Bounds:
    """How far each place is from the mask.

    Attributes:
        distance: mm to the mask, 0 or less inside, on a grid of about :data:`STEP` mm.
        margin: mm outside of the mask that are let in.
    """

    distance: sitk.Image
    margin: float

    @classmethod
    def of(cls, mask: sitk.Image, margin: float) -> Bounds:
        """Measure the distances of a mask that is not empty."""
        own = sitk.DICOMOrient(mask > 0, "LPS")
        grid = images.spaced_grid(own, tuple(max(STEP, length) for length in own.GetSpacing()))
        coarse = images.resample(own, grid, labels=True)
        told = sitk.SignedMaurerDistanceMap(
            coarse, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
        )
        return cls(told, margin)

    def inside(self, grid: sitk.Image, more: float = 0.0) -> NDArray[np.bool_]:
        """What lies in the bounds of a grid, (Z, Y, X).

        Args:
            grid: of the same space.
            more: mm that are let in beside the margin.
        """
        own = self.distance
        found = lattice.linear(images.array(own), own, grid, outside=float("inf"))
        return np.asarray(found <= self.margin + more)

    def near(self, grid: sitk.Image) -> NDArray[np.bool_]:
        """What is out of bounds by half a voxel at most, (Z, Y, X)."""
        return self.inside(grid, 0.5 * max(grid.GetSpacing()))

    def kept(self, found: Found) -> Found:
        """What a level found, without what is out of bounds."""
        inside = self.near(found.grid)
        share = np.where(inside, found.posterior, np.float32(0.0))
        share[0, ~inside] = 1.0
        return replace(found, posterior=share)

    def share(self, found: Found) -> float:
        """Share of what a level found that lies in the bounds."""
        labelled = found.labels > 0
        held = labelled & self.near(found.grid)
        return round(float(held.sum() / max(1, labelled.sum())), 4)
