"""The gate before conversion: what dcm2niix would convert without a word, and must not.

Pure functions over headers: each looks at one thing and returns findings with a code, the numbers
and the files. What becomes of a finding is the policy's (:mod:`pipeline.ingest.policy`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest import gate_series, gate_stack, times
from pipeline.ingest.findings import Finding
from pipeline.ingest.volume import Volume

__all__ = ["Finding", "check", "same_length"]

#: With one of these, the slices have no order that more could be said about.
_NO_STACK = {"D-MIXED-PATIENT", "D-MIXED-ORIENTATION", "D-POSITION-NONE", "D-SPACING-NONE"}


def check(volume: Volume, params: Mapping[str, Any], *, many: bool = False) -> list[Finding]:
    """All findings on one volume and its series; geometry is judged only where it is whole.

    Args:
        volume: the slices of one echo, of all time points.
        params: section ``ingest`` of the configuration.
        many: whether a 4D series is wanted; without, it is a finding.
    """
    found = [finding for look in gate_series.CHECKS for finding in look(volume.series)]
    found += [finding for look in gate_stack.PLANE_CHECKS for finding in look(volume, params)]
    whole = volume.stack is not None and not any(item.code in _NO_STACK for item in found)
    parts = times.split(volume) if whole else [volume]
    found += _time_points(volume, len(parts), many)
    # the time points lie at the same places, so that the first speaks for all
    checks = gate_stack.STACK_CHECKS if whole else (gate_stack.enough,)
    return found + [finding for look in checks for finding in look(parts[0], params)]


def _time_points(volume: Volume, count: int, many: bool) -> Iterator[Finding]:
    if count > 1 and not many:
        what = f"{count} volumes of {len(volume.planes) // count} slices, one was expected"
        yield Finding("D-VOLUMES", what)
    promised = volume.common.time_points or 1
    if 1 < count < promised:
        what = f"{promised - count} of the {promised} volumes that the header promises are missing"
        yield Finding("D-SLICES-MISSING", what, accept=True, lost=promised - count)


def same_length(volumes: list[Volume]) -> dict[int, Finding]:
    """Echoes of one series have the same slices; index of the volume → finding on it."""
    taken = [_places(volume) for volume in volumes]
    found = {}
    for n, volume in enumerate(volumes):
        others = [places for m, places in enumerate(taken) if m != n and len(places)]
        if not others or not len(taken[n]):
            continue
        lost, all_of_them = _absent(np.concatenate(others), taken[n])
        if all_of_them:
            what = f"The {len(taken[n])} slices with an echo of {volume.echo:g} ms lie where no"
            what += " slice of another echo lies: one stack with mixed echo times"
            found[n] = Finding("D-MIXED-ECHO", what)
        elif lost:
            what = f"The echo of {volume.echo:g} ms has {lost} slices fewer than the other"
            found[n] = Finding("D-SLICES-MISSING", what, accept=True, lost=lost)
    return found


def _places(volume: Volume) -> NDArray[np.float64]:
    """Positions of the slices that have one, each once, (n, 3), LPS mm."""
    known = [plane.frame.position for plane in volume.planes if plane.frame.position is not None]
    rounded = np.asarray(known, dtype=np.float64).reshape(-1, 3).round(2)
    return np.unique(rounded, axis=0)


def _absent(wanted: NDArray[np.float64], found: NDArray[np.float64]) -> tuple[int, bool]:
    """How many of the wanted places are not among those found, and whether none of them is."""
    wanted = np.unique(wanted, axis=0)
    nearest = np.linalg.norm(wanted[:, None] - found[None], axis=2).min(axis=1)
    far = nearest > times.SAME_CORNER
    return int(far.sum()), bool(far.all())
