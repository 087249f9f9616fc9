"""Line integrals of CT slices, and filtered back-projection into parts of them; parallel beams.

Kak and Slaney 2001, Principles of computerized tomographic imaging, chapter 3,
doi:10.1137/1.9780898719277.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Geometry:
    """Rays through a slice, its middle on the axis of rotation.

    Attributes:
        shape: Y, X of the slice, voxels.
        spacing: (y, x) of its voxels, mm.
        views: directions over half a turn.
        step: distance of neighbouring rays, mm.
    """

    shape: tuple[int, int]
    spacing: tuple[float, float]
    views: int
    step: float

    @property
    def bins(self) -> int:
        """Rays of a view, so many that all of the slice is seen."""
        height, width = (n * mm for n, mm in zip(self.shape, self.spacing, strict=True))
        return math.ceil(math.hypot(height, width) / self.step) + 1

    @property
    def angles(self) -> list[float]:
        """Directions of the detector, radians from the x axis."""
        return [math.pi * view / self.views for view in range(self.views)]


def line_integrals(slices: Tensor, geometry: Geometry) -> Tensor:
    """Integrals along all rays, sampled every step.

    Args:
        slices: (N, Y, X), attenuation, 1/mm.
        geometry: of the slices.

    Returns:
        (N, V, B), no unit.
    """
    offsets = (torch.arange(geometry.bins) - (geometry.bins - 1) / 2) * geometry.step
    along, across = torch.meshgrid(offsets, offsets, indexing="ij")
    # what grid_sample calls 1 is the edge of the slice
    half_y, half_x = (0.5 * n * d for n, d in zip(geometry.shape, geometry.spacing, strict=True))
    found = []
    for angle in geometry.angles:
        x = across * math.cos(angle) - along * math.sin(angle)
        y = across * math.sin(angle) + along * math.cos(angle)
        grid = torch.stack([x / half_x, y / half_y], dim=-1)[None]
        rays = functional.grid_sample(slices[None], grid, align_corners=False)
        found.append(rays[0].sum(dim=1) * geometry.step)
    return torch.stack(found, dim=1)


def ramp(reach: int, step: float) -> Tensor:
    """The ramp filter under a Hann window, of rays up to ``reach`` steps away: (2 reach + 1)."""
    place = torch.arange(-reach - 1, reach + 2).double()
    plain = torch.where(place % 2 == 0, 0.0, -1.0 / (math.pi * place * step) ** 2)
    plain[reach + 1] = 1.0 / (2.0 * step) ** 2
    # a Hann window over the frequencies is this mean of neighbours
    smooth = 0.25 * plain[:-2] + 0.5 * plain[1:-1] + 0.25 * plain[2:]
    return (smooth * step).float()


@dataclass(frozen=True)
class Region:
    """A part of a slice, and the rays that it is made from.

    Attributes:
        geometry: of the slice.
        start: first voxel of the part, Y, X.
        size: of the part, Y, X.
        reach: of the filter, steps.
    """

    geometry: Geometry
    start: tuple[int, int]
    size: tuple[int, int]
    reach: int

    def rays(self) -> tuple[Tensor, int]:
        """First ray of each view that is needed, (V,), may be beyond the detector; and how many."""
        y, x = self._places()
        radius = 0.5 * math.hypot(float(y[-1, 0] - y[0, 0]), float(x[0, -1] - x[0, 0]))
        angles = torch.tensor(self.geometry.angles)
        middle = x.mean() * torch.cos(angles) + y.mean() * torch.sin(angles)
        first = torch.floor((middle - radius) / self.geometry.step + self._middle).long()
        width = math.ceil(2.0 * radius / self.geometry.step) + 3
        return first - self.reach, width + 2 * self.reach

    def cut(self, sinogram: Tensor) -> Tensor:
        """The rays of a sinogram (N, V, B) that are needed, (N, V, W); 0 beyond the detector."""
        first, width = self.rays()
        place = first[:, None] + torch.arange(width)
        known = (place >= 0) & (place < self.geometry.bins)
        inside = place.clamp(0, self.geometry.bins - 1).expand(len(sinogram), -1, -1)
        return sinogram.gather(2, inside) * known

    def reconstructed(self, rays: Tensor) -> Tensor:
        """Filtered back-projection of the rays of :meth:`cut`: (N, Y, X), attenuation, 1/mm."""
        kernel = ramp(self.reach, self.geometry.step)
        rays = _convolved(rays, kernel)
        total = sum(
            (1.0 - share) * rays[:, view, near] + share * rays[:, view, near + 1]
            for view, (near, share) in enumerate(self._neighbours())
        )
        assert isinstance(total, Tensor)
        return total * (math.pi / self.geometry.views)

    def deviation(self, variance: Tensor) -> Tensor:
        """Deviation of :meth:`reconstructed` where rays vary independently: (N, Y, X).

        Args:
            variance: of the rays of :meth:`cut`; neighbouring rays are taken to have the same.
        """
        kernel = ramp(self.reach, self.geometry.step)
        variance = _convolved(variance, kernel.square())
        # what is interpolated between two rays, which share most of what they were filtered from
        alike = float((kernel[1:] * kernel[:-1]).sum() / kernel.square().sum())
        total = sum(
            variance[:, view, near] * (1.0 - 2.0 * (1.0 - alike) * share * (1.0 - share))
            for view, (near, share) in enumerate(self._neighbours())
        )
        assert isinstance(total, Tensor)
        return total.sqrt() * (math.pi / self.geometry.views)

    @property
    def _middle(self) -> float:
        return (self.geometry.bins - 1) / 2

    def _places(self) -> tuple[Tensor, Tensor]:
        """y and x of the voxels from the middle of the slice, (Y, 1) and (1, X), mm."""
        y, x = (
            (first + torch.arange(count) - (whole - 1) / 2) * mm
            for first, count, whole, mm in zip(
                self.start, self.size, self.geometry.shape, self.geometry.spacing, strict=True
            )
        )
        return y[:, None], x[None, :]

    def _neighbours(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each view the ray before each voxel, among those needed, and the share of the next."""
        y, x = self._places()
        first, _ = self.rays()
        for angle, start in zip(self.geometry.angles, first.tolist(), strict=True):
            place = (x * math.cos(angle) + y * math.sin(angle)) / self.geometry.step
            place = place + self._middle - start - self.reach
            near = place.floor()
            yield near.long(), place - near


def _convolved(rays: Tensor, kernel: Tensor) -> Tensor:
    """Every view, (N, V, W), with a filter of odd length, where all of it is known."""
    count, views, width = rays.shape
    found = functional.conv1d(rays.reshape(count * views, 1, width), kernel[None, None])
    return found.reshape(count, views, -1)
