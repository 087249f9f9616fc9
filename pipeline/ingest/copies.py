"""Identical copies of slices: found by their pixels, one of each kept."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pipeline.ingest import archives, times
from pipeline.ingest.findings import place
from pipeline.ingest.source import SourceFile
from pipeline.ingest.volume import Plane, Series, Volume


def without_copies(volume: Volume) -> tuple[Volume, int] | None:
    """Keep one of the slices that lie at the same place and hold the same pixels.

    Returns:
        The volume, its series without the other files, and how many files those are; None where
        slices at one place differ, so that nobody can say which of them is right.
    """
    kept: list[Plane] = []
    for group in times.places(volume):
        if len(group) > 1 and len({_digest(plane) for plane in group}) > 1:
            return None
        kept.append(min(group, key=lambda plane: place(plane.header)))
    stays = {place(plane.header) for plane in kept}
    dropped = {place(plane.header) for plane in volume.planes} - stays
    if not dropped:
        return None
    headers = tuple(h for h in volume.series.headers if place(h) not in dropped)
    series = Series(volume.series.label, headers)
    return replace(volume, series=series, planes=tuple(kept)), len(dropped)


KEYWORDS = ("PixelData", "RescaleSlope", "RescaleIntercept")


def _digest(plane: Plane) -> str:
    """SHA-256 of the stored pixels and of what their values mean; differs where unreadable."""
    import pydicom

    header = plane.header
    item = SourceFile(header.path, header.size, header.mtime_ns, header.member)
    try:
        with tempfile.TemporaryDirectory(prefix="voxelway-") as name:
            (file,) = archives.plain([item], Path(name))
            dataset = pydicom.dcmread(file.path, force=True, specific_tags=list(KEYWORDS))
            pixels = bytes(dataset.PixelData)
    except Exception:
        # what can't be read is like nothing else, so that the series is refused
        return place(header)
    scale = (dataset.get("RescaleSlope"), dataset.get("RescaleIntercept"))
    told = (plane.header.common.transfer_syntax, plane.frame.index, *map(str, scale))
    return _sha256([repr(told).encode(), pixels])


def _sha256(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
