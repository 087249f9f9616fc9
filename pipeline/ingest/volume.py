"""Series and volumes: files grouped, frames put in the order of their slices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.headers import Common, Frame, Header
from pipeline.ingest.source import Geometry

#: Echo times that differ by less are one echo (ms): some scanners round them per slice.
SAME_ECHO_MS = 0.5


@dataclass(frozen=True)
class Plane:
    """One slice: its file and the frame of that file."""

    header: Header
    frame: Frame


@dataclass(frozen=True)
class Series:
    """All files of one SeriesInstanceUID, ordered by instance number and path."""

    label: str
    headers: tuple[Header, ...]

    @cached_property
    def common(self) -> Common:
        """What most of the files say."""
        return Counter(header.common for header in self.headers).most_common(1)[0][0]

    def values(self, name: str) -> list[object]:
        """The distinct values of one attribute."""
        return sorted({getattr(header.common, name) for header in self.headers}, key=str)


@dataclass(frozen=True)
class Volume:
    """The slices of one echo of a series; ``echo`` is None when the series has only one."""

    series: Series
    planes: tuple[Plane, ...]
    echo: float | None

    @property
    def common(self) -> Common:
        """What most of the series' files say."""
        return self.series.common

    @cached_property
    def headers(self) -> tuple[Header, ...]:
        """The files, each once, in the order of their first slice."""
        return tuple(dict.fromkeys(plane.header for plane in self.planes))

    @property
    def echo_time(self) -> float | None:
        """Echo time in ms."""
        return self.planes[0].frame.echo_time

    @cached_property
    def stack(self) -> Stack | None:
        """Geometry of the slices; None when a slice lacks its position or spacing."""
        return Stack.of(self.planes)


@dataclass(frozen=True)
class Stack:
    """Slices along their common normal.

    Attributes:
        positions: ImagePositionPatient in the order of the slices, (n, 3), LPS mm.
        distances: position along the normal, ascending, (n,), mm.
        step: median distance of neighbouring slices in mm, 0 for a single slice.
        tilt: angle between the normal and the line of the slices, degrees.
        scatter: largest distance of a position from that line, mm.
    """

    orientation: NDArray[np.float64]
    spacing: tuple[float, float]
    positions: NDArray[np.float64]
    distances: NDArray[np.float64]
    step: float
    tilt: float
    scatter: float

    @classmethod
    def of(cls, planes: tuple[Plane, ...]) -> Stack | None:
        """Measure slices that are ordered already; None when one lacks its plane."""
        frames = [plane.frame for plane in planes]
        if any(None in (frame.position, frame.orientation, frame.spacing) for frame in frames):
            return None
        orientation = np.median([frame.orientation for frame in frames], axis=0)
        normal = np.cross(orientation[:3], orientation[3:])
        positions = np.asarray([frame.position for frame in frames], dtype=np.float64)
        distances = positions @ normal
        gaps = np.diff(distances)
        tilt, scatter = _line(positions, normal)
        spacing = np.median([frame.spacing for frame in frames], axis=0)
        return cls(
            orientation,
            (float(spacing[0]), float(spacing[1])),
            positions,
            distances,
            float(np.median(gaps)) if gaps.size else 0.0,
            tilt,
            scatter,
        )

    @property
    def gaps(self) -> NDArray[np.float64]:
        """Distance from each slice to the next, mm."""
        return np.diff(self.distances)

    def geometry(self, common: Common) -> Geometry:
        """The grid as it goes into the record of the unit."""
        n = len(self.positions)
        span = float(self.distances[-1] - self.distances[0])
        step = span / (n - 1) if n > 1 else (common.thickness or 1.0)
        rows, columns = self.spacing
        regular = bool(n < 2 or np.ptp(self.gaps) <= 0.02 * step + 0.01)
        return Geometry(
            rows=common.rows,
            columns=common.columns,
            slices=n,
            spacing=(columns, rows, step),
            orientation=_six(self.orientation),
            first=_three(self.positions[0]),
            last=_three(self.positions[-1]),
            tilt=round(self.tilt, 3),
            regular=regular,
        )


def _six(values: NDArray[np.float64]) -> tuple[float, float, float, float, float, float]:
    a, b, c, d, e, f = (float(value) for value in values)
    return a, b, c, d, e, f


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    a, b, c = (float(value) for value in values)
    return a, b, c


def _line(positions: NDArray[np.float64], normal: NDArray[np.float64]) -> tuple[float, float]:
    """Angle of the line through the slices to the normal (degrees), largest distance from it."""
    way = positions[-1] - positions[0]
    length = float(np.linalg.norm(way))
    if length < 1e-6:
        return 0.0, 0.0
    way = way / length
    cosine = abs(float(way @ normal)) / max(float(np.linalg.norm(normal)), 1e-9)
    offsets = positions - positions[0]
    aside = offsets - np.outer(offsets @ way, way)
    return float(np.degrees(np.arccos(min(1.0, cosine)))), float(
        np.linalg.norm(aside, axis=1).max()
    )


def group(headers: Iterable[Header]) -> list[tuple[Header, ...]]:
    """Files by SeriesInstanceUID, each group in the order of instance number and path."""
    groups: dict[str, list[Header]] = {}
    for header in headers:
        groups.setdefault(header.common.series_uid, []).append(header)
    return [
        tuple(sorted(found, key=lambda h: (h.instance_number or 0, h.path, h.member)))
        for _, found in sorted(groups.items())
    ]


def volumes(series: Series) -> list[Volume]:
    """The echoes of a series, shortest first, each with its slices in order."""
    planes = [Plane(header, frame) for header in series.headers for frame in header.frames]
    clusters = _echoes(sorted({p.frame.echo_time for p in planes if p.frame.echo_time}))
    if len(clusters) < 2:
        return [Volume(series, _ordered(planes), None)]
    found = []
    for n, times in enumerate(clusters):
        # a slice that tells no echo goes to the first one, where it shows as a duplicate
        wanted = {*times, None, 0.0} if n == 0 else set(times)
        members = [plane for plane in planes if plane.frame.echo_time in wanted]
        found.append(Volume(series, _ordered(members), times[0]))
    return found


def _echoes(times: list[float]) -> list[list[float]]:
    clusters: list[list[float]] = [times[:1]] if times else []
    for before, time in pairwise(times):
        if time - before < SAME_ECHO_MS:
            clusters[-1].append(time)
        else:
            clusters.append([time])
    return clusters


def _ordered(planes: list[Plane]) -> tuple[Plane, ...]:
    """Slices along the normal of the first one; as they came when one has no plane."""
    if any(None in (plane.frame.position, plane.frame.orientation) for plane in planes):
        return tuple(planes)
    axes = np.asarray(planes[0].frame.orientation)
    normal = np.cross(axes[:3], axes[3:])
    return tuple(
        sorted(planes, key=lambda plane: float(np.dot(np.asarray(plane.frame.position), normal)))
    )
