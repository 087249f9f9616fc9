"""One stack of slices that an export spread over several series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.ingest.findings import Finding
from pipeline.ingest.volume import Volume

#: Share of the median distance by which distances in a stack that was put together may differ.
EVEN = 0.05


def torn(volumes: Sequence[Volume]) -> dict[int, Finding]:
    """Volumes that together with another one are one even stack; index of the volume → finding.

    Args:
        volumes: those of one patient. Only those of one study, frame of reference, grid and
            contrast are compared; acquisitions that were repeated lie at the same places, and are
            left alone.
    """
    found = {}
    for n, volume in enumerate(volumes):
        for other in (v for m, v in enumerate(volumes) if m != n):
            if _alike(volume, other) and _one_stack(volume, other):
                what = f"Its {len(volume.planes)} slices and the {len(other.planes)} of series"
                what += f" {other.series.label} are one even stack: a series that was split"
                found[n] = Finding("D-SERIES-SPLIT", f"{what}; export it in one piece")
    return found


def _alike(volume: Volume, other: Volume) -> bool:
    a, b = volume.common, other.common
    if volume.series.label == other.series.label or volume.stack is None or other.stack is None:
        return False
    names = ("study_uid", "frame_uid", "rows", "columns", "repetition_time", "inversion_time")
    same = all(getattr(a, name) == getattr(b, name) for name in names)
    grid = np.allclose(volume.stack.orientation, other.stack.orientation, atol=1e-3)
    spacing = np.allclose(volume.stack.spacing, other.stack.spacing, atol=1e-3)
    return same and grid and spacing and volume.echo_time == other.echo_time


def _one_stack(volume: Volume, other: Volume) -> bool:
    """Whether the places of both together are evenly spaced along one line, and none is shared."""
    if volume.stack is None or other.stack is None:
        return False
    axes = volume.stack.orientation
    normal = np.cross(axes[:3], axes[3:])
    positions = np.concatenate([volume.stack.positions, other.stack.positions])
    distances = positions @ normal
    positions = positions[np.argsort(distances)]
    gaps = np.diff(np.sort(distances))
    step = float(np.median(gaps))
    if step <= 0 or np.abs(gaps - step).max() > EVEN * step + 0.01:
        return False
    steps = np.diff(positions, axis=0)
    return bool(np.abs(steps - np.median(steps, axis=0)).max() <= EVEN * step + 0.05)
