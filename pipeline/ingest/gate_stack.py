"""Checks on the slices of one volume: each has its plane, and together they are an even stack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest import times
from pipeline.ingest.findings import Finding, place
from pipeline.ingest.gate_series import minority
from pipeline.ingest.volume import Plane, Stack, Volume

Params = Mapping[str, Any]
#: Degrees between the normal and the line of the slices from which the gantry was tilted.
TILT = 0.2


def _paths(planes: list[Plane]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(place(plane.header) for plane in planes))


def placed(volume: Volume, params: Params) -> Iterator[Finding]:
    """Every slice tells position, orientation and pixel spacing."""
    planes = volume.planes
    nowhere = [p for p in planes if None in (p.frame.position, p.frame.orientation)]
    skew = [p for p in planes if p.frame.orientation and _skew(p.frame.orientation)]
    if nowhere or skew:
        what = f"{len(nowhere)} of {len(planes)} slices lack position or orientation"
        if skew:
            what += f", {len(skew)} have axes that are not perpendicular unit vectors"
        yield Finding("D-POSITION-NONE", what, _paths([*nowhere, *skew]))
    blank = [p for p in planes if not p.frame.spacing or min(p.frame.spacing) <= 0]
    if blank:
        what = f"{len(blank)} of {len(planes)} slices do not tell their pixel spacing"
        yield Finding("D-SPACING-NONE", f"{what}; millimetres can't be guessed", _paths(blank))


def _skew(orientation: tuple[float, ...]) -> bool:
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    return bool(max(abs(length - 1) for length in lengths) > 0.01 or abs(row @ column) > 0.01)


def one_lattice(volume: Volume, params: Params) -> Iterator[Finding]:
    """One image size, one depth, one pixel spacing, one value a pixel."""
    sizes = Counter((h.common.rows, h.common.columns, h.common.bits) for h in volume.headers)
    if len(sizes) > 1:
        told = ", ".join(
            f"{r}x{c} of {b} bits ({n} files)" for (r, c, b), n in sorted(sizes.items())
        )
        paths = minority(volume.headers, lambda h: (h.common.rows, h.common.columns, h.common.bits))
        yield Finding("D-MIXED-PIXELS", f"Images of several sizes or depths: {told}", paths)
    spaced = [plane for plane in volume.planes if plane.frame.spacing]
    spacings = np.asarray([plane.frame.spacing for plane in spaced])
    if len(spacings) and float(np.ptp(spacings, axis=0).max()) > 1e-3:
        low, high = spacings.min(), spacings.max()
        off = np.abs(spacings - np.median(spacings, axis=0)).max(axis=1) > 1e-3
        what = f"Pixel spacing runs from {low:.4f} to {high:.4f} mm"
        yield Finding("D-MIXED-PIXELS", what, _chosen(spaced, off))
    if volume.common.samples != 1:
        what = f"{volume.common.samples} values a pixel: a colour image, not a measured one"
        yield Finding("D-MIXED-PIXELS", what)


def _chosen(planes: list[Plane], mask: NDArray[np.bool_]) -> tuple[str, ...]:
    return _paths([planes[n] for n in np.flatnonzero(mask)])


def one_orientation(volume: Volume, params: Params) -> Iterator[Finding]:
    """All slices are parallel."""
    planes = [plane for plane in volume.planes if plane.frame.orientation]
    axes = np.asarray([plane.frame.orientation for plane in planes])
    if not len(axes):
        return
    difference = np.abs(axes - np.median(axes, axis=0)).max(axis=1)
    other = difference > params["orientation_tolerance"]
    if other.any():
        what = f"{int(other.sum())} of {len(axes)} slices have another orientation than the rest"
        what += f", by up to {difference.max():.3f}"
        yield Finding("D-MIXED-ORIENTATION", what, _chosen(planes, other))


PLANE_CHECKS: tuple[Callable[[Volume, Params], Iterator[Finding]], ...] = (
    placed,
    one_lattice,
    one_orientation,
)


def enough(volume: Volume, params: Params) -> Iterator[Finding]:
    """The stack is no scout."""
    count = len(volume.planes)
    if count < params["min_slices"]:
        what = f"{count} slices, at least {params['min_slices']} are needed"
        yield Finding("D-SLICES-FEW", what, accept=True)


def no_duplicates(volume: Volume, params: Params) -> Iterator[Finding]:
    """No two slices at one place."""
    groups = times.places(volume)
    twice = [group for group in groups if len(group) > 1]
    if not twice:
        return
    usual = Counter(len(group) for group in groups).most_common(1)[0][0]
    lost = sum(usual - len(group) for group in groups)
    if usual > 1 and lost > 0 and all(times.distinct(group) for group in twice):
        what = f"The series has {usual} volumes, and {lost} of their slices are missing"
        yield Finding("D-SLICES-MISSING", what, lost=lost)
        return
    again = [plane for group in twice for plane in group[1:]]
    objects = {plane.header.sop_uid for plane in volume.planes}
    copies = len(volume.headers) - len(objects)
    what = f"{len(again)} of {len(volume.planes)} slices lie where another lies"
    why = f"{copies} files are copies of others" if copies > 0 else "several volumes, or a mix"
    yield Finding("D-SLICES-DUPLICATE", f"{what} ({why})", _paths(again), repair=True)


def evenly_spaced(volume: Volume, params: Params) -> Iterator[Finding]:
    """The distance from slice to slice is the same everywhere."""
    stack = volume.stack
    if stack is None or len(stack.distances) < 3:
        return
    gaps = stack.gaps[stack.gaps >= times.SAME_PLACE]
    if not gaps.size:
        return
    step = float(np.median(gaps))
    ratio = gaps / step
    off = np.abs(gaps - step) > params["spacing_tolerance"] * step + 0.01
    if not off.any():
        return
    multiple = np.abs(ratio - np.round(ratio)) < 0.1
    if bool(np.all(multiple[off] & (ratio[off] > 1.5))):
        lost = int(np.sum(np.round(ratio[off]) - 1))
        place = int(np.flatnonzero(off)[0]) + 1
        gaps_told = "1 gap" if off.sum() == 1 else f"{off.sum()} gaps"
        what = f"{lost} slices are missing in {gaps_told}, the first after slice {place}"
        what += f" (step {step:.2f} mm, gap {gaps.max():.2f} mm)"
        yield Finding("D-SLICES-MISSING", what, repair=True, lost=lost)
    else:
        what = f"The distance between slices runs from {gaps.min():.3f} to {gaps.max():.3f} mm"
        yield Finding("D-SPACING-VARIABLE", what, repair=True)


def as_declared(volume: Volume, params: Params) -> Iterator[Finding]:
    """Every second slice may be missing: then the steps are even, and twice what is declared."""
    stack, declared = volume.stack, volume.common.slice_distance
    if stack is None or not declared or declared <= 0 or stack.step <= 0:
        return
    ratio = stack.step / declared
    thick = volume.common.thickness or 0.0
    if ratio > 1.5 and abs(ratio - round(ratio)) < 0.05 and declared >= thick - 0.01:
        what = f"Slices are {stack.step:.2f} mm apart, the header says {declared:.2f} mm"
        what += ": slices in between seem to be missing"
        lost = (round(ratio) - 1) * (len(stack.distances) - 1)
        yield Finding("D-SLICES-MISSING", what, accept=True, lost=lost)


def on_one_line(volume: Volume, params: Params) -> Iterator[Finding]:
    """The slices lie on a line, and that is their normal unless the gantry was tilted."""
    stack = volume.stack
    if stack is None:
        return
    if stack.scatter > 0.1 * min(stack.spacing) + 0.01:
        what = f"Slices lie up to {stack.scatter:.2f} mm beside the line of the others"
        yield Finding("D-SPACING-VARIABLE", what)
    elif _sheared(stack):
        what = f"The line of the slices is {stack.tilt:.2f} degrees off their normal: gantry tilt"
        yield Finding("D-TILT", what, repair=True)


def _sheared(stack: Stack) -> bool:
    """Whether the tilt shifts the last slice against the first by more than half a pixel."""
    span = float(stack.distances[-1] - stack.distances[0])
    shift = span * float(np.tan(np.radians(min(stack.tilt, 89.0))))
    return stack.tilt >= TILT and shift > 0.5 * min(stack.spacing)


STACK_CHECKS: tuple[Callable[[Volume, Params], Iterator[Finding]], ...] = (
    enough,
    no_duplicates,
    evenly_spaced,
    as_declared,
    on_one_line,
)
